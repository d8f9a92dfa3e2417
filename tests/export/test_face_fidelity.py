"""Our faces against insightface's own FaceAnalysis, with the same files, on real photos."""

from pathlib import Path

import numpy as np
import pytest

from export import face_fidelity
from export.measure import read
from kizu_fast.models import arcface

PICTURES = 24


@pytest.fixture(scope="module")
def pack(face_weights: Path) -> Path:
    return face_weights / "insightface" / "models" / "buffalo_s"


@pytest.fixture(scope="module")
def finder(face_models: Path) -> face_fidelity.Finder:
    return face_fidelity.Finder(face_models, "buffalo_s")


@pytest.fixture(scope="module")
def photos(shared: Path) -> list[Path]:
    folder = shared / "images" / "faces"
    everything = sorted(folder.glob("*.jpg"))
    at_the_edge, with_a_profile = folder / "df02-04.jpg", folder / "df04-01.jpg"
    return [*everything[:: max(1, len(everything) // PICTURES)], at_the_edge, with_a_profile]


def test_the_faces_are_those_of_the_original_library(finder: face_fidelity.Finder, pack: Path, photos: list[Path]) -> None:
    figures = face_fidelity.against_original(finder, pack, photos)
    print(f"\n{figures}")
    assert figures["faces compared"] >= PICTURES
    for name, (sign, bound) in face_fidelity.BOUNDS.items():
        assert figures[name] >= bound if sign == ">=" else figures[name] <= bound, f"{name}: {figures[name]}"


def test_swapped_colours_would_be_found(finder: face_fidelity.Finder, photos: list[Path]) -> None:
    """Accuracy cannot find a swapped channel order: the tensors have to."""
    photo = read(photos[0])
    seen = finder.find(photo)
    crop = arcface.crop(photo, seen.landmarks[0])
    embedder = finder.chain.embedder

    def vector(pixels: np.ndarray) -> np.ndarray:
        outputs = finder.infer(embedder.spec.name, embedder.spec.stack([embedder.prepare(pixels).tensors]))
        return np.asarray(outputs[embedder.spec.outputs[0].name][0])

    assert vector(crop) @ seen.vectors[0] > 0.9999
    assert vector(np.ascontiguousarray(crop[..., ::-1])) @ seen.vectors[0] < 0.995


def test_every_portrait_has_its_face(finder: face_fidelity.Finder, shared: Path) -> None:
    named = sorted((shared / "images" / "faces").glob("lfw*.jpg"))[:12]
    assert named
    assert all(len(finder.find(read(path))) >= 1 for path in named)
