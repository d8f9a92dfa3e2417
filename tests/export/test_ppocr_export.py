"""The graphs of PP-OCR: which files make them, what is refused, and that a wrong one is never installed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, parser

from export import ppocr, ppocr_graph, run, sources
from export.character_errors import distance, folded, rate
from export.download import Downloader
from export.wanted import Wanted
from kizu_fast import specs
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.errors import ConfigError
from kizu_fast.specs import Family

NAMES = specs.ppocr_names("v6-small")


@pytest.fixture(scope="module")
def classifier() -> Wanted:
    return next(wanted for wanted in sources.ppocr.parts("v6-small") if wanted.family is Family.PPOCR_CLASSIFIER)


def recogniser(classes: int, characters: str | None) -> onnx.ModelProto:
    """A file like a recogniser's: (N, 3, 48, W) to (N, W, classes)."""
    text = f"agraph (float[b, 3, 48, w] x) => (float[b, t, {classes}] y) {{ y = Identity (x) }}"
    model = helper.make_model(parser.parse_graph(text), opset_imports=[helper.make_opsetid("", 11)])
    if characters is not None:
        model.metadata_props.add(key="character", value=characters)
    return model


def test_a_recogniser_s_classes_are_the_blank_its_characters_and_the_space() -> None:
    assert ppocr_graph.characters(recogniser(5, "a\n\u2028\nb"), Path("rec.onnx")) == ("", "a", "\u2028", "b", " ")


@pytest.mark.parametrize(("classes", "characters", "why"), [(5, None, "does not list"), (9, "a\nb", "9 classes and lists 2 characters")])
def test_characters_that_do_not_fit_are_refused(classes: int, characters: str | None, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        ppocr_graph.characters(recogniser(classes, characters), Path("rec.onnx"))


def test_a_file_that_is_no_onnx_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "det.onnx").write_bytes(b"no graph at all")
    with pytest.raises(ConfigError, match="det.onnx is no ONNX file"):
        ppocr_graph.read(tmp_path / "det.onnx")


def test_the_sets_are_found_in_a_folder_of_their_own_or_bare(tmp_path: Path, classifier: Wanted) -> None:
    assert sources.ppocr.in_folder(classifier.original, tmp_path) is None
    bare = tmp_path / "ch_ppocr_mobile_v2.0_cls_mobile.onnx"
    bare.touch()
    assert sources.ppocr.in_folder(classifier.original, tmp_path) == bare


def test_official_files_come_from_the_installed_package_without_a_network(tmp_path: Path) -> None:
    """Their sha256 is that of the release: the same bytes."""
    for wanted in sources.ppocr.parts("v6-small"):
        path = sources.ppocr.official(wanted.original, tmp_path, Downloader())
        assert path.parts[-3:-1] == ("rapidocr", "models")


def test_a_damaged_official_file_is_refused(tmp_path: Path, classifier: Wanted) -> None:
    folder = tmp_path / "ppocr"
    folder.mkdir()
    (folder / f"{classifier.original.model}.onnx").write_bytes(b"cut short")
    with pytest.raises(ConfigError, match="not the official file"):
        sources.ppocr.official(classifier.original, tmp_path, Downloader())


def test_there_are_no_random_twins(job: Callable[..., Any]) -> None:
    outcome = run.export(sources.ppocr.parts("v6-small", random=True), job("random"))
    assert set(outcome.failures) == set(NAMES)
    assert all("no random weights" in reason for reason in outcome.failures.values())


def test_a_part_that_is_exported_says_where_it_came_from_and_is_not_made_twice(job: Callable[..., Any], classifier: Wanted) -> None:
    made = job("official")
    (manifest,) = run.export([classifier], made).manifests.values()
    assert manifest["taken_from"] == "the package rapidocr"
    assert manifest["source"] == "official"
    assert manifest["licence"] == "Apache-2.0"
    assert manifest["parity"]["probability_difference"] <= ppocr.MAX_PROBABILITY_DIFFERENCE
    assert ModelRepository(made.repository).spec(classifier.name) == specs.ppocr_classifier(classifier.name)
    run.export([classifier], made)
    assert made.say.__self__[-1] == f"{classifier.name}: up to date (official weights)"


def test_a_graph_that_computes_something_else_is_not_installed() -> None:
    with pytest.raises(ConfigError, match="level_difference 3 is above 1"):
        ppocr.demand("ppocr-x", {"level_difference": 3.0})
    with pytest.raises(ConfigError, match="other_classes 1 is above 0"):
        ppocr.demand("ppocr-x", {"other_classes": 1, "probability_difference": 0.0})
    ppocr.demand("ppocr-x", {"other_classes": 0, "level_difference": 0.51, "pictures": 6})


def test_a_picture_of_the_channels_in_the_wrong_order_would_be_found() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[..., 0] = 255  # red
    assert ppocr.planes(pixels)[0, :, 0, 0].tolist() == [-1, -1, 1]  # blue first


@pytest.mark.parametrize(
    ("wanted", "got", "errors"), [("", "", 0), ("abc", "abc", 0), ("abc", "", 3), ("", "ab", 2), ("kitten", "sitting", 3), ("ab", "ba", 2)]
)
def test_errors_are_counted_as_levenshtein_does(wanted: str, got: str, errors: int) -> None:
    assert distance(wanted, got) == errors


def test_width_case_and_white_space_are_no_errors() -> None:
    assert folded(["\uff27röße 4 ", "\ufb01n"]) == "grösse4fin"
    assert rate(3, 12) == 0.25
    assert rate(2, 0) == 2
