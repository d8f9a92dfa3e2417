"""Triton against onnxruntime in the worker's own process: the same photos, the same models, the same cores, end to end; and what crosses the wire.

The server is that of TRITON_URLS if one answers there, else a real tritonserver of the tests' environment, which runs the models in Python processes
on the CPU: a lower bound of what a native server does.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import UUID

import numpy as np
import psutil

from benchmarks import pictures
from benchmarks.bench import Bench
from benchmarks.figures import RATIO, Figure, ratios
from benchmarks.line import Line, register
from benchmarks.machine import ROOT
from benchmarks.rounds import interleaved
from benchmarks.workspace import OPERATIONS
from kizu_fast.backends.triton import TritonBackend
from kizu_fast.backends.triton_errors import Refusal
from kizu_fast.backends.triton_servers import Server, addresses
from kizu_fast.engine import Engine, EngineConfig, open_engine
from kizu_fast.registry import ModelType
from kizu_fast.specs import ModelSpec
from kizu_fast.store.library import Library
from kizu_fast.worker.config import engine_config

SUITE = "triton"
SERVE = ROOT / "tests" / "triton" / "serve.py"
AT_LEAST = 0.85  # of the worker without a server, on the same cores
_SIZES = ((1600, 1200), (1200, 1600), (1280, 1280), (1920, 1080))
_PHOTOS = 48
_BATCH = 8
_BATCHES = 16


async def run(bench: Bench) -> None:
    """Ratios of interleaved rounds."""
    size = next((size for size in "nm" if bench.has_clip() and bench.has_yolo(size)), None)
    if size is None:
        bench.skip(SUITE, "end to end", "model_repository lacks CLIP or YOLO; run: make export")
        return
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(_server(bench))
        if url is None:
            bench.skip(
                SUITE, "end to end", "no Triton answers at TRITON_URLS, and there is none for this machine: python3 setup/environments.py triton"
            )
            return
        workspace = await bench.workspace()
        folder = workspace.folder / "triton"
        await asyncio.to_thread(_paint, folder, 8 if bench.smoke else _PHOTOS)
        library = await stack.enter_async_context(workspace.library("triton"))
        assets = await register(library, sorted(folder.iterdir()))
        engines = {kind: await stack.enter_async_context(open_engine(_config(bench, size, kind, url))) for kind in ("cpu", "triton")}
        await _end_to_end(bench, library, folder, assets, engines)
        await _transport(bench, engines["triton"], url)


def _config(bench: Bench, size: str, kind: str, url: str) -> EngineConfig:
    changes: Mapping[str, object] = {"yolo_size": size, "allow_random": True, "backend": kind, "triton_urls": url}
    return engine_config(bench.settings.model_copy(update=dict(changes)), OPERATIONS)


def _paint(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:04}.jpg").write_bytes(pictures.encode(pictures.paint(number, *_SIZES[number % len(_SIZES)]), number))


@asynccontextmanager
async def _server(bench: Bench) -> AsyncIterator[str | None]:
    """An address that answers: the settings' own, or that of a server that ends with the block. None: there is none."""
    if await _answers(bench.settings.triton_urls):
        bench.say(f"Triton at {bench.settings.triton_urls}")
        yield bench.settings.triton_urls
        return
    bench.say("starting a tritonserver of its own, with the models on the CPU: two instances of one thread each")
    command = [sys.executable, str(SERVE), str(bench.settings.model_repository), "--variant", "cpu"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    try:
        bench.started.append(psutil.Process(process.pid))
        line = await process.stdout.readline() if process.stdout else b""
        yield json.loads(line)["grpc"] if line else None
    finally:
        if process.stdin:
            process.stdin.close()
        await process.wait()


async def _answers(urls: str) -> bool:
    servers = [Server(url) for url in addresses(urls)]
    try:
        for server in servers:
            await server.identify()
    except Refusal:
        return False
    finally:
        for server in servers:
            await server.close()
    return True


async def _end_to_end(bench: Bench, library: Library, folder: Path, assets: Sequence[UUID], engines: Mapping[str, Engine]) -> None:
    lines = {kind: Line(library, engine, folder) for kind, engine in engines.items()}

    async def cpu() -> float:
        return len(assets) / (await lines["cpu"].drain(assets))[0]

    async def triton() -> float:
        return len(assets) / (await lines["triton"].drain(assets))[0]

    rounds = await interleaved({"cpu": cpu, "triton": triton}, bench.times(5), bench.meter())
    foreign, bound = tuple(rounds.foreign), None if bench.smoke else AT_LEAST
    of_cpu = ratios(rounds.of("triton"), rounds.of("cpu"))
    bench.record(Figure(SUITE, "end to end over --backend cpu", RATIO, of_cpu, at_least=bound, foreign=foreign))
    for kind in ("cpu", "triton"):
        bench.record(Figure(SUITE, f"end to end, {kind}", "photos/s", rounds.of(kind), foreign=foreign))
    for name, spent in engines["triton"].stats().models.items():
        bench.record(Figure(SUITE, f"rows per batch, {name}", "rows", (spent.inferences / max(spent.executions, 1),)))


async def _transport(bench: Bench, engine: Engine, url: str) -> None:
    """The same batches through a socket and through shared memory."""
    spec = engine.registry.get(ModelType.EMBEDDER).spec
    backends = {sharing: TritonBackend(addresses(url), sharing=sharing) for sharing in ("off", "on")}
    for backend in backends.values():
        await backend.load(spec)

    async def sent(sharing: str) -> float:
        return await _rows_per_second(backends[sharing], spec, 2 if bench.smoke else _BATCHES)

    rounds = await interleaved({"socket": lambda: sent("off"), "shared": lambda: sent("on")}, bench.times(5), bench.meter())
    for backend in backends.values():
        await backend.close()
    of_socket = ratios(rounds.of("shared"), rounds.of("socket"))
    bench.record(Figure(SUITE, f"shared memory over socket, {spec.name}, batches of {_BATCH}", RATIO, of_socket, foreign=tuple(rounds.foreign)))


async def _rows_per_second(backend: TritonBackend, spec: ModelSpec, batches: int) -> float:
    inputs = {tensor.name: np.zeros((_BATCH, *tensor.shape), np.uint8) for tensor in spec.inputs}
    started = time.perf_counter()
    await asyncio.gather(*(backend.infer(spec, inputs) for _ in range(batches)))
    return batches * _BATCH / (time.perf_counter() - started)
