"""From the start of a worker's process to its first photo: every operation whose models are there, the database up, nothing cached in this process."""

import asyncio
import json
import time
from collections.abc import Sequence
from uuid import UUID

from benchmarks import pictures
from benchmarks.bench import Bench
from benchmarks.figures import BenchmarkError, Figure
from benchmarks.line import register
from benchmarks.process import start_worker
from benchmarks.rounds import interleaved
from benchmarks.workspace import Workspace
from kizu_fast.domain import ALL, LIBRARY_OWNER

SUITE = "start"
LIMIT_S = 5.0
ROUNDS = 5
_LOOK_S = 0.02


async def run(bench: Bench) -> None:
    """One photo of 12 megapixels; in a smoke run the fake backend."""
    if not bench.smoke and not bench.has_clip():
        bench.skip(SUITE, "first photo", "model_repository lacks CLIP; run: make export (random weights will do)")
        return
    workspace = await bench.workspace()
    folder = workspace.folder / "one"
    await asyncio.to_thread(folder.mkdir)
    await asyncio.to_thread((folder / "one.jpg").write_bytes, pictures.encode(pictures.paint(0, *pictures.CAMERA), 0))
    assets = await register(workspace.main, [folder / "one.jpg"])
    seen: set[str] = set()

    async def first_photo() -> float:
        return await _first_photo(bench, workspace, assets, seen)

    rounds = await interleaved({"start": first_photo}, bench.times(ROUNDS), bench.meter())
    note = f"models: {', '.join(sorted(seen))}"
    limit = None if bench.smoke else LIMIT_S
    bench.record(Figure(SUITE, "from start to first photo", "s", rounds.of("start"), at_most=limit, foreign=tuple(rounds.foreign), note=note))


async def _first_photo(bench: Bench, workspace: Workspace, assets: Sequence[UUID], seen: set[str]) -> float:
    """Seconds. Raises BenchmarkError when the worker ends without its photo. seen: gets the names of the models that worked."""
    await workspace.main.queue.enqueue(LIBRARY_OWNER, assets, ALL)
    before = await workspace.main.queue.counts(LIBRARY_OWNER)
    report, started = workspace.folder / "start.json", time.perf_counter()
    worker = await start_worker(
        bench, workspace, workspace.folder / "one", report, KIZU_BACKEND="fake" if bench.smoke else "cpu", KIZU_OPERATIONS="all"
    )
    ended = asyncio.ensure_future(worker.wait())
    try:
        while (await workspace.main.queue.counts(LIBRARY_OWNER)).completed <= before.completed:
            if ended.done():
                raise BenchmarkError(f"the worker ended with code {worker.returncode} before its first photo was done")
            await asyncio.wait([ended], timeout=_LOOK_S)
        seconds = time.perf_counter() - started
    finally:
        if worker.returncode is None and not ended.done():
            worker.terminate()
        await ended
    seen.update(json.loads(report.read_text())["models"])
    return seconds
