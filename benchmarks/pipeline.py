"""End to end through the real worker, over the bare models on the same tensors: what everything around the models costs."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import numpy as np

from benchmarks import pictures
from benchmarks.bench import Bench
from benchmarks.figures import RATIO, Figure, ratios
from benchmarks.line import Line, register
from benchmarks.rounds import Rounds, interleaved
from benchmarks.sessions import Bare, Batch
from benchmarks.workspace import OPERATIONS
from kizu_fast.engine import Engine, EngineConfig, open_engine
from kizu_fast.lanes import StageTime
from kizu_fast.registry import ModelType
from kizu_fast.specs import Tensors
from kizu_fast.store.library import Library
from kizu_fast.worker.config import engine_config

SUITE = "pipeline"
TARGET = 0.90
_DISTINCT = 8  # pictures painted; the other photos are the same pixels in other files
_CLIP_BATCH = 8


@dataclass(frozen=True, slots=True)
class Case:
    """One pair of models."""

    yolo_size: str
    photos: int  # per round: enough that starting and ending a round costs little
    target: float | None


CASES = (Case("m", 48, TARGET), Case("n", 96, None))


async def run(bench: Bench) -> None:
    """Both pairs of models, as far as they are there; without any, the worker's way with the fake backend."""
    there = [case for case in CASES if bench.has_clip() and bench.has_yolo(case.yolo_size)]
    for case in CASES:
        if case not in there:
            bench.skip(SUITE, _title(case), "model_repository lacks CLIP or this YOLO; run: make export")
    if bench.smoke:
        there = there[-1:]
    workspace = await bench.workspace()
    folder = workspace.folder / "photos"
    count = 8 if bench.smoke else max((case.photos for case in there), default=8)
    await asyncio.to_thread(write_photos, folder, count, distinct=2 if bench.smoke else _DISTINCT)
    async with workspace.library("pipeline") as library:
        assets = await register(library, photos_in(folder))
        for case in there:
            await _measure(bench, case, library, folder, assets)
        if not there:
            await _fake(bench, library, folder, assets)


def write_photos(folder: Path, count: int, *, distinct: int) -> None:
    """12-megapixel JPEGs of about 2.5 MB, distinct pictures in count files."""
    folder.mkdir()
    painted = [pictures.encode(pictures.paint(seed, *pictures.CAMERA), seed) for seed in range(min(distinct, count))]
    for number in range(count):
        (folder / f"{number:05}.jpg").write_bytes(pictures.numbered(painted[number % len(painted)], number))


def photos_in(folder: Path) -> list[Path]:
    """The files that write_photos made."""
    return sorted(folder.iterdir())


async def _measure(bench: Bench, case: Case, library: Library, folder: Path, assets: Sequence[UUID]) -> None:
    assets = assets[: case.photos]
    files = photos_in(folder)[: len(assets)]
    async with open_engine(_config(bench, case)) as engine:
        line = Line(library, engine, folder)
        bare, work = await _bare(bench, engine, files)
        stages = _Stages(engine)

        async def whole() -> float:
            seconds, own = await line.drain(assets)
            stages.add(own)
            return len(assets) / seconds

        async def models() -> float:
            return len(assets) / await asyncio.to_thread(bare.run, work)

        await line.drain(assets[: engine.photos_wanted])  # warm-up: pages, caches, prepared statements
        await models()
        stages.restart()
        rounds = await interleaved({"whole": whole, "bare": models}, bench.times(5), bench.meter(), warm_up=False)
        _record(bench, case, rounds, stages.milliseconds(), ", ".join(engine.random_models))


def _config(bench: Bench, case: Case) -> EngineConfig:
    """As a worker has it, on the CPU; random weights will do, since time does not depend on them."""
    changes = {"yolo_size": case.yolo_size, "allow_random": True, "backend": "cpu"}
    return engine_config(bench.settings.model_copy(update=changes), OPERATIONS)


async def _bare(bench: Bench, engine: Engine, files: Sequence[Path]) -> tuple[Bare, list[tuple[str, Batch]]]:
    """Sessions for every lane, and the same tensors that the engine makes of these files, in the batches that suit the models best."""
    rows: dict[str, list[Tensors]] = {}
    models = [engine.registry.get(kind) for kind in (ModelType.EMBEDDER, ModelType.DETECTOR)]
    for path in files[:_DISTINCT]:
        photo, _ = await engine.decode(await asyncio.to_thread(path.read_bytes))
        for model in models:
            rows.setdefault(model.spec.name, []).append(model.prepare(photo).tensors)
    clip, yolo = (model.spec.name for model in models)
    work: list[tuple[str, Batch]] = []
    for first in range(0, len(files), _CLIP_BATCH):
        group = [number % len(rows[clip]) for number in range(first, min(first + _CLIP_BATCH, len(files)))]
        work.append((clip, _stacked([rows[clip][number] for number in group])))
        work.extend((yolo, _stacked([rows[yolo][number]])) for number in group)
    paths = {name: bench.repository.path(name) for name in (clip, yolo)}
    return await asyncio.to_thread(Bare.open, paths, engine.lanes), work


def _stacked(rows: Sequence[Tensors]) -> Batch:
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


class _Stages:
    """Thread seconds per stage over all rounds."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._own = engine, dict[str, StageTime]()
        self._before = dict(engine.stats().stages)

    def restart(self) -> None:
        self._own, self._before = {}, dict(self._engine.stats().stages)

    def add(self, own: Mapping[str, StageTime]) -> None:
        for name, time in own.items():
            self._own[name] = self._own.get(name, StageTime()).plus(time.seconds, time.items)

    def milliseconds(self) -> dict[str, float]:
        """Per photo; infer covers all models of a photo."""
        now = self._engine.stats().stages
        spent = {name: now[name].seconds - self._before[name].seconds for name in now}
        photos = max(1, now["decode"].items - self._before["decode"].items)
        return {name: 1000 * seconds / photos for name, seconds in {**spent, **{n: t.seconds for n, t in self._own.items()}}.items()}


def _record(bench: Bench, case: Case, rounds: Rounds, stages: Mapping[str, float], random: str) -> None:
    title, foreign = _title(case), tuple(rounds.foreign)
    note = f"random weights: {random}" if random else None
    of_bare = ratios(rounds.of("whole"), rounds.of("bare"))
    bench.record(
        Figure(
            SUITE, f"{title}: end to end over bare models", RATIO, of_bare, at_least=None if bench.smoke else case.target, foreign=foreign, note=note
        )
    )
    bench.record(Figure(SUITE, f"{title}: end to end", "photos/s", rounds.of("whole"), foreign=foreign))
    bench.record(Figure(SUITE, f"{title}: bare models", "photos/s", rounds.of("bare"), foreign=foreign))
    for name, value in stages.items():
        bench.record(Figure(SUITE, f"{title}: {name}", "ms/photo", (value,)))


async def _fake(bench: Bench, library: Library, folder: Path, assets: Sequence[UUID]) -> None:
    """The way without models: decode, fetch, claim and settle are real."""
    async with open_engine(EngineConfig(model_repository=bench.settings.model_repository, backend="fake", operations=OPERATIONS)) as engine:
        line = Line(library, engine, folder)

        async def whole() -> float:
            return len(assets) / (await line.drain(assets))[0]

        rounds = await interleaved({"whole": whole}, bench.times(5), bench.meter())
    bench.record(Figure(SUITE, "fake backend, 12 MP: end to end", "photos/s", rounds.of("whole"), foreign=tuple(rounds.foreign)))


def _title(case: Case) -> str:
    return f"CLIP + YOLOv8{case.yolo_size}, 12 MP"
