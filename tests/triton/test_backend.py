"""The Triton backend over a real server: the same answers as onnxruntime in this process, in few executions, through whichever server is up."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import graphs
import numpy as np
import pytest
from faults.rig import until
from PIL import Image
from triton.conftest import MOODY, OBJECTS, POISON
from triton.server import TritonServer

from kizu_fast.backends.onnx import OnnxBackend
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.backends.triton import TritonBackend
from kizu_fast.backends.triton_servers import Server
from kizu_fast.builtin import Chosen
from kizu_fast.engine import EngineConfig, open_engine
from kizu_fast.errors import BackendUnavailable, ConfigError, PermanentError
from kizu_fast.specs import DTYPES, ModelSpec, Tensors

pytestmark = pytest.mark.triton

IMAGE = "clip-vit-b-32-openai-image"
Spec = Callable[[str], ModelSpec]


def some(spec: ModelSpec, rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random rows for a model whatever it takes."""
    shaped = spec.at(spec.buckets[0]) if spec.buckets else spec
    rng = np.random.default_rng(seed)
    return {t.name: rng.integers(1, 200, (rows, *(32 if side == -1 else side for side in t.shape))).astype(DTYPES[t.dtype]) for t in shaped.inputs}


def same(one: Tensors, other: Tensors) -> None:
    assert one.keys() == other.keys()
    for name, values in one.items():
        assert values.dtype == other[name].dtype
        np.testing.assert_allclose(values, other[name], rtol=1e-3, atol=1e-3)


async def test_every_exported_model_answers_as_onnxruntime_does(served: Path, backend: TritonBackend) -> None:
    repository = ModelRepository(served)
    local = OnnxBackend(repository)
    for name in repository.names():
        spec = repository.spec(name)
        shaped = spec.at(spec.buckets[0]) if spec.buckets else spec
        inputs = some(spec, 2)
        for one in (local, backend):
            await one.load(spec)
        same(await backend.infer(shaped, inputs), await local.infer(shaped, inputs))
        assert backend.describe(spec).provider == "Triton 2.51.0: onnxruntime"
    await local.close()


async def test_what_serves_is_said_with_its_address(server: TritonServer, backend: TritonBackend, spec_of: Spec) -> None:
    with pytest.raises(ConfigError, match="not loaded"):
        backend.describe(spec_of(IMAGE))
    await backend.load(spec_of(IMAGE))
    assert backend.describe(spec_of(IMAGE)).device == server.url


async def test_sixty_four_photos_in_flight_run_in_few_executions(served: Path, server: TritonServer) -> None:
    """One engine: its batcher makes the batches."""
    name = next(name for name in ModelRepository(served).names() if name.endswith("-random-image"))
    before = server.executions(name)
    chosen = Chosen(clip_pretrained="random")
    config = EngineConfig(
        model_repository=served, backend="triton", chosen=chosen, allow_random=True, operations=("embedding",), triton_urls=server.url
    )
    async with open_engine(config) as engine:
        _, executions = server.executions(name)
        photo, _ = await engine.decode(_png())
        await asyncio.gather(*(engine.see("embedding", photo) for _ in range(64)))
    rows, runs = server.executions(name)
    assert rows - before[0] >= 64
    assert runs - executions <= 64 // 3


async def test_single_requests_of_sixty_four_clients_are_joined_by_the_server(server: TritonServer, spec_of: Spec) -> None:
    spec = spec_of(IMAGE)
    clients = [Server(server.url) for _ in range(64)]
    await asyncio.gather(*(client.is_ready(IMAGE) for client in clients))
    before = server.executions(IMAGE)
    await asyncio.gather(*(client.infer(spec, some(spec, 1, seed), 20) for seed, client in enumerate(clients)))
    rows, runs = (after - earlier for after, earlier in zip(server.executions(IMAGE), before, strict=True))
    assert rows == 64
    assert runs <= 64 // 3
    await asyncio.gather(*(client.close() for client in clients))


async def test_more_rows_than_the_server_takes_at_once_are_cut(backend: TritonBackend, spec_of: Spec) -> None:
    spec = spec_of(IMAGE)
    await backend.load(spec)
    inputs = some(spec, 2 * spec.max_batch + 1)
    whole = await backend.infer(spec, inputs)
    same({"image_features": whole["image_features"][-1:]}, await backend.infer(spec, {"pixels": inputs["pixels"][-1:]}))
    assert len(whole["image_features"]) == 2 * spec.max_batch + 1


@pytest.mark.parametrize("rows", [1, 7])
async def test_shared_memory_gives_the_same_answers(server: TritonServer, spec_of: Spec, rows: int) -> None:
    spec = spec_of(IMAGE)
    inputs = some(spec, rows)
    answers = []
    for sharing in ("on", "off"):
        backend = TritonBackend([server.url], sharing=sharing)
        await backend.load(spec)
        answers.append(await asyncio.gather(*(backend.infer(spec, inputs) for _ in range(3))))
        await backend.close()
    for one, other in zip(*answers, strict=True):
        same(one, other)


async def test_no_raw_head_crosses_the_wire(served: Path, backend: TritonBackend) -> None:
    """Sent and received together over the uint8 tensors sent, for a photo that goes through every bucket of every exported model once."""
    repository, sent, got = ModelRepository(served), 0, 0
    for spec in map(repository.spec, repository.names()):
        if spec.inputs[0].dtype != "uint8" or spec.inputs[0].shape[:1] == (graphs.SIDE,):
            continue
        await backend.load(spec)
        for shaped in [spec.at(bucket) for bucket in spec.buckets] or [spec]:
            inputs = {tensor.name: np.zeros((1, *tensor.shape), np.uint8) for tensor in shaped.inputs}
            sent += sum(array.nbytes for array in inputs.values())
            got += sum(array.nbytes for array in (await backend.infer(shaped, inputs)).values())
    assert sent + got <= 1.5 * sent


@pytest.mark.parametrize("colour", POISON)
async def test_a_row_at_fault_is_a_permanent_error_when_it_stands_alone(
    backend: TritonBackend, spec_of: Spec, mood: Callable[[str], None], colour: tuple[int, int, int]
) -> None:
    spec = spec_of(MOODY)
    await backend.load(spec)
    mood("poison")
    poison = {"pixels": np.full((1, graphs.SIDE, graphs.SIDE, 3), colour, np.uint8)}
    for inputs in (poison, {"pixels": np.concatenate([poison["pixels"], some(spec, 3)["pixels"]])}):
        with pytest.raises(PermanentError, match=MOODY):
            await backend.infer(spec, inputs)
    assert np.isfinite((await backend.infer(spec, some(spec, 3)))["image_features"]).all()


@pytest.mark.parametrize("mood_word", ["raise", "nan", "shape"])
async def test_a_model_at_fault_is_an_outage(backend: TritonBackend, spec_of: Spec, mood: Callable[[str], None], mood_word: str) -> None:
    spec = spec_of(MOODY)
    await backend.load(spec)
    mood(mood_word)
    with pytest.raises(BackendUnavailable, match="is broken on Triton"):
        await backend.infer(spec, some(spec, 3))
    mood("ok")
    await backend.infer(spec, some(spec, 3))


@pytest.mark.parametrize("mood_word", ["nan", "shape", "raise"])
async def test_a_model_at_fault_is_not_loaded(backend: TritonBackend, spec_of: Spec, mood: Callable[[str], None], mood_word: str) -> None:
    mood(mood_word)
    with pytest.raises(ConfigError, match=MOODY):
        await backend.load(spec_of(MOODY))


async def test_a_model_of_other_tensors_is_refused_by_name_and_field(backend: TritonBackend, spec_of: Spec) -> None:
    spec = spec_of(IMAGE)
    (output,) = spec.outputs
    longer = ModelSpec(**{**{f: getattr(spec, f) for f in ModelSpec.__dataclass_fields__}, "outputs": (type(output)(output.name, "float32", (7,)),)})
    with pytest.raises(ConfigError, match=rf"{IMAGE}.*output image_features: dims are \[{graphs.DIM}\], expected \[7\]"):
        await backend.load(longer)


async def test_unload_frees_the_model_and_load_brings_it_back(server: TritonServer, backend: TritonBackend, spec_of: Spec) -> None:
    spec = spec_of(OBJECTS)
    await backend.load(spec)
    assert server.models(OBJECTS)
    await backend.unload(spec)
    await asyncio.to_thread(until, lambda: not server.models(OBJECTS), "the end of the model's process")
    await backend.load(spec)
    assert len((await backend.infer(spec, some(spec, 1)))["scores"]) == 1


@pytest.fixture
async def pair(light: TritonServer, server: TritonServer) -> AsyncIterator[TritonBackend]:
    """Two servers that both have the small models."""
    backend = TritonBackend([light.url, server.url])
    yield backend
    await backend.close()


async def test_two_servers_share_the_work_and_one_does_it_alone_when_the_other_dies(
    pair: TritonBackend, light: TritonServer, server: TritonServer, spec_of: Spec
) -> None:
    spec = spec_of(OBJECTS)
    await pair.load(spec)
    before = [one.executions(OBJECTS)[0] for one in (light, server)]
    await asyncio.gather(*(pair.infer(spec, some(spec, 4)) for _ in range(12)))
    after = [one.executions(OBJECTS)[0] for one in (light, server)]
    assert all(later > earlier for earlier, later in zip(before, after, strict=True))
    await asyncio.to_thread(light.kill)
    answers = await asyncio.gather(*(pair.infer(spec, some(spec, 4)) for _ in range(6)))
    assert len(answers) == 6
    assert pair.describe(spec).device == server.url


async def test_a_server_that_starts_late_is_waited_for(small: Path, light: TritonServer, spec_of: Spec) -> None:
    light.kill()
    with pytest.raises(BackendUnavailable, match=f"no Triton server answers at {light.url}"):
        await _load_once(light.url, 0.0, spec_of(OBJECTS))
    waiting = asyncio.ensure_future(_load_once(light.url, 60.0, spec_of(OBJECTS)))
    await asyncio.to_thread(light.start)
    await waiting


async def _load_once(url: str, wait_s: float, spec: ModelSpec) -> None:
    backend = TritonBackend([url], wait_s=wait_s)
    try:
        await backend.load(spec)
    finally:
        await backend.close()


def _png() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()
