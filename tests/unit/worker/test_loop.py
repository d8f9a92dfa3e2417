"""kizu_fast/worker/loop.py: every job ends once, whatever the photo, the database and the clock do. Time costs nothing here."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from kizu_fast.domain import LIBRARY_OWNER, Embedding, Job, PhotoFacts, PhotoResult
from kizu_fast.errors import DatabaseUnavailable, FileUnsettled, ImageUnreadable, PermanentError, SourceUnavailable, TransientError
from kizu_fast.store import FoundFile, Settled
from kizu_fast.store.memory import MemoryQueue, MemoryResults
from kizu_fast.store.memory_library import MemoryAssets
from kizu_fast.store.memory_state import MemoryDatabase
from kizu_fast.worker.loop import Worker, WorkerOptions
from kizu_fast.worker.report import Tally
from kizu_fast.worker.settling import Ending

InNoTime = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]
FACTS = PhotoFacts(width=4, height=3)


def result_of(job: Job) -> PhotoResult:
    vector = np.zeros(8, np.float32)
    vector[job.asset.id.int % 8] = 1
    return PhotoResult(FACTS, 10, 1, job.asset.sha256, embedding=Embedding("test/space", vector), models={})


@dataclass
class Weather:
    """A database that is away at times: every call of the queue and of the results passes here."""

    away: bool = False
    calls: int = 0

    def check(self) -> None:
        self.calls += 1
        if self.away:
            raise DatabaseUnavailable("the database is away")


class StormyQueue(MemoryQueue):
    """The memory queue behind the weather."""

    def __init__(self, database: MemoryDatabase, weather: Weather) -> None:
        super().__init__(database)
        self.weather = weather

    async def claim(
        self, worker_id: str, limit: int, lease_s: float, operations: Sequence[str] | None = None, *, without: Sequence[str] = ()
    ) -> list[Job]:
        self.weather.check()
        return await super().claim(worker_id, limit, lease_s, operations, without=without)

    async def heartbeat(self, jobs: Sequence[Job], lease_s: float) -> set[UUID]:
        self.weather.check()
        return await super().heartbeat(jobs, lease_s)

    async def reset_stale(self) -> int:
        self.weather.check()
        return await super().reset_stale()


class StormyResults(MemoryResults):
    """The memory results behind the weather."""

    def __init__(self, database: MemoryDatabase, weather: Weather) -> None:
        super().__init__(database)
        self.weather = weather

    async def settle(self, batch: Sequence[tuple[Job, PhotoResult]]) -> Settled:
        self.weather.check()
        return await super().settle(batch)


@dataclass
class Bench:
    """A worker over the memory store, its process given by the test."""

    process: Callable[[Job], Awaitable[PhotoResult]]
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.database = MemoryDatabase(loop.time)
        self.weather = Weather()
        self.queue = StormyQueue(self.database, self.weather)
        self.results = StormyResults(self.database, self.weather)
        self.assets = MemoryAssets(self.database)
        self.tally = Tally()
        self.endings: list[tuple[str, Ending]] = []
        self.wakeup = asyncio.Event()
        self.stop = asyncio.Event()

    async def add(self, count: int) -> None:
        files = [FoundFile(b"/photos/%d.jpg" % n, 10, 1, hashlib.sha256(b"%d" % n).digest(), FACTS) for n in range(count)]
        await self.assets.register(LIBRARY_OWNER, files, ["embedding"])

    def worker(self) -> Worker:
        options = WorkerOptions(**{"worker_id": "w", "slots": 8, "lease_s": 30.0, "drain": True, "drain_s": 5.0, **self.options})

        def settled(_job: Job, status: str, ending: Ending) -> None:
            self.endings.append((status, ending))

        return Worker((self.queue, self.results), self.process, self.wakeup, options, self.tally, settled)

    async def run(self) -> None:
        await self.worker().run(self.stop)

    async def counts(self) -> dict[str, int]:
        return (await self.queue.counts(LIBRARY_OWNER)).as_json()


async def instantly(job: Job) -> PhotoResult:
    return result_of(job)


def test_a_queue_is_drained_and_every_job_completed_once(in_no_time: InNoTime) -> None:
    async def main() -> None:
        bench = Bench(instantly)
        await bench.add(50)
        await bench.run()
        assert await bench.counts() == {"pending": 0, "processing": 0, "completed": 50, "failed": 0}
        assert (bench.tally.completed, bench.tally.failed, bench.tally.retried) == (50, 0, 0)

    in_no_time(main)


def test_photos_in_flight_never_exceed_the_slots(in_no_time: InNoTime) -> None:
    async def main() -> None:
        now, most = 0, 0

        async def slowly(job: Job) -> PhotoResult:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(1)
            now -= 1
            return result_of(job)

        bench = Bench(slowly)
        await bench.add(40)
        await bench.run()
        assert most == 8

    in_no_time(main)


@pytest.mark.parametrize("error", [PermanentError("no"), ImageUnreadable("no picture")])
def test_a_permanent_error_fails_at_once_and_alone(in_no_time: InNoTime, error: Exception) -> None:
    async def main() -> None:
        async def process(job: Job) -> PhotoResult:
            if job.asset.path.endswith(b"/3.jpg"):
                raise error
            return result_of(job)

        bench = Bench(process)
        await bench.add(10)
        await bench.run()
        assert (bench.tally.completed, bench.tally.failed, bench.tally.retried) == (9, 1, 0)

    in_no_time(main)


def test_the_reason_names_the_file_and_is_one_line(in_no_time: InNoTime) -> None:
    async def main() -> None:
        async def process(job: Job) -> PhotoResult:
            raise PermanentError("the header\nis damaged")

        bench = Bench(process)
        await bench.add(1)
        await bench.run()
        [(status, ending)] = bench.endings
        assert status == "failed"
        assert str(getattr(ending, "error", "")) == "0.jpg: the header is damaged"

    in_no_time(main)


def test_a_transient_error_is_tried_three_times_with_backoff_then_fails(in_no_time: InNoTime) -> None:
    async def main() -> None:
        attempts: list[float] = []

        async def process(job: Job) -> PhotoResult:
            attempts.append(asyncio.get_running_loop().time())
            raise TransientError("try again")

        bench = Bench(process)
        await bench.add(1)
        await bench.run()
        assert len(attempts) == 3
        assert attempts[1] - attempts[0] >= 2.5
        assert (bench.tally.retried, bench.tally.failed) == (2, 1)

    in_no_time(main)


def test_a_bug_in_one_photo_is_retried_and_takes_no_other_with_it(in_no_time: InNoTime) -> None:
    async def main() -> None:
        async def process(job: Job) -> PhotoResult:
            if job.asset.path.endswith(b"/0.jpg"):
                raise ZeroDivisionError
            return result_of(job)

        bench = Bench(process)
        await bench.add(5)
        await bench.run()
        assert (bench.tally.completed, bench.tally.failed) == (4, 1)

    in_no_time(main)


def test_a_file_that_is_still_being_copied_waits_as_long_as_it_takes(in_no_time: InNoTime) -> None:
    async def main() -> None:
        tries = 0

        async def process(job: Job) -> PhotoResult:
            nonlocal tries
            tries += 1
            if tries < 8:
                raise FileUnsettled("still being written")
            assert job.attempts == 1
            return result_of(job)

        bench = Bench(process)
        await bench.add(1)
        await bench.run()
        assert (bench.tally.completed, bench.tally.failed, bench.tally.retried) == (1, 0, 0)

    in_no_time(main)


def test_an_outage_of_a_service_pauses_and_costs_no_attempt(in_no_time: InNoTime) -> None:
    async def main() -> None:
        attempts: list[int] = []

        async def process(job: Job) -> PhotoResult:
            attempts.append(job.attempts)
            if asyncio.get_running_loop().time() < 120:
                raise SourceUnavailable("the drive is not mounted")
            return result_of(job)

        bench = Bench(process)
        await bench.add(20)
        await bench.run()
        assert bench.tally.completed == 20
        assert set(attempts) == {1}
        assert len(attempts) < 20 + 8 + 40  # paused: probed now and then, not hammered

    in_no_time(main)


def test_an_outage_of_the_database_holds_results_back_and_loses_none(in_no_time: InNoTime) -> None:
    async def main() -> None:
        async def process(job: Job) -> PhotoResult:
            await asyncio.sleep(0.5)
            return result_of(job)

        bench = Bench(process)
        await bench.add(30)
        running = asyncio.create_task(bench.run())
        await asyncio.sleep(0.8)
        bench.weather.away = True
        await asyncio.sleep(300)  # ten leases long
        bench.weather.away = False
        await running
        assert await bench.counts() == {"pending": 0, "processing": 0, "completed": 30, "failed": 0}
        assert bench.tally.retried == 0

    in_no_time(main)


def test_a_database_that_is_away_is_not_hammered(in_no_time: InNoTime) -> None:
    async def main() -> None:
        bench = Bench(instantly, {"drain": False})
        bench.weather.away = True
        running = asyncio.create_task(bench.run())
        await asyncio.sleep(600)
        assert bench.weather.calls < 600
        bench.stop.set()
        await running

    in_no_time(main)


def test_stop_lets_photos_in_flight_finish_and_claims_no_more(in_no_time: InNoTime) -> None:
    async def main() -> None:
        async def slowly(job: Job) -> PhotoResult:
            await asyncio.sleep(2)
            return result_of(job)

        bench = Bench(slowly)
        await bench.add(20)
        running = asyncio.create_task(bench.run())
        await asyncio.sleep(1)
        bench.stop.set()
        await running
        assert await bench.counts() == {"pending": 12, "processing": 0, "completed": 8, "failed": 0}

    in_no_time(main)


def test_stop_releases_what_cannot_finish_in_time_without_spending_an_attempt(in_no_time: InNoTime) -> None:
    async def main() -> None:
        async def for_ever(job: Job) -> PhotoResult:
            await asyncio.sleep(1e6)
            return result_of(job)

        bench = Bench(for_ever)
        await bench.add(10)
        running = asyncio.create_task(bench.run())
        await asyncio.sleep(1)
        bench.stop.set()
        await running
        assert await bench.counts() == {"pending": 10, "processing": 0, "completed": 0, "failed": 0}
        assert {job.attempts for job in await bench.queue.claim("next", 10, 30)} == {1}

    in_no_time(main)


def test_a_long_photo_keeps_its_lease(in_no_time: InNoTime) -> None:
    async def main() -> None:
        async def slowly(job: Job) -> PhotoResult:
            await asyncio.sleep(200)
            return result_of(job)

        bench = Bench(slowly)
        await bench.add(3)
        await bench.run()
        assert (bench.tally.completed, bench.tally.retried) == (3, 0)

    in_no_time(main)


def test_a_job_that_passed_on_is_dropped_and_its_late_result_refused(in_no_time: InNoTime) -> None:
    async def main() -> None:
        bench = Bench(instantly)
        await bench.add(1)
        [stale] = await bench.queue.claim("frozen", 1, lease_s=3)
        await bench.run()
        settled = await bench.results.settle([(stale, result_of(stale))])
        assert settled.lost == {stale.id}
        assert await bench.counts() == {"pending": 0, "processing": 0, "completed": 1, "failed": 0}

    in_no_time(main)


def test_ended_leases_of_others_are_reset_within_five_seconds(in_no_time: InNoTime) -> None:
    async def main() -> None:
        bench = Bench(instantly, {"drain": False})
        await bench.add(1)
        await bench.queue.claim("dead", 1, lease_s=10)
        running = asyncio.create_task(bench.run())
        await asyncio.sleep(15)
        assert (await bench.counts())["processing"] == 0
        bench.stop.set()
        await running

    in_no_time(main)


def test_two_workers_share_the_queue_and_do_no_job_twice(in_no_time: InNoTime) -> None:
    async def main() -> None:
        done: list[UUID] = []

        async def process(job: Job) -> PhotoResult:
            await asyncio.sleep(0.1)
            done.append(job.id)
            return result_of(job)

        bench = Bench(process)
        await bench.add(100)
        await asyncio.gather(bench.worker().run(bench.stop), bench.worker().run(bench.stop))
        assert len(done) == len(set(done)) == 100

    in_no_time(main)


def test_a_worker_for_some_operations_leaves_the_others_alone(in_no_time: InNoTime) -> None:
    async def main() -> None:
        bench = Bench(instantly, {"operations": ("objects",)})
        await bench.add(5)
        await bench.run()
        assert (await bench.counts())["pending"] == 5

    in_no_time(main)


def test_a_wake_up_starts_a_new_job_before_the_next_poll(in_no_time: InNoTime) -> None:
    async def main() -> None:
        bench = Bench(instantly, {"drain": False, "poll_s": 1000.0})
        running = asyncio.create_task(bench.run())
        await asyncio.sleep(5000)
        await bench.add(1)
        bench.wakeup.set()
        await asyncio.sleep(0.2)
        assert (await bench.counts())["completed"] == 1
        bench.stop.set()
        await running

    in_no_time(main)


class SlowToAnswer(StormyResults):
    """Commits at once and answers late."""

    async def settle(self, batch: Sequence[tuple[Job, PhotoResult]]) -> Settled:
        settled = await super().settle(batch)
        await asyncio.sleep(60)
        return settled


def test_a_completion_that_meets_its_own_heartbeat_is_no_lost_lease(in_no_time: InNoTime) -> None:
    async def main() -> None:
        bench = Bench(instantly)
        bench.results = SlowToAnswer(bench.database, bench.weather)
        await bench.add(3)
        await bench.run()
        assert bench.tally.completed == 3
        assert [status for status, _ in bench.endings] == ["completed"] * 3

    in_no_time(main)
