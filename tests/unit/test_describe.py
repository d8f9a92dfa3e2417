"""kizu_fast/describe.py and its way through the engine: captions by name, apart from the lanes, and captioners that are not run here."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kizu_fast import specs
from kizu_fast.backends import fake
from kizu_fast.backends.fake import FakeBackend
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.builtin import Chosen, ExportedModels, FakeModels
from kizu_fast.describe import Captioner, refusal
from kizu_fast.domain import ALL, Caption, Operation, Photo
from kizu_fast.engine import EngineConfig, open_engine
from kizu_fast.errors import ConfigError, OperationUnavailable, RowMismatch
from kizu_fast.models.captioners import CAPTIONERS, UNSERVED_CAPTIONERS, caption_name
from kizu_fast.registry import ModelType
from kizu_fast.specs import Family, ModelSpec, Tensors

FAKE = EngineConfig(model_repository=Path("nowhere"), backend="fake", lanes=2, operations=("embedding", "objects", "describe"))
InNoTime = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]
SLOW_S = 5.0


def photo(seed: int = 0) -> Photo:
    return Photo(np.random.default_rng(seed).integers(0, 256, (48, 64, 3), np.uint8), 64, 48)


def install(root: Path, name: str) -> None:
    """A captioner's folder without a graph worth loading."""
    (root / name / "1").mkdir(parents=True)
    (root / name / "1" / "model.onnx").write_bytes(b"")
    spec = specs.caption(name, side=64, length=12, preprocessing="stretch1-bicubic")
    source = "random" if specs.is_random(name) else "folder"
    (root / name / "manifest.json").write_text(json.dumps({"spec": spec.as_record(), "source": source, "original": "x"}))
    fake.caption_rules().save(str(root / name / "tokenizer.json"))


def test_a_captioner_makes_one_row_and_one_sentence() -> None:
    captioner = Captioner(fake.CAPTION, fake.caption_rules())
    prepared = captioner.prepare(photo())
    fake.CAPTION.check_row(prepared.tensors)
    assert prepared.bucket is None
    row = np.array([0, 3, 4, 5, 6, 7, 2, 1, 1, 1, 1, 1], np.int32)
    assert prepared.finish({"caption_tokens": row}) == Caption("a picture of two dogs")


def test_pixels_of_another_size_or_type_are_refused() -> None:
    row = Captioner(fake.CAPTION, fake.caption_rules()).prepare(photo()).tensors["pixels"]
    for wrong in (row[:-1], row.astype(np.float32), row[..., :1]):
        with pytest.raises(RowMismatch):
            fake.CAPTION.check_row({"pixels": wrong})


def test_preprocessing_of_a_newer_version_is_refused() -> None:
    spec = specs.caption("x", side=8, length=4, preprocessing="stretch9")
    with pytest.raises(ConfigError, match="unknown preprocessing 'stretch9'"):
        Captioner(spec, fake.caption_rules())


def test_a_caption_s_spec_says_that_it_is_slow_and_gains_nothing_from_batches_on_a_cpu() -> None:
    spec = specs.caption("x", side=768, length=24, preprocessing="stretch1-bicubic")
    assert (spec.family, spec.apart, spec.cpu_batch, spec.max_batch) == (Family.CAPTION, True, 1, 8)
    assert (spec.inputs[0].shape, spec.outputs[0].shape) == ((768, 768, 3), (24,))
    assert ModelSpec.from_record(json.loads(json.dumps(spec.as_record()))) == spec


@pytest.mark.parametrize(
    ("model", "detail", "name"),
    [
        ("florence2", "caption", "florence-2-base-caption"),
        ("florence2", "detailed", "florence-2-base-detailed"),
        ("florence2", "more", "florence-2-base-more"),
        ("vit-gpt2", "caption", "vit-gpt2-caption"),
    ],
)
def test_every_prompt_is_a_model_of_its_own(model: str, detail: str, name: str) -> None:
    assert caption_name(model, detail) == name
    assert detail in CAPTIONERS[model].details
    assert specs.is_random(caption_name(model, detail, random=True))
    assert not specs.is_random(name)


def test_the_settings_name_the_captioner_and_a_random_twin_stands_in_only_where_allowed(tmp_path: Path) -> None:
    chosen = Chosen(describe_model="florence2", describe_detail="detailed")
    repository = ModelRepository(tmp_path)
    allowed = ExportedModels(repository, chosen, allow_random=True)
    assert allowed.caption() == "florence-2-base-detailed"
    install(tmp_path, "florence-2-base-detailed-random")
    assert allowed.caption() == "florence-2-base-detailed-random"
    assert ExportedModels(repository, chosen, allow_random=False).caption() == "florence-2-base-detailed"
    install(tmp_path, "florence-2-base-detailed")
    assert allowed.caption() == "florence-2-base-detailed"
    assert allowed.caption_rules("florence-2-base-detailed").token_to_id("</s>") == 2
    assert FakeModels().caption() == fake.CAPTION.name


def test_a_photo_is_described_and_the_same_photo_always_alike() -> None:
    async def main() -> None:
        async with open_engine(FAKE) as engine:
            first, again, other = [await engine.analyse(photo(n), ["describe"]) for n in (1, 1, 2)]
            assert first.caption is not None
            assert first.caption == again.caption
            assert first.caption != other.caption
            assert set(first.caption.text.split()) <= set(fake.WORDS[3:])
            assert first.models == {Operation.DESCRIBE: "fake-caption"}

    asyncio.run(main())


def test_captions_are_not_part_of_all() -> None:
    assert Operation.DESCRIBE not in ALL

    async def main() -> None:
        async with open_engine(EngineConfig(model_repository=Path("nowhere"), backend="fake", lanes=1)) as engine:
            assert "fake-caption" not in engine.running()
            analysis = await engine.analyse(photo(), ALL)
            assert analysis.caption is None

    asyncio.run(main())


@pytest.mark.parametrize("name", list(UNSERVED_CAPTIONERS))
def test_a_captioner_that_is_not_run_here_says_why_and_what_to_take_instead(name: str) -> None:
    async def main() -> None:
        async with open_engine(FAKE) as engine:
            assert name in engine.registry.available()[ModelType.VLM]
            assert engine.registry.default(ModelType.VLM) == "fake-caption"
            with pytest.raises(ConfigError, match="DESCRIBE_MODEL=florence2"):
                engine.registry.get(ModelType.VLM, name)

    asyncio.run(main())


def test_a_refusal_is_raised_each_time_it_is_asked() -> None:
    refuse = refusal("because")
    for _ in range(2):
        with pytest.raises(ConfigError, match="because"):
            refuse()


def test_a_missing_captioner_fails_only_its_operation(tmp_path: Path) -> None:
    async def main() -> None:
        config = EngineConfig(model_repository=tmp_path, backend="cpu", lanes=1, operations=("describe",))
        with pytest.raises(ConfigError, match=r"florence-2-base-caption .* python -m export --models florence-2-base-caption"):
            async with open_engine(config):
                pass

    asyncio.run(main())


def test_captions_wait_for_nobody_but_captions() -> None:
    """A captioner of five seconds, with both lanes free for the rest: the lanes' work is done long before the first caption."""

    async def main() -> None:
        captioning, released = asyncio.Event(), asyncio.Event()
        now, most = 0, 0

        async def before(spec: ModelSpec, _inputs: Tensors) -> None:
            nonlocal now, most
            if spec.family is Family.CAPTION:
                now += 1
                most = max(most, now)
                captioning.set()
                await released.wait()
                now -= 1

        async with open_engine(FAKE, backend=FakeBackend(lanes=2, before=before)) as engine:
            captions = [asyncio.create_task(engine.analyse(photo(n), ["describe"])) for n in range(4)]
            await captioning.wait()
            others = await asyncio.wait_for(asyncio.gather(*(engine.analyse(photo(n), ["embedding", "objects"]) for n in range(20))), 30)
            assert all(other.embedding is not None and other.objects is not None for other in others)
            assert not any(caption.done() for caption in captions)
            released.set()
            done = await asyncio.gather(*captions)
            assert all(each.caption is not None for each in done)
            assert most == 1

    asyncio.run(main())


def test_an_operation_without_its_model_is_told_apart_from_a_photo_s_fault() -> None:
    async def main() -> None:
        async with open_engine(FAKE) as engine:
            engine.unavailable[Operation.DESCRIBE] = "no captioner"
            analysis = await engine.analyse(photo(), ["embedding", "describe"])
            assert analysis.embedding is not None
            assert isinstance(analysis.failures["describe"], OperationUnavailable)

    asyncio.run(main())
