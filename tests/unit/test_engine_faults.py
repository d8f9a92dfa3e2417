"""kizu_fast/engine.py when something breaks: bugs, closing, models of one's own, batches across models."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kizu_fast.backends.fake import IMAGE, FakeBackend
from kizu_fast.builtin import ClipImage
from kizu_fast.domain import Photo
from kizu_fast.engine import EngineConfig, open_engine
from kizu_fast.errors import BatcherStopped, ConfigError, TransientError
from kizu_fast.registry import ModelType, Registry
from kizu_fast.specs import Family, ModelSpec, Tensors

FAKE = EngineConfig(model_repository=Path("nowhere"), backend="fake", lanes=2)


def photo(seed: int, height: int = 48, width: int = 64) -> Photo:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Photo(pixels, width * 10, height * 10)


class Buggy:
    """A backend hook that raises what no backend should, as often as it is told."""

    def __init__(self, times: int) -> None:
        self.left = times

    async def __call__(self, spec: ModelSpec, _inputs: Tensors) -> None:
        if self.left and spec.family is Family.YOLO:
            self.left -= 1
            raise KeyError("a bug")


async def test_a_bug_ends_one_batcher_and_the_next_photo_gets_a_new_one() -> None:
    async with open_engine(FAKE, backend=FakeBackend(before=Buggy(1))) as engine:
        with pytest.raises(BatcherStopped, match="fake-yolo"):
            await engine.analyse(photo(1), ["objects"])

        assert (await engine.analyse(photo(1), ["objects"])).objects is not None


async def test_photos_that_wait_while_the_engine_closes_are_told() -> None:
    async with open_engine(FAKE, backend=FakeBackend(delay_s=30)) as engine:
        waiting = [asyncio.create_task(engine.analyse(photo(n), ["embedding"])) for n in range(12)]
        while engine.stats().stages["preprocess"].items < 12:
            await asyncio.sleep(0.01)

    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, TransientError) for result in results)  # BatcherStopped, or that the model is gone


async def test_photos_that_wait_for_a_model_that_is_unloaded_are_told() -> None:
    async with open_engine(FAKE, backend=FakeBackend(delay_s=30)) as engine:
        waiting = asyncio.create_task(engine.analyse(photo(1), ["embedding"]))
        while engine.stats().stages["preprocess"].items < 1:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        await engine.unload(ModelType.EMBEDDER, IMAGE.name)

        with pytest.raises(BatcherStopped):
            await waiting


async def test_an_engine_that_is_closed_twice_is_closed() -> None:
    async with open_engine(FAKE) as engine:
        await engine.close()


async def test_batches_never_mix_buckets() -> None:
    shapes: set[tuple[int, ...]] = set()

    async def look(spec: ModelSpec, inputs: Tensors) -> None:
        if spec.family is Family.YOLO:
            shapes.add(inputs["pixels"].shape)

    backend = FakeBackend(before=look, full_batches=True)
    async with open_engine(FAKE, backend=backend) as engine:
        sizes = [(48, 64), (64, 48), (64, 64)] * 8
        await asyncio.gather(*(engine.analyse(photo(n, *size), ["objects"]) for n, size in enumerate(sizes)))

    assert {shape[1:3] for shape in shapes} == {(480, 640), (640, 480), (640, 640)}
    assert sum(rows for _, rows in backend.batches) == 24


async def test_on_a_cpu_clip_s_batches_are_full_while_the_detector_runs_one_by_one() -> None:
    async def slow_detector(spec: ModelSpec, _inputs: Tensors) -> None:
        await asyncio.sleep(0.02 if spec.family is Family.YOLO else 0.002)

    backend = FakeBackend(before=slow_detector)
    async with open_engine(FAKE, backend=backend) as engine:
        in_flight = asyncio.Semaphore(16)

        async def one(n: int) -> None:
            async with in_flight:
                await engine.analyse(photo(n), ["embedding", "objects"])

        await asyncio.gather(*(one(n) for n in range(64)))
        times = engine.stats().models

    assert times["fake-yolo"].executions == 64
    assert times["fake-clip-image"].inferences / times["fake-clip-image"].executions >= 4


@pytest.mark.parametrize(("batch_size", "largest"), [(1, 1), (3, 3), (100, 8)])
async def test_no_batch_is_larger_than_batch_size_or_the_backend_s_own_limit(batch_size: int, largest: int) -> None:
    backend = FakeBackend(delay_s=0.01)
    async with open_engine(replace(FAKE, batch_size=batch_size), backend=backend) as engine:
        await asyncio.gather(*(engine.analyse(photo(n), ["embedding"]) for n in range(24)))

    assert max(rows for _, rows in backend.batches) == largest


async def test_the_engine_says_how_many_photos_keep_it_busy() -> None:
    async with open_engine(FAKE) as engine:
        assert (engine.lanes, engine.photos_wanted) == (2, 32)


async def test_a_model_of_the_caller_s_own_stays_the_default() -> None:
    mine = replace(IMAGE, name="mine", space="my space")
    registry = Registry()
    registry.register(ModelType.EMBEDDER, "mine", lambda: ClipImage(mine), is_default=True)

    async with open_engine(FAKE, registry=registry) as engine:
        analysis = await engine.analyse(photo(1), ["embedding", "objects"])

    assert analysis.embedding is not None
    assert analysis.embedding.space == "my space"
    assert set(analysis.models.values()) == {"mine", "fake-yolo"}


async def test_only_the_models_of_the_operations_are_loaded() -> None:
    async with open_engine(replace(FAKE, operations=("objects",))) as engine:
        assert set(engine.running()) == {"fake-yolo"}
        await engine.load(ModelType.EMBEDDER)
        assert set(engine.running()) == {"fake-yolo", "fake-clip-image"}


async def test_many_photos_at_once_load_a_model_once() -> None:
    loads: list[str] = []

    class Counting(FakeBackend):
        async def load(self, spec: ModelSpec) -> None:
            loads.append(spec.name)
            await asyncio.sleep(0.01)
            await super().load(spec)

    async with open_engine(replace(FAKE, operations=()), backend=Counting()) as engine:
        await asyncio.gather(*(engine.analyse(photo(n), ["embedding"]) for n in range(5)))

    assert loads == [IMAGE.name]


async def test_a_model_that_fails_to_load_closes_what_was_opened() -> None:
    closed: list[bool] = []

    class Broken(FakeBackend):
        async def load(self, spec: ModelSpec) -> None:
            raise ConfigError(f"{spec.name}: the graph does not fit")

        async def close(self) -> None:
            closed.append(True)

    with pytest.raises(ConfigError, match="does not fit"):
        async with open_engine(FAKE, backend=Broken()):
            pass

    assert closed == [True]


async def test_a_decode_mode_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="KIZU_DECODE is 'quick'"):
        async with open_engine(replace(FAKE, decode="quick")):
            pass


@pytest.mark.parametrize(("decode", "side"), [("scaled", 800), ("exact", 1600)])
async def test_exact_decodes_every_pixel_and_scaled_the_fewest_that_will_do(decode: str, side: int, big_jpeg: bytes) -> None:
    async with open_engine(replace(FAKE, decode=decode)) as engine:
        decoded, facts = await engine.decode(big_jpeg)

    assert min(decoded.pixels.shape[:2]) == side
    assert (decoded.width, facts.width) == (1600, 1600)


@pytest.fixture
def big_jpeg() -> Any:
    from pictures import jpeg  # noqa: PLC0415  # only here

    return jpeg(np.zeros((1600, 1600, 3), np.uint8))
