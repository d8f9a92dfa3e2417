"""Every row of the table of errors, brought about on a real server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import graphs
import numpy as np
import pytest
from faults.rig import until
from triton.conftest import MOODY, OBJECTS
from triton.server import TritonServer

from kizu_fast.backends.triton_errors import Refusal, Verdict
from kizu_fast.backends.triton_servers import Server
from kizu_fast.specs import ModelSpec, TensorSpec

pytestmark = pytest.mark.triton

IMAGE = "clip-vit-b-32-openai-image"
Spec = Callable[[str], ModelSpec]


def rows(count: int, side: int = graphs.SIDE) -> dict[str, np.ndarray]:
    return {"pixels": np.full((count, side, side, 3), 7, np.uint8)}


@pytest.fixture
async def client(server: TritonServer) -> AsyncIterator[Server]:
    one = Server(server.url)
    yield one
    await one.close()


async def refusal(call: Awaitable[object]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await call
    return caught.value


async def test_nobody_listens() -> None:
    nobody = Server("127.0.0.1:9")
    found = await refusal(nobody.is_ready(IMAGE))
    assert (found.verdict, "Connection refused" in found.said) == (Verdict.GONE, True)
    await nobody.close()


async def test_the_deadline_passes(client: Server, spec_of: Spec, mood: Callable[[str], None]) -> None:
    mood("slow")
    assert (await refusal(client.infer(spec_of(MOODY), rows(1), 0.05))).verdict is Verdict.LATE


async def test_an_unknown_model(client: Server, spec_of: Spec) -> None:
    found = await refusal(client.infer(ModelSpec(**{**_fields(spec_of(IMAGE)), "name": "nobody"}), rows(1), 5))
    assert (found.verdict, "unknown model: 'nobody'" in found.said) == (Verdict.MISSING, True)


async def test_a_model_that_cannot_be_loaded(client: Server) -> None:
    assert (await refusal(client.load("nobody"))).verdict is Verdict.FAULT


async def test_an_unloaded_model_is_missing_until_it_is_loaded(client: Server, spec_of: Spec) -> None:
    await client.infer(spec_of(OBJECTS), rows(1), 5)
    await client.unload(OBJECTS)
    found = await refusal(client.infer(spec_of(OBJECTS), rows(1), 5))
    assert (found.verdict, "no available versions" in found.said) == (Verdict.MISSING, True)
    assert not await client.is_ready(OBJECTS)
    await client.load(OBJECTS)
    await client.infer(spec_of(OBJECTS), rows(1), 5)


async def test_a_wrong_dimension(client: Server, spec_of: Spec) -> None:
    found = await refusal(client.infer(spec_of(IMAGE), rows(1, side=9), 5))
    assert (found.verdict, "unexpected shape for input 'pixels'" in found.said) == (Verdict.REFUSED, True)


async def test_a_batch_that_is_too_large(client: Server, spec_of: Spec) -> None:
    found = await refusal(client.infer(spec_of(IMAGE), rows(33), 5))
    assert (found.verdict, "batch-size must be <= 32" in found.said) == (Verdict.REFUSED, True)


async def test_an_empty_batch(client: Server, spec_of: Spec) -> None:
    assert (await refusal(client.infer(spec_of(IMAGE), rows(0), 5))).verdict is Verdict.REFUSED


async def test_a_wrong_type(client: Server, spec_of: Spec) -> None:
    floats = _changed(spec_of(IMAGE), inputs=(TensorSpec("pixels", "float32", (graphs.SIDE, graphs.SIDE, 3)),))
    found = await refusal(client.infer(floats, {"pixels": rows(1)["pixels"].astype(np.float32)}, 5))
    assert (found.verdict, "expects 'UINT8'" in found.said) == (Verdict.REFUSED, True)


async def test_a_type_that_is_not_the_declared_one(client: Server, spec_of: Spec) -> None:
    found = await refusal(client.infer(spec_of(IMAGE), {"pixels": rows(1)["pixels"].astype(np.float32)}, 5))
    assert (found.verdict, "expected UINT8" in found.said) == (Verdict.REFUSED, True)


@pytest.mark.parametrize("role", ["inputs", "outputs"])
async def test_a_wrong_name(client: Server, spec_of: Spec, role: str) -> None:
    (tensor,) = getattr(spec_of(IMAGE), role)
    renamed = _changed(spec_of(IMAGE), **{role: (TensorSpec("nonsense", tensor.dtype, tensor.shape),)})
    inputs = {renamed.inputs[0].name: rows(1)["pixels"]}
    assert (await refusal(client.infer(renamed, inputs, 5))).verdict is Verdict.REFUSED


async def test_a_model_that_raises(client: Server, spec_of: Spec, mood: Callable[[str], None]) -> None:
    mood("raise")
    found = await refusal(client.infer(spec_of(MOODY), rows(2), 5))
    assert (found.verdict, "fails over a row" in found.said) == (Verdict.FAULT, True)


async def test_memory_that_the_server_does_not_know(server: TritonServer, spec_of: Spec) -> None:
    client = Server(server.url, sharing="on")
    await client.infer(spec_of(IMAGE), rows(1), 5)
    for box in client._boxes.all:
        await client._unshare(box)  # as if it had been restarted
    assert (await refusal(client.infer(spec_of(IMAGE), rows(1), 5))).verdict is Verdict.UNSHARED
    client.replaced()
    await client.infer(spec_of(IMAGE), rows(1), 5)
    await client.close()


async def test_a_queue_that_is_full(light: TritonServer, small: Path, spec_of: Spec) -> None:
    config = small / IMAGE / "config.pbtxt"
    config.write_text(config.read_text().replace("max_queue_size: 128", "max_queue_size: 1"))
    (small / IMAGE / "mood").write_text("slow")
    client = Server(light.url)
    await client.unload(IMAGE)
    await client.load(IMAGE)
    answers = await asyncio.gather(*(client.infer(spec_of(IMAGE), rows(20), 20) for _ in range(8)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, Refusal)]
    assert refused
    assert {one.verdict for one in refused} == {Verdict.OVERLOADED}
    assert all("Exceeds maximum queue size" in one.said for one in refused)
    await client.close()


async def test_a_request_that_waited_too_long_in_the_queue(light: TritonServer, small: Path, spec_of: Spec) -> None:
    config = small / IMAGE / "config.pbtxt"
    config.write_text(config.read_text().replace("default_timeout_microseconds: 5000000", "default_timeout_microseconds: 1000"))
    (small / IMAGE / "mood").write_text("slow")
    client = Server(light.url)
    await client.unload(IMAGE)
    await client.load(IMAGE)
    answers = await asyncio.gather(*(client.infer(spec_of(IMAGE), rows(20), 20) for _ in range(6)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, Refusal)]
    assert {one.verdict for one in refused} == {Verdict.OVERLOADED}
    assert all("Request timeout expired" in one.said for one in refused)
    await client.close()


async def test_a_killed_server_in_the_midst_of_a_request(light: TritonServer, small: Path, spec_of: Spec) -> None:
    (small / IMAGE / "mood").write_text("slow")
    client = Server(light.url)
    await client.infer(spec_of(IMAGE), rows(1), 20)
    (small / IMAGE / "busy").unlink()
    request = asyncio.ensure_future(client.infer(spec_of(IMAGE), rows(1), 20))
    await _computes(small)
    light.kill()
    assert (await refusal(request)).verdict is Verdict.GONE
    await client.close()


async def test_a_server_that_drains_answers_what_it_has_and_refuses_the_rest(light: TritonServer, small: Path, spec_of: Spec) -> None:
    (small / IMAGE / "mood").write_text("slow")
    client = Server(light.url)
    first = asyncio.ensure_future(client.infer(spec_of(IMAGE), rows(1), 20))
    await _computes(small)
    await asyncio.to_thread(light.send, 15)
    await first
    found = await refusal(_until_refused(client, spec_of(IMAGE)))
    assert found.verdict in (Verdict.GONE, Verdict.MISSING)  # it is stopping, or has unloaded the model already
    await client.close()


async def test_a_models_process_that_was_killed(light: TritonServer, small: Path, spec_of: Spec) -> None:
    client = Server(light.url)
    (process,) = light.models(IMAGE)
    process.kill()
    found = await refusal(_until_refused(client, spec_of(IMAGE)))
    assert (found.verdict, "not healthy" in found.said) == (Verdict.FAULT, True)
    assert await client.is_ready(IMAGE)  # it says so, all the same
    await client.unload(IMAGE)
    await client.load(IMAGE)
    await client.infer(spec_of(IMAGE), rows(1), 5)
    await client.close()


async def _computes(small: Path) -> None:
    """Until the slow model has a request in hand."""
    await asyncio.to_thread(until, (small / IMAGE / "busy").exists, "the model computes")


async def _until_refused(client: Server, spec: ModelSpec) -> None:
    for _ in range(100):
        await client.infer(spec, rows(1), 5)


def _fields(spec: ModelSpec) -> dict[str, object]:
    return {name: getattr(spec, name) for name in ModelSpec.__dataclass_fields__}


def _changed(spec: ModelSpec, **fields: object) -> ModelSpec:
    return ModelSpec(**{**_fields(spec), **fields})  # type: ignore[arg-type]
