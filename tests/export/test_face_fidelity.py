"""Our faces against insightface's own FaceAnalysis, with the same files, on real photos."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from insightface.app import FaceAnalysis

from export import face_fidelity
from export.face_fidelity import Finder
from export.measure import read
from kizu_fast.domain import Faces, Photo
from kizu_fast.models import arcface
from kizu_fast.specs import FACE_SIDES

PICTURES = 20
HOW = "the others: python -m export.face_fidelity --weights DIR --images ../shared/images/faces"


@pytest.fixture(scope="module")
def pack(face_weights: Path) -> Path:
    return face_weights / "insightface" / "models" / "buffalo_s"


@pytest.fixture(scope="module")
def theirs(pack: Path) -> FaceAnalysis:
    return face_fidelity.original(pack)


@pytest.fixture(scope="module")
def finder(face_models: Path) -> Finder:
    return Finder(face_models, "buffalo_s")


@pytest.fixture(scope="module")
def photos(shared: Path) -> list[Path]:
    folder = shared / "images" / "faces"
    everything = sorted(folder.glob("*.jpg"))
    at_the_edge, with_a_profile = folder / "df02-04.jpg", folder / "df04-01.jpg"
    return [*everything[:: max(1, len(everything) // PICTURES)], at_the_edge, with_a_profile]


class Swapped(Finder):
    """Sees blue where red is: what a decoder or a graph with another channel order would give."""

    def find(self, photo: Photo) -> Faces:
        return super().find(dataclasses.replace(photo, pixels=np.ascontiguousarray(photo.pixels[..., ::-1])))


def test_the_faces_are_those_of_the_original_library(finder: Finder, pack: Path, photos: list[Path]) -> None:
    figures = face_fidelity.against_original(finder, pack, photos)
    print(f"\n{figures}\n{HOW}")
    assert figures["faces compared"] >= PICTURES
    assert figures["faces batch rows"] >= 3 * PICTURES
    assert face_fidelity.beyond(figures) == []


def test_the_original_library_looks_in_the_same_two_sizes(theirs: FaceAnalysis) -> None:
    """Large faces are missed in the larger one: a detector at 640 alone would not find the same faces."""
    assert tuple(theirs.det_size) == tuple((side, side) for side in FACE_SIDES)


def test_swapped_colours_miss_the_bounds(face_models: Path, theirs: FaceAnalysis, photos: list[Path]) -> None:
    """Recall cannot find a swapped channel order, since the faces are found all the same: points, crops and vectors have to."""
    right, wrong = Finder(face_models, "buffalo_s"), Swapped(face_models, "buffalo_s")
    path = photos[0]
    assert face_fidelity.compare(right, theirs, path).cosine >= 0.995
    seen = face_fidelity.compare(wrong, theirs, path)
    print(f"\nswapped: {seen}")
    assert seen.faces - seen.unpaired >= 1
    assert seen.cosine < 0.995


def test_swapped_colours_of_the_crop_alone_miss_the_bound(finder: Finder, photos: list[Path]) -> None:
    photo = read(photos[0])
    seen = finder.find(photo)
    crop = arcface.crop(photo, seen.landmarks[0])
    embedder = finder.chain.embedder

    def vector(pixels: np.ndarray) -> np.ndarray:
        outputs = finder.infer(embedder.spec.name, embedder.spec.stack([embedder.prepare(pixels).tensors]))
        return np.asarray(outputs[embedder.spec.outputs[0].name][0])

    assert vector(crop) @ seen.vectors[0] > 0.9999
    assert vector(np.ascontiguousarray(crop[..., ::-1])) @ seen.vectors[0] < 0.995


def test_every_portrait_has_its_face(finder: Finder, shared: Path) -> None:
    named = sorted((shared / "images" / "faces").glob("lfw*.jpg"))[:12]
    assert named
    assert all(len(finder.find(read(path))) >= 1 for path in named)


@pytest.mark.parametrize(
    ("name", "value"), [("faces missing or extra", 1), ("faces iou_min", 0.949), ("faces cosine_min", 0.99), ("faces batch_difference", 1e-9)]
)
def test_a_figure_beyond_its_bound_is_named(name: str, value: float) -> None:
    kept = {key: bound for key, (_, bound) in face_fidelity.BOUNDS.items()}
    assert face_fidelity.beyond(kept) == []
    assert face_fidelity.beyond({**kept, name: value}) == [name]


def test_the_command_prints_every_figure_with_its_bound(
    face_weights: Path, face_models: Path, photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures" / "below"
    folder.mkdir(parents=True)
    for path in photos[:2]:
        shutil.copy(path, folder)
    words = ["--weights", str(face_weights), "--images", str(tmp_path), "--pack", "buffalo_s", "--repository", str(face_models), "--exact"]
    assert face_fidelity.main(words) == 0
    said = capsys.readouterr().out.splitlines()
    assert any(line.startswith("faces cosine_min ") and line.endswith(">= 0.995") for line in said)
    assert sum("<=" in line or ">=" in line for line in said) == len(face_fidelity.BOUNDS)
    assert face_fidelity.main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["figures"]["faces pictures"], document["missed"]) == (2, [])


def test_the_command_says_what_is_missing(face_weights: Path, photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--weights", str(face_weights), "--images", str(tmp_path), "--repository", str(tmp_path / "models")]
    assert face_fidelity.main(words) == 1
    assert "holds no picture" in capsys.readouterr().err
    shutil.copy(photos[0], tmp_path)
    assert face_fidelity.main([*words, "--pack", "buffalo_m"]) == 1
    assert "holds no face embedder" in capsys.readouterr().err
