"""Other backends against --backend cpu: photos per second of the whole worker with CLIP, YOLOv8m and a face pack, in interleaved rounds."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from uuid import UUID

from benchmarks.bench import Bench
from benchmarks.figures import RATIO, Figure, ratios
from benchmarks.line import Line, register
from benchmarks.pipeline import photos_in, write_photos
from benchmarks.rounds import Side, interleaved
from benchmarks.workspace import Workspace
from kizu_fast.domain import Operation
from kizu_fast.engine import Engine, EngineConfig, open_engine
from kizu_fast.errors import ConfigError
from kizu_fast.specs import face_names
from kizu_fast.store.library import Library
from kizu_fast.worker.config import engine_config

SUITE = "accelerators"
BACKENDS = ("openvino", "cuda", "tensorrt", "coreml")
OPERATIONS = (Operation.EMBEDDING, Operation.OBJECTS, Operation.FACES)
OPENVINO_TARGET = 1.7
PHOTOS, SMOKE_PHOTOS, DISTINCT = 48, 8, 8
NO_BF16 = "this processor has neither avx512_bf16 nor amx: OpenVINO would compute in fp32, as --backend cpu does"


async def run(bench: Bench) -> None:
    """Every backend that works here; the others with the reason why not."""
    missing = lacking(bench)
    if missing:
        bench.skip(SUITE, "all", missing)
        return
    workspace = await bench.workspace()
    folder = workspace.folder / "accelerated"
    count = SMOKE_PHOTOS if bench.smoke else PHOTOS
    await asyncio.to_thread(write_photos, folder, count, distinct=2 if bench.smoke else DISTINCT)
    async with workspace.library("accelerators") as library:
        assets = await register(library, photos_in(folder))
        for backend in BACKENDS:
            await _one(bench, backend, workspace, library, assets)


def lacking(bench: Bench) -> str | None:
    """Why nothing can be measured, None when all models are there."""
    pack = bench.settings.face_model_name
    if not (bench.has_clip() and bench.has_yolo("m")):
        return "model_repository lacks CLIP or YOLOv8m; run: make export (random weights will do)"
    if not all(bench.repository.has(name) for name in face_names(pack)):
        return f"model_repository lacks the face pack {pack}; run: python -m export --models face"
    return None


def config_of(bench: Bench, backend: str) -> EngineConfig:
    """As a worker has it; random weights will do, since time does not depend on them."""
    changes = {"yolo_size": "m", "allow_random": True, "backend": backend}
    return engine_config(bench.settings.model_copy(update=changes), OPERATIONS)


async def _one(bench: Bench, backend: str, workspace: Workspace, library: Library, assets: Sequence[UUID]) -> None:
    async with AsyncExitStack() as stack:
        try:
            engine = await stack.enter_async_context(open_engine(config_of(bench, backend)))
        except ConfigError as error:
            bench.skip(SUITE, backend, str(error))
            return
        if backend == "openvino" and not in_bf16(engine) and not bench.smoke:
            bench.skip(SUITE, backend, NO_BF16)
            return
        base = await stack.enter_async_context(open_engine(config_of(bench, "cpu")))
        folder = workspace.folder / "accelerated"
        sides = {name: _side(Line(library, one, folder, OPERATIONS), assets) for name, one in (("cpu", base), (backend, engine))}
        rounds = await interleaved(sides, bench.times(5), bench.meter())
        foreign, note = tuple(rounds.foreign), told(engine)
        for name in sides:
            bench.record(Figure(SUITE, f"{backend}: photos per second on {name}", "photos/s", rounds.of(name), foreign=foreign, note=note))
        target = OPENVINO_TARGET if backend == "openvino" and in_bf16(engine) else None
        gain = ratios(rounds.of(backend), rounds.of("cpu"))
        bench.record(Figure(SUITE, f"{backend}: gain over cpu", RATIO, gain, at_least=target, foreign=foreign, note=note))


def _side(line: Line, assets: Sequence[UUID]) -> Side:
    async def photos_per_second() -> float:
        return len(assets) / (await line.drain(assets))[0]

    return photos_per_second


def in_bf16(engine: Engine) -> bool:
    """Whether every model computes in bf16; faces that it sees are computed again in fp32."""
    return all(running.precision == "bf16" for running in engine.running().values())


def told(engine: Engine) -> str:
    """Providers and precisions that really run, e.g. OpenVINO bf16."""
    return ", ".join(sorted({f"{running.provider} {running.precision}" for running in engine.running().values()}))
