"""Recognisers of every script with seeded random weights, their characters and languages, and what is refused."""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from easyocr import Reader
from easyocr import config as original_config

from export import easyocr as builder
from export import graph, run, sources
from export.download import Downloader
from export.sources import easyocr as source
from export.wanted import Original
from export.weights import Weights
from kizu_fast.backends.onnx import OnnxBackend
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.errors import ConfigError
from kizu_fast.models.easyocr_languages import KNOWN, RECOGNISERS, recogniser_for
from kizu_fast.specs import Family, easyocr_names

BUILT = ("japanese_g2", "korean_g2", "zh_sim_g2", "latin_g2", "cyrillic_g2", "thai_g1")


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, run.Outcome]:
    """A repository with all of them, exported once."""
    home = tmp_path_factory.mktemp("untrained")
    call = run.Job(home / "repository", home / "cache", "random", Downloader(), lambda _line: None)
    return call.repository, run.export([source.pair(name, random=True)[1] for name in BUILT], call)


@pytest.mark.parametrize("recogniser", BUILT)
def test_a_recogniser_with_random_weights_is_the_original(recogniser: str, untrained: tuple[Path, run.Outcome]) -> None:
    repository, outcome = untrained
    name = easyocr_names(recogniser, random=True)[1]
    assert not outcome.failures
    manifest = outcome.manifests[name]
    assert manifest["source"] == "random"
    assert manifest["parity"]["score_difference"] <= builder.MAX_SCORE_DIFFERENCE
    assert manifest["parity"]["batches"] == [1, 3]
    models = ModelRepository(repository)
    characters = models.characters(name)
    assert characters == ("", *original_config.recognition_models[f"gen{recogniser[-1]}"][recogniser]["characters"])
    spec = models.spec(name)
    assert spec.labels == RECOGNISERS[recogniser]
    assert spec.family is Family.EASYOCR_RECOGNISER


def test_languages_change_what_may_be_read(untrained: tuple[Path, run.Outcome]) -> None:
    models, name = ModelRepository(untrained[0]), easyocr_names("cyrillic_g2", random=True)[1]
    spec, characters = models.spec(name), models.characters(name)
    session = graph.Session(models.path(name))
    pixels = np.random.default_rng(4).integers(0, 256, (2, 64, 320), np.uint8)
    alphabets = {}
    for code in ("en", "ru"):
        languages = np.tile(np.array([label == code for label in spec.labels], np.uint8), (2, 1))
        outputs = session.run({"pixels": pixels, "languages": languages})
        alphabets[code] = {characters[i] for i in outputs["ids"].ravel()}
        assert (outputs["scores"] > 1 / len(characters)).all()
    assert not any("\u0430" <= letter.lower() <= "\u044f" for letter in alphabets["en"])


def test_craft_with_random_weights_is_the_original(job: Callable[..., Any]) -> None:
    call = job("random")
    wanted = source.pair("english_g2", random=True)[0]
    outcome = run.export([wanted], call)
    assert not outcome.failures
    assert outcome.manifests[wanted.name]["parity"]["step_difference"] <= 1
    run.export([wanted], call)  # nothing is done twice
    assert sum("up to date" in line for line in _said(call)) == 1


def _said(call: Any) -> list[str]:
    lines: list[str] = call.say.__self__
    return lines


def test_our_lists_are_the_librarys() -> None:
    stated = original_config
    known = {code for code in stated.all_lang_list if (Path(stated.BASE_PATH) / "character" / f"{code}_char.txt").is_file()}
    assert set(KNOWN) == known - set(stated.arabic_lang_list)
    assert RECOGNISERS["latin_g2"] == tuple(stated.latin_lang_list)
    assert set(RECOGNISERS["cyrillic_g2"]) == {*stated.cyrillic_lang_list, "en"}
    for name, place in source.PUBLISHED.items():
        models = {**stated.detection_models, **stated.recognition_models["gen1"], **stated.recognition_models["gen2"]}
        assert models[name]["filename"] == place.file
        assert models[name]["md5sum"] == place.md5
        assert models[name]["url"] == f"{source.RELEASES}/{place.release}/{place.archive}.zip"


@pytest.mark.parametrize("languages", [["en"], ["de", "en"], ["ja", "en"], ["ch_tra"], ["hi", "en"], ["uk", "ru"], ["th"], ["bn"]])
def test_the_choice_of_a_recogniser_is_the_librarys(languages: list[str]) -> None:
    reader = Reader(languages, gpu=False, detector=False, recognizer=False, verbose=False, download_enabled=False)
    stated = original_config.recognition_models[f"gen{recogniser_for(languages)[-1]}"][recogniser_for(languages)]
    assert reader.character == stated["characters"]
    assert reader.model_lang == stated["model_script"]


@pytest.mark.parametrize("languages", [["ja", "ko"], ["de", "ru"], ["ch_sim", "ch_tra"]])
def test_what_the_library_refuses_is_refused(languages: list[str]) -> None:
    with pytest.raises(ValueError, match="only compatible with English"):
        Reader(languages, gpu=False, detector=False, recognizer=False, verbose=False, download_enabled=False)
    with pytest.raises(ConfigError, match="is read by"):
        recogniser_for(languages)


def test_a_character_that_no_language_has_is_never_allowed() -> None:
    table = builder.allowed("latin_g2", ("en", "de"))
    classes = ["", *builder.characters("latin_g2")]
    umlaut, stroke = classes.index("ü"), classes.index("ł")
    assert table.shape == (3, len(classes))
    assert table[:, umlaut].tolist() == [0, 1, 0]
    assert not table[:, stroke].any()
    assert table[-1, 0] == 1
    assert table[-1, classes.index("7")] == 1


@pytest.mark.parametrize("content", [b"no checkpoint", b""])
def test_a_broken_checkpoint_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "english_g2.pth"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"english_g2\.pth is no checkpoint of easyocr"):
        builder.load(Original("easyocr", "english_g2"), Weights(path, "folder", None, ""))


def test_a_checkpoint_of_another_recogniser_is_named(tmp_path: Path) -> None:
    path = tmp_path / "latin_g2.pth"
    state = builder.load(Original("easyocr", "english_g2", random=True), Weights(None, "random", None, "")).state_dict()
    torch.save({f"module.{name}": value for name, value in state.items()}, path)
    with pytest.raises(ConfigError, match=r"latin_g2\.pth does not fit latin_g2: Prediction\.weight expected"):
        builder.load(Original("easyocr", "latin_g2"), Weights(path, "folder", None, ""))


def test_a_graph_that_is_not_the_original_is_not_installed() -> None:
    figures = {"score_difference": 0.5, "batch_difference": 0.0}
    with pytest.raises(ConfigError, match=r"x: parity with the original failed, score_difference 0\.5"):
        builder._demand("x", figures)


def test_the_installed_models_say_what_they_are(easyocr_models: Path) -> None:
    detector, recogniser = easyocr_names("english_g2")
    for name in (detector, recogniser):
        manifest = json.loads((easyocr_models / name / "manifest.json").read_text())
        assert (manifest["source"], manifest["licence"]) == ("folder", "Apache-2.0")
    assert ModelRepository(easyocr_models).manifest(recogniser).parity["score_difference"] <= builder.MAX_SCORE_DIFFERENCE


def test_answers_are_a_fraction_of_the_picture(easyocr_models: Path) -> None:
    """What Triton would send back: maps in bytes, ids of characters, no raw head."""
    models = ModelRepository(easyocr_models)

    async def bytes_of(name: str) -> tuple[int, int]:
        backend, spec = OnnxBackend(models), models.spec(name)
        shaped = spec.at(spec.buckets[-1])
        rows = {tensor.name: np.zeros((1, *tensor.shape), np.uint8) for tensor in shaped.inputs if tensor.dtype == "uint8"}
        rest = {tensor.name: np.ones((1, *tensor.shape), tensor.dtype) for tensor in shaped.inputs if tensor.dtype != "uint8"}
        await backend.load(spec)
        outputs = await backend.infer(shaped, rows | rest)
        await backend.close()
        return sum(array.nbytes for array in rows.values()), sum(array.nbytes for array in outputs.values())

    for name in easyocr_names("english_g2"):
        sent, got = asyncio.run(bytes_of(name))
        assert got <= 0.5 * sent, name


def test_the_two_files_may_lie_as_easyocr_itself_keeps_them(easyocr_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    shutil.copy(easyocr_weights / "easyocr" / "english_g2.pth", tmp_path / "model")
    assert sources.easyocr.in_folder(Original("easyocr", "english_g2"), tmp_path) == tmp_path / "model" / "english_g2.pth"
    assert sources.easyocr.in_folder(Original("easyocr", "craft"), tmp_path) is None
