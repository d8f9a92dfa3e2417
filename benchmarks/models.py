"""The models alone: CPU time per item and batch size, and the choices that the engine was built on, as ratios."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.bench import Bench
from benchmarks.figures import RATIO, Figure, ratios
from benchmarks.rounds import Rounds, Side, interleaved
from benchmarks.sessions import Bare, Batch, cpu_seconds, open_session
from kizu_fast.specs import DTYPES, Family, ModelSpec, is_random

SUITE = "models"
_BATCHES = {Family.CLIP_IMAGE: (1, 4, 8), Family.CLIP_TEXT: (1, 8), Family.YOLO: (1, 4)}
_ITEMS = {Family.CLIP_IMAGE: 8, Family.CLIP_TEXT: 8, Family.YOLO: 4}  # per side and round
_WIDE, _SQUARE = (480, 640), (640, 640)


async def run(bench: Bench) -> None:
    """CLIP's towers and detectors once each, in a smoke run the smallest; a random twin stands in only where the real one is missing."""
    names = measurable(bench, chosen(bench.repository.names()))
    if not names:
        bench.skip(SUITE, "all", f"{bench.repository.root} holds no exported CLIP or YOLOv8; run: make export")
    if bench.smoke and names:
        smallest = min(names, key=lambda name: bench.repository.path(name).stat().st_size)
        bench.skip(SUITE, "all but the smallest", f"a smoke run takes {smallest} only")
        names = (smallest,)
    for name in names:
        await _one(bench, bench.repository.spec(name))


def measurable(bench: Bench, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those whose family has batches to compare; the others are told with where they are measured."""
    families = {name: bench.repository.spec(name).family for name in names}
    for name, family in families.items():
        if family not in _BATCHES:
            where = "python -m benchmarks ocr" if "ocr" in family else "the whole worker: python -m benchmarks accelerators, start"
            bench.skip(SUITE, name, f"the family {family} is measured by {where}")
    return tuple(name for name, family in families.items() if family in _BATCHES)


def chosen(names: tuple[str, ...]) -> tuple[str, ...]:
    """Without random twins of models that are there: the graph is the same, and so is its time."""

    def real_twin(name: str) -> bool:
        """clip-vit-b-32-random-image: any clip-vit-b-32-*-image; yolov8n-random: yolov8n."""
        first, _, last = name.partition("-random")
        return any(other.startswith(first) and other.endswith(last) and not is_random(other) and (bool(last) or other == first) for other in names)

    return tuple(name for name in names if not (is_random(name) and real_twin(name)))


async def _one(bench: Bench, spec: ModelSpec) -> None:
    path = bench.repository.path(spec.name)
    note = "random weights" if is_random(spec.name) else None
    single = await asyncio.to_thread(open_session, path)
    bare = await asyncio.to_thread(partial(open_session, path, arena=False))
    items, batches = _ITEMS[spec.family], _BATCHES[spec.family]
    sides: dict[str, Side] = {f"b{batch}": _cpu(single, _batch(spec, batch), items // batch) for batch in batches}
    best = 1 if spec.family is Family.YOLO else batches[-1]
    sides["no arena"] = _cpu(bare, _batch(spec, best), items // best)
    if spec.family is Family.YOLO:
        sides["square"] = _cpu(single, _batch(spec, 1, _SQUARE), items)
    rounds = await interleaved(sides, bench.times(3), bench.meter())
    for batch in batches:
        bench.record(Figure(SUITE, f"{spec.name}: b{batch}", "ms cpu/item", rounds.of(f"b{batch}"), foreign=tuple(rounds.foreign), note=note))
    _record_choices(bench, spec, rounds, best, batches[-1])
    del bare
    if spec.family is not Family.CLIP_TEXT:  # searches come one by one
        await _lanes(bench, spec, best)


def _record_choices(bench: Bench, spec: ModelSpec, rounds: Rounds, best: int, largest: int) -> None:
    def record(what: str, upper: str, lower: str) -> None:
        bench.record(Figure(SUITE, f"{spec.name}: {what}", RATIO, ratios(rounds.of(upper), rounds.of(lower)), foreign=tuple(rounds.foreign)))

    record(f"gain of batches of {largest}", "b1", f"b{largest}")
    record("gain of the arena", "no arena", f"b{best}")
    if spec.family is Family.YOLO:
        record(f"gain of {_WIDE[0]}x{_WIDE[1]} over {_SQUARE[0]}x{_SQUARE[1]}", "square", "b1")


async def _lanes(bench: Bench, spec: ModelSpec, batch: int) -> None:
    """As many lanes of one thread as there are cores, against one session with that many threads: wall time."""
    path = bench.repository.path(spec.name)
    lanes = bench.lanes
    bare = await asyncio.to_thread(Bare.open, {spec.name: path}, lanes)
    threaded = await asyncio.to_thread(partial(open_session, path, threads=lanes))
    inputs = _batch(spec, batch)
    work = [(spec.name, inputs)] * (max(2, _ITEMS[spec.family] // batch) * lanes)

    async def in_lanes() -> float:
        return await asyncio.to_thread(bare.run, work)

    sides: dict[str, Side] = {"lanes": in_lanes, "threads": _wall(lambda: threaded.run(None, inputs), len(work))}
    rounds = await interleaved(sides, bench.times(3), bench.meter())
    name = f"{spec.name}: gain of {lanes} lanes over one session of {lanes} threads"
    bench.record(Figure(SUITE, name, RATIO, ratios(rounds.of("threads"), rounds.of("lanes")), foreign=tuple(rounds.foreign)))


def _cpu(session: Any, inputs: Batch, times: int) -> Side:
    """Milliseconds of CPU per item."""
    items = times * len(next(iter(inputs.values())))

    def measure() -> float:
        return 1000 * cpu_seconds(lambda: [session.run(None, inputs) for _ in range(times)]) / items

    return lambda: asyncio.to_thread(measure)


def _wall(work: Callable[[], object], times: int) -> Side:
    def measure() -> float:
        started = time.perf_counter()
        for _ in range(times):
            work()
        return time.perf_counter() - started

    return lambda: asyncio.to_thread(measure)


def _batch(spec: ModelSpec, rows: int, bucket: tuple[int, int] = _WIDE) -> Batch:
    """Noise of the right shape: no model's time depends on what it sees."""
    shaped = spec.at(bucket) if spec.buckets else spec
    rng = np.random.default_rng(rows)
    return {tensor.name: rng.integers(0, 255, (rows, *tensor.shape)).astype(DTYPES[tensor.dtype]) for tensor in shaped.inputs}
