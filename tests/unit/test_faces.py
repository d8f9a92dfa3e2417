"""Faces of a photo, from the pixels to the values that are stored, with a backend that finds faces of its own making."""

import asyncio
import io
from pathlib import Path

import numpy as np
from PIL import Image

from kizu_fast.domain import Faces, Photo
from kizu_fast.engine import EngineConfig, open_engine
from kizu_fast.faces import cut
from kizu_fast.models.scrfd import Candidates

FAKE = EngineConfig(model_repository=Path("nowhere"), backend="fake", lanes=2, operations=("faces",))
POINTS = np.array([[110, 110], [140, 110], [125, 130], [112, 145], [138, 145]], np.float32)


def photo(seed: int, *, shrunk: int = 1) -> Photo:
    pixels = np.random.default_rng(seed).integers(0, 255, (480 // shrunk, 640 // shrunk, 3), dtype=np.uint8)
    return Photo(pixels, 640, 480)


def candidates(*boxes: tuple[float, float, float, float]) -> Candidates:
    count = len(boxes)
    return Candidates(np.array(boxes, np.float32), np.full(count, 0.9, np.float32), np.repeat(POINTS[None], count, axis=0))


def seen(*photos: Photo) -> list[Faces]:
    async def main() -> list[Faces]:
        async with open_engine(FAKE) as engine:
            analyses = await asyncio.gather(*(engine.analyse(one, ["faces"]) for one in photos))
            return [analysis.faces for analysis in analyses if analysis.faces is not None]

    return asyncio.run(main())


def test_every_face_has_all_its_values() -> None:
    found = seen(*map(photo, range(12)))
    assert len(found) == 12
    assert sum(map(len, found)) > 0
    for faces in found:
        lengths = {len(faces.boxes_xyxy), len(faces.scores), len(faces.landmarks), len(faces.quality), len(faces.vectors), len(faces.thumbnails)}
        assert lengths == {len(faces)}
        assert ((faces.quality >= 0) & (faces.quality <= 1)).all()


def test_the_same_photo_gives_the_same_faces_and_thumbnails() -> None:
    first, again = seen(photo(3), photo(3))
    assert np.array_equal(first.boxes_xyxy, again.boxes_xyxy)
    assert np.array_equal(first.vectors, again.vectors)
    assert first.thumbnails == again.thumbnails


def test_a_thumbnail_shows_the_face_and_not_another_place() -> None:
    picture = Photo(np.zeros((480, 640, 3), np.uint8), 640, 480)
    picture.pixels[100:150, 100:150] = (250, 20, 20)
    pieces = cut(picture, candidates((100, 100, 150, 150), (400, 300, 450, 350)))
    there, elsewhere = (np.asarray(Image.open(io.BytesIO(made.large)), int) for made in pieces.thumbnails)
    assert there[112, 112, 0] > 200
    assert there[112, 112, 1] < 60
    assert elsewhere.max() < 40


def test_a_box_that_leaves_the_photo_has_a_thumbnail_of_what_is_there() -> None:
    (made,) = cut(photo(1), candidates((-30, -20, 40, 60))).thumbnails
    assert Image.open(io.BytesIO(made.large)).size == (224, 224)


def test_a_small_face_in_a_shrunk_photo_counts_as_small_as_it_was_seen() -> None:
    (whole,), (half,) = (cut(photo(1, shrunk=scale), candidates((100, 100, 150, 150))).quality for scale in (1, 2))
    assert half < whole
