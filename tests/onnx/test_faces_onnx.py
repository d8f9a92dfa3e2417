"""A pack as the worker runs it: a row's answer does not depend on the rows that it travels with."""

from pathlib import Path

import numpy as np
import pytest

from kizu_fast.backends.onnx import OnnxBackend
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.imaging import decode
from kizu_fast.lanes import Lanes
from kizu_fast.models import scrfd
from kizu_fast.specs import FACE_BUCKETS, FACE_CROP, Tensors, face_names

BATCH = 8


async def rows_differ(
    backend: OnnxBackend, models: ModelRepository, name: str, rows: list[Tensors], bucket: tuple[int, int] | None = None
) -> list[str]:
    """The outputs of which any bit differs between a row alone and the same row in a batch of all."""
    spec = models.spec(name)
    shaped = spec if bucket is None else spec.at(bucket)
    together = await backend.infer(shaped, spec.stack(rows))
    alone = [await backend.infer(shaped, spec.stack([row])) for row in rows]
    return [output.name for output in spec.outputs if not np.array_equal(together[output.name], np.concatenate([one[output.name] for one in alone]))]


@pytest.fixture
def pictures(shared: Path) -> list[Path]:
    return sorted((shared / "images" / "faces").glob("*.jpg"))[::20][:BATCH]


async def test_one_photo_and_eight_give_the_same_bits(face_models: Path, pictures: list[Path]) -> None:
    models, lanes = ModelRepository(face_models), Lanes(2)
    detector, embedder = face_names("buffalo_s")
    backend = OnnxBackend(models, kind="cpu", lanes=2, executor=lanes.executor)
    try:
        for name in (detector, embedder):
            await backend.load(models.spec(name))
        photos = [decode(path.read_bytes(), max_pixels=10**8, max_bytes=10**8)[0] for path in pictures]
        assert len(photos) == BATCH
        for bucket in FACE_BUCKETS:
            rows = [{"pixels": scrfd.framed(photo, scrfd.frame_for(photo.height, photo.width, bucket))} for photo in photos]
            assert await rows_differ(backend, models, detector, rows, bucket) == []
        crops = [{"pixels": np.ascontiguousarray(photo.pixels[:FACE_CROP, :FACE_CROP])} for photo in photos]
        assert await rows_differ(backend, models, embedder, crops) == []
    finally:
        await backend.close()
        await lanes.close()
