"""The worker: claims jobs, lets every photo go its way as one coroutine, and settles how it ended.

A chain of bounded awaits, not of queues. Photos in flight are bounded by slots, their bytes by the budget inside `process`.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

import structlog

from kizu_fast.domain import APART, Job, PhotoResult
from kizu_fast.errors import ConfigError, DatabaseUnavailable, FileUnsettled, KizuError, LeaseLost, Outage, PermanentError, TransientError
from kizu_fast.store import JobQueue, ResultStore
from kizu_fast.worker.outage import OutageGate
from kizu_fast.worker.photo import display
from kizu_fast.worker.report import Tally
from kizu_fast.worker.settling import Deferred, Done, Ending, Failed, Released, Settler

log = structlog.get_logger()

_SWEEP_S = 2.0  # ended leases are reset by any worker within 5 s
_PURGE_S = 300.0
_GRACE_S = 1.5  # after an outage every worker renews its own leases before anybody resets ended ones
_DEFER_S = 3.0
_FIRST_IDLE_S, _LONGEST_IDLE_S = 1.0, 15.0

Process = Callable[[Job], Awaitable[PhotoResult]]
OnSettled = Callable[[Job, str, Ending], None]


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Numbers and names of one worker. operations: claims only jobs that ask for nothing else; None: all."""

    worker_id: str
    slots: int
    lease_s: float
    poll_s: float = _LONGEST_IDLE_S  # longest wait between two polls of an idle queue
    drain: bool = False
    drain_s: float = 20.0  # what a photo in flight gets after the signal to stop
    operations: tuple[str, ...] | None = None
    apart: tuple[str, ...] = APART  # jobs that ask for nothing but these run beside the others, and are claimed when nothing else waits
    slots_apart: int = 2  # one that computes, one that is decoded meanwhile


class Worker:
    """One process's work on the queue."""

    def __init__(
        self,
        stores: tuple[JobQueue, ResultStore],
        process: Process,
        wakeup: asyncio.Event,
        options: WorkerOptions,
        tally: Tally,
        on_settled: OnSettled,
    ) -> None:
        self._queue, results = stores
        self._process, self._wakeup, self._options = process, wakeup, options
        self._tally, self._on_settled = tally, on_settled
        self._database = OutageGate()  # cleared by the database's own answers
        self._services = OutageGate()  # backend and library: cleared by a photo that came through
        self._settler = Settler(self._queue, results, self._database, tally)
        self._running: dict[UUID, tuple[Job, asyncio.Task[None]]] = {}
        self._beside: set[UUID] = set()  # of these, the jobs that do not count for the slots
        self._lost: set[UUID] = set()
        self._settling: set[UUID] = set()
        self._unfinished: list[Job] = []
        self._room = asyncio.Event()

    @property
    def in_flight(self) -> int:
        """Photos whose jobs this worker holds."""
        return len(self._running)

    @property
    def outages(self) -> frozenset[str]:
        """Which of database and services (backend and library) do not answer at this moment."""
        return frozenset(name for name, gate in (("database", self._database), ("services", self._services)) if gate.closed)

    async def run(self, stop: asyncio.Event) -> None:
        """Until stop is set, or the queue is empty with drain. Photos in flight finish or are released without costing an attempt."""
        async with asyncio.TaskGroup() as background:
            services = [background.create_task(service) for service in (self._settler.run(), self._keep_leases(), self._sweep())]
            try:
                await self._work(stop)
                await self._give_back()
            finally:
                for service in services:
                    service.cancel()

    async def _work(self, stop: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as photos:
                claiming = photos.create_task(self._claim_forever(photos))
                stopping = photos.create_task(stop.wait())
                await asyncio.wait({claiming, stopping}, return_when=asyncio.FIRST_COMPLETED)
                claiming.cancel()
                stopping.cancel()
                if stop.is_set():
                    log.info("stopping", in_flight=len(self._running))
                    limit.reschedule(asyncio.get_running_loop().time() + self._options.drain_s)
        except TimeoutError:
            log.warning("the time to finish is over, unfinished jobs go back to the queue", jobs=len(self._unfinished))

    async def _give_back(self) -> None:
        """Best effort at the end: if the database is gone too, the leases end by themselves."""
        if not self._unfinished:
            return
        with suppress(DatabaseUnavailable):
            await self._queue.release(self._unfinished)

    # ---------------------------------------------------------------- claiming
    async def _claim_forever(self, photos: asyncio.TaskGroup) -> None:
        idle_s = _FIRST_IDLE_S
        while True:
            wanted = await self._wait_for_room()
            await self._database.wait()
            await self._services.wait()
            self._wakeup.clear()
            try:
                jobs = await self._claim(1 if self._services.closed else wanted, beside=not self._services.closed)
                if not jobs and await self._is_drained():
                    return
            except DatabaseUnavailable as error:
                self._database.report(error)
                continue
            self._database.clear()
            for job in jobs:
                self._running[job.id] = (job, photos.create_task(self._attempt(job)))
            if jobs:
                idle_s = _FIRST_IDLE_S
                continue
            await self._sleep_until_woken(idle_s)
            idle_s = min(idle_s * 2, self._options.poll_s)

    async def _wait_for_room(self) -> int:
        """Free slots, at least a quarter of all, so that claims stay batches."""
        while True:
            free = self._options.slots - len(self._running) + len(self._beside)
            if free * 4 >= self._options.slots:
                return free
            self._room.clear()
            await self._room.wait()

    async def _claim(self, limit: int, *, beside: bool) -> list[Job]:
        """Up to limit jobs, and slow ones beside them when there are fewer."""
        jobs = await self._claim_some(limit, self._options.operations, self._options.apart)
        room = self._options.slots_apart - len(self._beside)
        allowed = [o for o in self._options.apart if self._options.operations is None or o in self._options.operations]
        if len(jobs) < limit and room > 0 and allowed and (beside or not jobs):
            slow = await self._claim_slow(jobs, room if beside else 1, allowed)
            self._beside |= {job.id for job in slow}
            jobs = [*jobs, *slow]
        return jobs

    async def _claim_slow(self, jobs: list[Job], limit: int, operations: Sequence[str]) -> list[Job]:
        """Jobs of slow operations. Whatever happens here, jobs that were claimed just before are not forgotten."""
        try:
            return await self._claim_some(limit, operations, ())
        except DatabaseUnavailable:
            if not jobs:
                raise
            return []
        except asyncio.CancelledError:
            self._unfinished += jobs
            raise

    async def _claim_some(self, limit: int, operations: Sequence[str] | None, without: Sequence[str]) -> list[Job]:
        started = time.perf_counter()
        claim = asyncio.ensure_future(self._queue.claim(self._options.worker_id, limit, self._options.lease_s, operations, without=without))
        try:
            jobs = await asyncio.shield(claim)
        except asyncio.CancelledError:
            # The claim may commit all the same: what it brings goes back, and no attempt is spent.
            with suppress(DatabaseUnavailable):
                self._unfinished += await claim
            raise
        self._tally.claims = self._tally.claims.plus(time.perf_counter() - started, 1)
        return jobs

    async def _is_drained(self) -> bool:
        return self._options.drain and not self._running and await self._queue.unfinished(self._options.operations) == 0

    async def _sleep_until_woken(self, idle_s: float) -> None:
        longest_s = min(idle_s, self._options.poll_s, 1.0 if self._options.drain else self._options.poll_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s * random.uniform(0.5, 1.5)):  # noqa: S311  # jitter, not a secret
                await self._wakeup.wait()
                await asyncio.sleep(random.uniform(0, 0.05))  # noqa: S311  # workers do not stampede

    # ---------------------------------------------------------------- one photo
    async def _attempt(self, job: Job) -> None:
        try:
            ending = await self._ending(job)
            self._settling.add(job.id)  # from here on the settler finds out whether the lease still holds
            status = await self._settler.settle(job, ending)
            self._count(job, status, ending)
        except asyncio.CancelledError:
            if job.id not in self._lost:
                self._unfinished.append(job)
                raise
        finally:
            self._lost.discard(job.id)
            self._settling.discard(job.id)
            self._running.pop(job.id, None)
            self._room.set()
            if job.id in self._beside or (self._options.drain and not self._running):
                self._wakeup.set()  # the next slow one may come, or perhaps that was the last one
            self._beside.discard(job.id)

    async def _ending(self, job: Job) -> Ending:  # noqa: PLR0911  # one return per class of error
        """Errors become endings: the class decides, never the text."""
        asked_at = asyncio.get_running_loop().time()
        try:
            result = await self._process(job)
        except PermanentError as error:
            return Failed(_named(job, error), retry=False)
        except FileUnsettled as error:
            return Deferred(_line(job, error), _DEFER_S)
        except Outage as error:
            self._services.report(error)
            return Released()
        except ConfigError as error:
            return Failed(_named(job, error), retry=False)
        except TransientError as error:
            return Failed(_named(job, error), retry=True)
        except Exception as error:  # the one place where a bug must not take the other photos with it
            log.exception("unexpected error", asset=str(job.asset.id))
            return Failed(_named(job, error), retry=True)
        self._services.clear(asked_at)
        return Done(result)

    def _count(self, job: Job, status: str, ending: Ending) -> None:
        self._tally.endings[status] += 1
        match status:
            case "completed":
                self._tally.completed += 1
            case "failed":
                self._tally.failed += 1
            case "pending":
                self._tally.retried += 1
        self._on_settled(job, status, ending)

    # ---------------------------------------------------------------- leases
    async def _keep_leases(self) -> None:
        """Renew every lease at a third of its time. A job that passed on is dropped at once: its late result would be refused."""
        while True:
            await asyncio.sleep(min(self._options.lease_s / 3, 1.0) if self._database.closed else self._options.lease_s / 3)
            jobs = [job for job, _ in self._running.values()]
            if not jobs:
                continue
            try:
                owned = await self._queue.heartbeat(jobs, self._options.lease_s)
            except DatabaseUnavailable as error:
                self._database.report(error)
                continue
            for job in jobs:
                if job.id not in owned and self._is_at_work_on(job):
                    self._drop(job)

    def _is_at_work_on(self, job: Job) -> bool:
        """False for a job that ended meanwhile, claimed again or not: its heartbeat may have met its own completion."""
        held = self._running.get(job.id)
        return held is not None and held[0] is job and job.id not in self._settling

    def _drop(self, job: Job) -> None:
        self._tally.endings["lost"] += 1
        log.warning("lease lost", error=str(LeaseLost(f"{display(job.asset.path)} passed on to another worker")))
        self._lost.add(job.id)
        self._running[job.id][1].cancel()

    async def _sweep(self) -> None:
        """Ended leases of crashed workers go back to the queue; now and then old rows are purged."""
        loop = asyncio.get_running_loop()
        purge_at, was_closed = loop.time() + _PURGE_S, False
        while True:
            await asyncio.sleep(_SWEEP_S * random.uniform(0.75, 1.25))  # noqa: S311  # jitter, not a secret
            if was_closed:
                await asyncio.sleep(_GRACE_S)
            try:
                was_closed = self._database.closed
                if await self._queue.reset_stale():
                    self._wakeup.set()
                if loop.time() >= purge_at:
                    await self._queue.purge()
                    purge_at = loop.time() + _PURGE_S
            except DatabaseUnavailable as error:
                self._database.report(error)
                was_closed = True


def _line(job: Job, error: BaseException) -> str:
    """One line that names the file and the cause."""
    name, text = display(job.asset.path.rpartition(b"/")[2]), " ".join(str(error).split()) or type(error).__name__
    return text if name and name in text else f"{name or job.asset.id}: {text}"


def _named(job: Job, error: Exception) -> KizuError:
    """The same error with the file's name in it. The class stays: it decides what is remembered."""
    kind = type(error) if isinstance(error, KizuError) else TransientError
    return kind(_line(job, error))
