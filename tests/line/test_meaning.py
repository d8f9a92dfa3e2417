"""A text finds the pictures that it means: pairs of colour and shape that no training picture showed, through export, worker, pgvector and search."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import Line

from export.tiny_shapes import pictures
from kizu_fast.builtin import Chosen
from kizu_fast.domain import LIBRARY_OWNER, Embedding
from kizu_fast.engine import EngineConfig, open_engine
from kizu_fast.search import Answer, search
from kizu_fast.store.library import open_library

COUNT, BEST = 240, 5
CHOSEN = Chosen(clip_model="Tiny-Shapes", clip_pretrained="own")


@dataclass
class Gallery:
    """A library of rendered pictures that a worker has embedded. captions[i] is of the file i.jpg, and of no other."""

    line: Line
    captions: list[str]
    models: Path
    report: dict[str, Any]


@pytest.fixture(scope="module")
def gallery(meaningful_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    folder, chance = tmp_path_factory.mktemp("gallery"), np.random.default_rng(2026)
    scenes = pictures.gallery(COUNT, chance, held_out=True)
    (folder / "photos").mkdir()
    for i, scene in enumerate(scenes):
        pictures.render(scene, chance).save(folder / "photos" / f"{i}.jpg", quality=92)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KIZU_", "CLIP_"))}
    mine = {"KIZU_DATA_DIR": folder / "data", "LIBRARY_ROOT": folder / "photos", "KIZU_MODEL_REPOSITORY": meaningful_models}
    words = {"CLIP_MODEL": CHOSEN.clip_model, "CLIP_PRETRAINED": CHOSEN.clip_pretrained, "KIZU_OPERATIONS": "embedding", "KIZU_BACKEND": "cpu"}
    line = Line({**kept, **words, **{name: str(path) for name, path in mine.items()}}, folder / "photos", folder)
    line.json("ingest", line.library)
    yield Gallery(line, [pictures.caption(scene) for scene in scenes], meaningful_models, line.drain())
    subprocess.run([sys.executable, "-m", "kizu_fast.cli", "db", "reset", "--yes"], env=line.env, cwd=folder, capture_output=True, check=False)


def numbers(answer: Answer) -> list[int]:
    return [int(Path(found.path or "").stem) for found in answer.photos]


async def test_recall_at_5_on_pairs_that_were_never_shown(gallery: Gallery) -> None:
    """Each caption is asked of search as the command asks it, in one process for all."""
    config = EngineConfig(model_repository=gallery.models, chosen=CHOSEN, operations=())
    hits = []
    async with open_library(None, Path(gallery.line.env["KIZU_DATA_DIR"]), "nobody", "auto") as library, open_engine(config) as engine:

        async def embed(text: str, space: str) -> Embedding:
            return await engine.embed_text(text, space=space)

        for i, caption in enumerate(gallery.captions):
            answer = await search(caption, user=LIBRARY_OWNER, limit=BEST, stores=(library.search, library.spaces), embed_text=embed)
            hits.append(i in numbers(answer))
    recall = float(np.mean(hits))
    print(f"\nrecall@{BEST} of {COUNT} captions among {COUNT} pictures of pairs never shown: {recall:.3f} (by chance {BEST / COUNT:.3f})")
    assert recall >= 0.9


def test_the_command_answers_the_same(gallery: Gallery) -> None:
    hits = 0
    for i in range(0, COUNT, 20):
        said = gallery.line.json("search", gallery.captions[i], "--limit", BEST)
        hits += str(gallery.line.library / f"{i}.jpg") in [result["path"] for result in said["results"]]
    assert hits >= 0.75 * len(range(0, COUNT, 20))


def test_other_words_for_the_same_picture_find_it_too(gallery: Gallery) -> None:
    wanted = next(i for i, caption in enumerate(gallery.captions) if caption.startswith("three") and caption.endswith("at night"))
    colour, shape = gallery.captions[wanted].split()[1:3]
    said = gallery.line.json("search", f"At night, three {colour.upper()} {shape}", "--limit", BEST)
    assert str(gallery.line.library / f"{wanted}.jpg") in [result["path"] for result in said["results"]]


def test_nothing_but_the_vectors_had_a_say(gallery: Gallery) -> None:
    assert (gallery.report["completed"], gallery.report["failed"]) == (COUNT, 0)
    assert set(gallery.report["models"]) == {"clip-tiny-shapes-own-image"}
    status = gallery.line.json("status")
    assert (status["embeddings"], status["objects"], status["texts"], status["captions"]) == (COUNT, 0, 0, 0)
    said = gallery.line.json("search", gallery.captions[0])
    assert said["understood"]["objects"] == []
    assert all(result["objects"] == [] for result in said["results"])


def test_every_row_names_the_space_of_these_weights(gallery: Gallery) -> None:
    manifest = json.loads((gallery.models / "clip-tiny-shapes-own-image" / "manifest.json").read_text())
    shown = gallery.line.json("show", gallery.line.library / "0.jpg")["embedding"]
    assert shown["model"] == manifest["spec"]["space"] == f"open_clip/Tiny-Shapes/own/p1/{manifest['weights_sha256'][:8]}"
    assert shown["dim"] == 64


def test_these_weights_are_trained_so_nothing_is_called_meaningless(gallery: Gallery) -> None:
    said = gallery.line.run("search", gallery.captions[0])
    assert "meaning" not in said.stderr
    assert "random" not in said.stderr


def test_no_training_picture_shows_what_is_asked(gallery: Gallery) -> None:
    chance = np.random.default_rng(1)
    shown = {(scene.thing, scene.other) for scene in pictures.scenes(3000, chance, held_out=False)}
    pairs = {(thing.colour, thing.shape) for two in shown for thing in two if thing is not None}
    asked = {tuple(caption.split()[1:3]) for caption in gallery.captions if caption.startswith("a ")}
    assert asked
    assert not asked & pairs
