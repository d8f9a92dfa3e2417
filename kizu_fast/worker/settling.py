"""How a job's end reaches the database: many photos' results in one transaction, held back while the database is gone."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from kizu_fast.domain import Job, PhotoResult
from kizu_fast.errors import DatabaseUnavailable, KizuError
from kizu_fast.store import JobQueue, ResultStore
from kizu_fast.worker.outage import OutageGate
from kizu_fast.worker.report import Tally

_GATHER_S = 0.02  # results that come within this time share a commit
_GROUP = 64


@dataclass(frozen=True, slots=True)
class Done:
    """The photo was processed; single operations may have failed."""

    result: PhotoResult


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed as a whole. retry: again later, unless the attempts are spent."""

    error: KizuError
    retry: bool


@dataclass(frozen=True, slots=True)
class Deferred:
    """Not ready yet: due again later, the attempt is given back."""

    reason: str
    delay_s: float


@dataclass(frozen=True, slots=True)
class Released:
    """Nothing was done about it: pending again at once, the attempt is given back."""


Ending = Done | Failed | Deferred | Released


@dataclass(slots=True, eq=False)
class _Item:
    job: Job
    ending: Ending
    settled: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Settler:
    """Writes endings in groups. settle() returns the job's status afterwards, 'lost' if its lease had passed on."""

    def __init__(self, queue: JobQueue, results: ResultStore, gate: OutageGate, tally: Tally) -> None:
        self._jobs, self._results, self._gate, self._tally = queue, results, gate, tally
        self._queue: asyncio.Queue[_Item] = asyncio.Queue()  # bounded by the photos in flight

    async def settle(self, job: Job, ending: Ending) -> str:
        """Wait until the ending is committed, through any outage of the database."""
        item = _Item(job, ending)
        self._queue.put_nowait(item)
        return await item.settled

    async def run(self) -> None:
        """Serve until cancelled. A bug in the store ends it, and every waiting photo is told."""
        group: list[_Item] = []
        try:
            while True:
                group = [await self._queue.get()]
                await asyncio.sleep(_GATHER_S)
                while len(group) < _GROUP and not self._queue.empty():
                    group.append(self._queue.get_nowait())
                await self._write(group)
        finally:
            for item in [*group, *(self._queue.get_nowait() for _ in range(self._queue.qsize()))]:
                item.settled.cancel()

    async def _write(self, group: list[_Item]) -> None:
        started = time.perf_counter()
        for kind in (Done, Failed, Deferred, Released):
            items = [item for item in group if isinstance(item.ending, kind)]
            while items:
                try:
                    statuses = await self._commit(items)
                except DatabaseUnavailable as error:
                    self._gate.report(error)
                    await self._gate.wait()
                    continue
                self._gate.clear()
                for item in items:
                    if not item.settled.done():
                        item.settled.set_result(statuses.get(item.job.id, "lost"))
                break
        self._tally.add_stage("store", time.perf_counter() - started, len(group))

    async def _commit(self, items: Sequence[_Item]) -> dict[UUID, str]:
        """Items of one kind in one go: the status of each job that was still ours."""
        match items[0].ending:
            case Done():
                return await self._commit_results(items)
            case Failed():
                return await self._fail([(item.job, item.ending) for item in items if isinstance(item.ending, Failed)])
            case Deferred():
                return await self._defer(items)
            case Released():
                return dict.fromkeys(await self._jobs.release([item.job for item in items]), "released")

    async def _commit_results(self, items: Sequence[_Item]) -> dict[UUID, str]:
        """Results and completion in one transaction; jobs with a failed operation are failed afterwards, in a transaction of its own (lock order)."""
        batch = [(item.job, item.ending.result) for item in items if isinstance(item.ending, Done)]
        settled = await self._results.settle(batch)
        partly = [(job, Failed(settled.failed[job.id], retry=False)) for job, _ in batch if job.id in settled.failed]
        return {**dict.fromkeys(settled.completed, "completed"), **await self._fail(partly)}

    async def _defer(self, items: Sequence[_Item]) -> dict[UUID, str]:
        statuses: dict[UUID, str] = {}
        for item in items:  # rare: a file that is still being copied
            if isinstance(item.ending, Deferred):
                statuses |= dict.fromkeys(await self._jobs.defer([item.job], item.ending.delay_s, item.ending.reason), "deferred")
        return statuses

    async def _fail(self, failed: Sequence[tuple[Job, Failed]]) -> dict[UUID, str]:
        statuses: dict[UUID, str] = {}
        for retry in (True, False):
            some = [(job, ending.error) for job, ending in failed if ending.retry is retry]
            if some:
                statuses |= await self._jobs.fail([job for job, _ in some], [error for _, error in some], retry=retry)
        return statuses
