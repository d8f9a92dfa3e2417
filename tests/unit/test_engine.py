"""kizu_fast/engine.py: photos of many coroutines through shared lanes and full batches, one photo's fault kept its own."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import jpeg, scene

from kizu_fast.backends.fake import SPACE, FakeBackend
from kizu_fast.domain import Operation, Photo
from kizu_fast.engine import STAGES, EngineConfig, open_engine
from kizu_fast.errors import BackendUnavailable, ConfigError, ImageTooLarge, ImageUnreadable, PermanentError
from kizu_fast.registry import ModelType, Registry
from kizu_fast.specs import Family, ModelSpec, Tensors

FAKE = EngineConfig(model_repository=Path("nowhere"), backend="fake", lanes=2)
BOTH = (Operation.EMBEDDING, Operation.OBJECTS)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


def photo(seed: int) -> Photo:
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    return Photo(pixels, 640, 480)


def test_a_photo_goes_through_every_operation_asked_for() -> None:
    async def main() -> None:
        async with open_engine(FAKE) as engine:
            decoded, facts = await engine.decode(jpeg(scene(200, 100)))
            assert (decoded.width, decoded.height, facts.width) == (200, 100, 200)
            analysis = await engine.analyse(decoded, BOTH)
            assert analysis.embedding is not None
            assert analysis.objects is not None
            assert analysis.embedding.space == SPACE == engine.space
            assert abs(np.linalg.norm(analysis.embedding.vector) - 1) < 1e-5
            assert set(analysis.models) == set(BOTH)
            assert not analysis.failures

    run(main)


def test_only_what_was_asked_for_is_done() -> None:
    async def main() -> None:
        async with open_engine(FAKE) as engine:
            analysis = await engine.analyse(photo(1), ["objects"])
            assert analysis.embedding is None
            assert analysis.objects is not None

    run(main)


def test_a_word_that_is_no_operation_fails_by_name_and_the_rest_is_done() -> None:
    async def main() -> None:
        async with open_engine(FAKE) as engine:
            analysis = await engine.analyse(photo(1), ["embedding", "paint"])
            assert set(analysis.failures) == {"paint"}
            assert analysis.embedding is not None
            assert all(name in str(error) for name, error in analysis.failures.items())

    run(main)


def test_photos_of_many_coroutines_share_batches() -> None:
    """The original's defect 4: one image per model call."""

    async def main() -> None:
        backend = FakeBackend(lanes=2, delay_s=0.02)
        async with open_engine(FAKE, backend=backend) as engine:
            await asyncio.gather(*(engine.analyse(photo(n), ["embedding"]) for n in range(32)))
        sizes = [rows for name, rows in backend.batches if name == "fake-clip-image"]
        assert sum(sizes) == 32
        assert len(sizes) <= 12
        assert max(sizes) <= 8

    run(main)


def test_every_photo_gets_its_own_answer_whatever_batch_it_rode_in() -> None:
    async def main() -> None:
        async with open_engine(FAKE) as engine:
            alone = [await engine.analyse(photo(n), ["embedding"]) for n in range(12)]
            together = await asyncio.gather(*(engine.analyse(photo(n), ["embedding"]) for n in range(12)))
            for one, other in zip(alone, together, strict=True):
                assert one.embedding is not None
                assert other.embedding is not None
                assert (one.embedding.vector == other.embedding.vector).all()

    run(main)


def test_one_poisoned_photo_fails_alone_and_keeps_its_other_operations() -> None:
    poison = photo(13)

    async def before(spec: ModelSpec, inputs: Tensors) -> None:
        if spec.family is Family.CLIP_IMAGE and any((row == marked).all() for row in inputs["pixels"]):
            raise PermanentError("poison")

    async def main() -> None:
        async with open_engine(FAKE, backend=FakeBackend(before=before)) as engine:
            results = await asyncio.gather(*(engine.analyse(one, BOTH) for one in [*(photo(n) for n in range(10)), poison]))
            assert [set(result.failures) for result in results] == [set()] * 10 + [{"embedding"}]
            assert results[-1].objects is not None

    from kizu_fast.models.clip import preprocess  # noqa: PLC0415

    marked = preprocess(poison, 224)
    run(main)


def test_an_outage_of_the_backend_is_raised_not_stored() -> None:
    async def before(spec: ModelSpec, inputs: Tensors) -> None:
        if len(inputs) and asyncio.get_running_loop().time() > started[0]:
            raise BackendUnavailable("gone")

    started = [float("inf")]

    async def main() -> None:
        async with open_engine(FAKE, backend=FakeBackend(before=before)) as engine:
            await engine.analyse(photo(1), BOTH)
            started[0] = 0
            with pytest.raises(BackendUnavailable):
                await engine.analyse(photo(2), BOTH)

    run(main)


def test_a_cancelled_photo_leaves_the_others_of_its_batch_alone() -> None:
    async def main() -> None:
        async with open_engine(FAKE, backend=FakeBackend(delay_s=0.05)) as engine:
            tasks = [asyncio.create_task(engine.analyse(photo(n), ["embedding"])) for n in range(8)]
            await asyncio.sleep(0.02)
            tasks[3].cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(results[3], asyncio.CancelledError)
            assert not any(isinstance(result, BaseException) for i, result in enumerate(results) if i != 3)

    run(main)


def test_broken_and_oversized_bytes_are_refused_by_class() -> None:
    async def main() -> None:
        async with open_engine(EngineConfig(model_repository=Path("nowhere"), backend="fake", max_pixels=100)) as engine:
            with pytest.raises(ImageUnreadable):
                await engine.decode(b"no picture")
            with pytest.raises(ImageTooLarge, match="KIZU_MAX_PIXELS"):
                await engine.decode(jpeg(scene(200, 100)))

    run(main)


def test_a_text_lies_in_the_space_of_the_photos() -> None:
    async def main() -> None:
        async with open_engine(EngineConfig(model_repository=Path("nowhere"), backend="fake", operations=())) as engine:
            assert engine.running() == {}
            embedding = await engine.embed_text("a dog on a beach")
            assert embedding.space == SPACE
            assert set(engine.running()) == {"fake-clip-text"}
            with pytest.raises(ConfigError, match="no-such-space"):
                await engine.embed_text("x", space="no-such-space")

    run(main)


def test_stages_and_models_are_counted() -> None:
    async def main() -> None:
        async with open_engine(FAKE) as engine:
            for n in range(3):
                decoded, _ = await engine.decode(jpeg(scene(64 + n, 64)))
                await engine.analyse(decoded, BOTH)
            stats = engine.stats()
            assert set(stats.stages) == set(STAGES)
            assert stats.stages["decode"].items == 3
            assert {name: model.inferences for name, model in stats.models.items()} == {"fake-clip-image": 3, "fake-yolo": 3}

    run(main)


def test_a_model_can_be_unloaded_and_comes_back_at_its_next_use() -> None:
    async def main() -> None:
        async with open_engine(FAKE) as engine:
            await engine.analyse(photo(1), BOTH)
            await engine.unload(ModelType.DETECTOR, "fake-yolo")
            assert "fake-yolo" not in engine.running()
            assert (await engine.analyse(photo(1), BOTH)).objects is not None

    run(main)


@pytest.mark.parametrize("backend", ["cuda", "tensorrt", "coreml"])
def test_a_backend_that_is_not_there_is_a_clear_error(backend: str, tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(ConfigError, match=backend) as caught:
            async with open_engine(EngineConfig(model_repository=tmp_path, backend=backend, operations=())):
                pass
        assert "\n" not in str(caught.value)

    run(main)


def test_a_missing_model_names_the_command_that_makes_it(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(ConfigError, match=r"python -m export --models"):
            async with open_engine(EngineConfig(model_repository=tmp_path)):
                pass

    run(main)


def test_an_engine_takes_a_registry_of_the_callers_own() -> None:
    async def main() -> None:
        registry = Registry()
        async with open_engine(FAKE, registry=registry) as engine:
            assert engine.registry is registry
            assert registry.default(ModelType.DETECTOR) == "fake-yolo"

    run(main)
