"""Memory of a real worker process over thousands of photos: it has to stay small, and flat."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks import pictures
from benchmarks.bench import Bench
from benchmarks.figures import BenchmarkError, Figure
from benchmarks.line import register
from benchmarks.process import start_worker
from benchmarks.workspace import OPERATIONS, Workspace
from kizu_fast.domain import LIBRARY_OWNER

SUITE = "pipeline"
LIMIT_MB = 1200.0
GROWTH = 1.05  # flat: what a few pages of scatter may make of it
_SIZES = ((1200, 900), (900, 1200), (1280, 853), (1000, 1000), (1600, 900), (800, 600))  # every bucket, one short side above 720 and some below
_LARGE_EVERY = 25  # one photo in so many is a camera's 12 megapixels
_LOOK_S = 0.25
_EARLY, _LATE = 500, 2000


@dataclass(frozen=True, slots=True)
class Sample:
    """Resident bytes of the worker when so many photos were done."""

    completed: int
    rss_bytes: int


async def run(bench: Bench) -> None:
    """CLIP and the largest YOLO there is on 2,000 photos; in a smoke run 40 photos and the fake backend."""
    size = next((size for size in "mn" if bench.has_clip() and bench.has_yolo(size)), None)
    fake = bench.smoke or size is None
    if size is None and not bench.smoke:
        bench.skip(SUITE, "memory", "model_repository lacks CLIP or YOLO; run: make export")
        return
    early, late = (20, 40) if bench.smoke else (_EARLY, _LATE)
    workspace = await bench.workspace()
    folder = workspace.folder / "many"
    bench.say(f"painting {late} distinct photos")
    await asyncio.to_thread(_write, folder, late)
    await register(workspace.main, sorted(folder.iterdir()), queued=True)
    report = workspace.folder / "report.json"
    chosen = {"YOLO_SIZE": size or "n", "KIZU_OPERATIONS": ",".join(OPERATIONS), "KIZU_BACKEND": "fake" if fake else "cpu"}
    samples = await _watch(workspace, await start_worker(bench, workspace, folder, report, **chosen), late)
    _record(bench, samples, json.loads(report.read_text()), early, "fake backend" if fake else f"CLIP + YOLOv8{size}")


def _write(folder: Path, count: int) -> None:
    folder.mkdir()
    large = pictures.encode(pictures.paint(0, *pictures.CAMERA), 0)
    for number in range(count):
        width, height = _SIZES[number % len(_SIZES)]
        jpeg = pictures.numbered(large, number) if number % _LARGE_EVERY == 0 else pictures.encode(pictures.paint(number, width, height), number)
        (folder / f"{number:05}.jpg").write_bytes(jpeg)


async def _watch(workspace: Workspace, worker: asyncio.subprocess.Process, photos: int) -> list[Sample]:
    """Resident size while it works. Raises BenchmarkError when the worker fails or loses photos; it never outlives this call."""
    samples = []
    process, ended = psutil.Process(worker.pid), asyncio.ensure_future(worker.wait())
    try:
        while not ended.done():
            counts = await workspace.main.queue.counts(LIBRARY_OWNER)
            try:
                samples.append(Sample(counts.completed, process.memory_info().rss))
            except psutil.NoSuchProcess:
                break
            await asyncio.wait([ended], timeout=_LOOK_S)
    finally:
        if worker.returncode is None:
            worker.terminate()
        await ended
    completed = (await workspace.main.queue.counts(LIBRARY_OWNER)).completed
    if worker.returncode or completed != photos:
        raise BenchmarkError(f"the worker ended with code {worker.returncode} and {completed} of {photos} photos completed")
    return samples


def resident_at(samples: list[Sample], completed: int) -> float:
    """10^6 bytes at the last look before more than so many photos were done: a dying process has already freed some."""
    upto = [sample.rss_bytes for sample in samples if sample.completed <= completed and sample.rss_bytes]
    window = upto[-8:]  # the size breathes with the batches in flight
    return max(window) / 1e6 if window else 0.0


def _record(bench: Bench, samples: list[Sample], report: Mapping[str, float], early: int, models: str) -> None:
    late = max(sample.completed for sample in samples)
    first, last = resident_at(samples, early), resident_at(samples[:-4] or samples, late)
    bench.record(Figure(SUITE, f"memory, {models}: RSS at {early} photos", "MB", (first,), at_most=LIMIT_MB, note="10^6 bytes"))
    bench.record(Figure(SUITE, f"memory, {models}: RSS at {late} photos", "MB", (last,), at_most=LIMIT_MB))
    bench.record(Figure(SUITE, f"memory, {models}: growth", "times", (last / first,), at_most=None if bench.smoke else GROWTH))
    bench.record(
        Figure(SUITE, f"memory, {models}: peak RSS", "MB", (report["peak_rss_mb"],), at_most=LIMIT_MB, note="of the whole run, by the system")
    )
    bench.record(Figure(SUITE, f"memory, {models}: throughput", "photos/s", (report["photos_per_second"],), note="start-up included"))
