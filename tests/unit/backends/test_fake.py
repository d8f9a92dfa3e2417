"""The fake backend: deterministic, of its own name and space, and honest about what it is."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kizu_fast.backends.fake import IMAGE, LABELS, OBJECTS, SPACE, TEXT, FakeBackend, tokenize
from kizu_fast.errors import BackendUnavailable, ConfigError, PermanentError, RowMismatch, TransientError
from kizu_fast.specs import ModelSpec, Tensors


def pixels(batch: int, height: int = 224, width: int = 224, seed: int = 0) -> dict[str, Any]:
    return {"pixels": np.random.default_rng(seed).integers(0, 256, (batch, height, width, 3), np.uint8)}


@pytest.fixture
async def backend() -> FakeBackend:
    opened = FakeBackend()
    for spec in (IMAGE, TEXT, OBJECTS):
        await opened.load(spec)
    return opened


async def test_the_same_picture_gets_the_same_vector(backend: FakeBackend) -> None:
    once = await backend.infer(IMAGE, pixels(1))
    again = await backend.infer(IMAGE, pixels(1))

    assert np.array_equal(once["image_features"], again["image_features"])


async def test_another_picture_gets_another_vector(backend: FakeBackend) -> None:
    outputs = await backend.infer(IMAGE, pixels(2))

    assert not np.allclose(*outputs["image_features"])


async def test_an_answer_does_not_depend_on_the_batch_around_it(backend: FakeBackend) -> None:
    batch = pixels(3)
    together = (await backend.infer(IMAGE, batch))["image_features"]
    alone = (await backend.infer(IMAGE, {"pixels": batch["pixels"][1:2]}))["image_features"]

    assert np.array_equal(together[1], alone[0])


async def test_vectors_have_length_one(backend: FakeBackend) -> None:
    outputs = await backend.infer(IMAGE, pixels(4))

    assert outputs["image_features"].shape == (4, 512)
    assert outputs["image_features"].dtype == np.float32
    assert np.linalg.norm(outputs["image_features"], axis=1) == pytest.approx(1, abs=1e-6)


async def test_boxes_lie_inside_the_tensor_best_first(backend: FakeBackend) -> None:
    bucket = (480, 640)
    outputs = await backend.infer(OBJECTS.at(bucket), pixels(8, *bucket))

    found = outputs["scores"] > 0
    boxes = outputs["boxes"][found]
    assert found.any()
    assert (np.diff(outputs["scores"], axis=1) <= 0).all()
    assert (boxes >= 0).all()
    assert (boxes[:, 2] <= 640).all()
    assert (boxes[:, 3] <= 480).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= 8).all()
    assert set(outputs["classes"][found]) <= set(range(len(LABELS)))


async def test_text_and_pictures_share_a_space_that_no_real_model_has(backend: FakeBackend) -> None:
    outputs = await backend.infer(TEXT, {"tokens": tokenize("a dog")[None]})

    assert IMAGE.space == TEXT.space == SPACE == "fake/p1"
    assert np.linalg.norm(outputs["text_features"][0]) == pytest.approx(1, abs=1e-6)
    assert all(spec.name.startswith("fake-") for spec in (IMAGE, TEXT, OBJECTS))


@pytest.mark.parametrize("text", ["", "a dog", "犬" * 500, "\ud800 lone surrogate"])
def test_any_text_has_tokens(text: str) -> None:
    assert tokenize(text).shape == (77,)
    assert tokenize(text).dtype == np.int32


async def test_a_model_that_was_not_loaded_is_refused() -> None:
    with pytest.raises(TransientError, match="fake-yolo: not loaded"):
        await FakeBackend().infer(OBJECTS, pixels(1, 640, 640))
    with pytest.raises(ConfigError, match="fake-yolo is not loaded"):
        FakeBackend().describe(OBJECTS)


async def test_inputs_that_no_graph_of_that_spec_takes_are_refused(backend: FakeBackend) -> None:
    with pytest.raises(RowMismatch):
        await backend.infer(IMAGE, pixels(1, 32, 32))
    with pytest.raises(PermanentError, match="at least one"):
        await backend.infer(IMAGE, pixels(0))


async def test_it_says_that_it_is_fake(backend: FakeBackend) -> None:
    assert backend.describe(IMAGE).provider == "fake"


async def test_executions_are_counted_in_rows(backend: FakeBackend) -> None:
    await backend.infer(IMAGE, pixels(3))
    await backend.infer(IMAGE, pixels(1))

    assert backend.batches == [("fake-clip-image", 3), ("fake-clip-image", 1)]


def test_its_delay_is_the_loop_s_own_time(in_no_time: Callable[..., Any]) -> None:
    async def main() -> float:
        backend = FakeBackend(delay_s=2)
        await backend.load(IMAGE)
        await asyncio.gather(*(backend.infer(IMAGE, pixels(1)) for _ in range(5)))
        return asyncio.get_running_loop().time()

    assert in_no_time(main) == pytest.approx(2)


async def test_a_fault_is_given_through_the_constructor() -> None:
    async def gone(spec: ModelSpec, inputs: Tensors) -> None:
        raise BackendUnavailable(f"{spec.name}: the server is gone")

    backend = FakeBackend(before=gone)
    await backend.load(IMAGE)

    with pytest.raises(BackendUnavailable, match="fake-clip-image"):
        await backend.infer(IMAGE, pixels(1))


def test_it_likes_its_work_as_a_cpu_does() -> None:
    profile = FakeBackend().profile
    assert [profile.largest_batch(spec) for spec in (IMAGE, TEXT, OBJECTS)] == [8, 8, 1]
    assert FakeBackend(full_batches=True).profile.largest_batch(OBJECTS) == OBJECTS.max_batch
    assert FakeBackend(lanes=3).profile.lanes == 3


async def test_after_unload_and_close_nothing_is_loaded(backend: FakeBackend) -> None:
    await backend.unload(IMAGE)
    await backend.unload(IMAGE)
    with pytest.raises(ConfigError):
        backend.describe(IMAGE)
    await backend.close()
    with pytest.raises(ConfigError):
        backend.describe(TEXT)
