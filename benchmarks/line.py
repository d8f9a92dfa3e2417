"""The real worker on real files, in this process: what the pipeline suite times."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from benchmarks.figures import BenchmarkError
from benchmarks.workspace import OPERATIONS, sql
from kizu_fast import imaging
from kizu_fast.budget import ByteBudget
from kizu_fast.domain import LIBRARY_OWNER, Job
from kizu_fast.engine import Engine
from kizu_fast.lanes import StageTime
from kizu_fast.store import FoundFile
from kizu_fast.store.library import Library
from kizu_fast.worker.loop import Worker, WorkerOptions
from kizu_fast.worker.photo import PhotoProcess
from kizu_fast.worker.report import Tally
from kizu_fast.worker.roots import LibraryRoots
from kizu_fast.worker.session import BYTES_IN_FLIGHT
from kizu_fast.worker.settling import Ending, Failed

_CAP = 1_000_000_000  # bytes and pixels: our own pictures need none


async def register(library: Library, files: Sequence[Path], *, queued: bool = False) -> list[UUID]:
    """The assets of files, in the order of the database. Without queued no job is left."""
    found = [await asyncio.to_thread(_found, path) for path in files]
    for first in range(0, len(found), 500):
        await library.assets.register(LIBRARY_OWNER, found[first : first + 500], OPERATIONS)
    if not queued:
        await library.database.pool.execute(sql("clear_queue"))
    return [row["id"] for row in await library.database.pool.fetch(sql("asset_ids"), LIBRARY_OWNER)]


def _found(path: Path) -> FoundFile:
    data, status = path.read_bytes(), path.stat()
    facts = imaging.read_facts(data, max_pixels=_CAP, max_bytes=_CAP)
    return FoundFile(bytes(path), status.st_size, status.st_mtime_ns, sha256(data).digest(), facts)


@dataclass(slots=True)
class _Watch:
    """When the last photo was settled, and what went wrong."""

    completed: int = 0
    at: float = 0.0
    error: str | None = None

    def __call__(self, _job: Job, status: str, ending: Ending) -> None:
        self.at = time.perf_counter()
        self.completed += status == "completed"
        if isinstance(ending, Failed):
            self.error = str(ending.error)


@dataclass(frozen=True, slots=True)
class Line:
    """A library, an engine and the folder of the pictures."""

    library: Library
    engine: Engine
    folder: Path

    async def drain(self, assets: Sequence[UUID]) -> tuple[float, dict[str, StageTime]]:
        """Queue the photos (not timed), then claim, fetch, decode, analyse and settle them all.

        Seconds from the first claim to the last commit, and the worker's own stages. Raises BenchmarkError unless every photo is completed.
        """
        await self.library.queue.enqueue(LIBRARY_OWNER, assets, OPERATIONS)
        tally, watch = Tally(), _Watch()
        process = PhotoProcess(self.engine, LibraryRoots([self.folder], self.library.assets), ByteBudget(BYTES_IN_FLIGHT), _CAP, tally)
        options = WorkerOptions(worker_id="benchmark", slots=self.engine.photos_wanted, lease_s=120, poll_s=0.1, drain=True)
        worker = Worker((self.library.queue, self.library.results), process, asyncio.Event(), options, tally, watch)
        started = time.perf_counter()
        await worker.run(asyncio.Event())
        if watch.completed != len(assets):
            raise BenchmarkError(f"{watch.completed} of {len(assets)} photos completed; {watch.error or 'no error was reported'}")
        return watch.at - started, tally.stages
