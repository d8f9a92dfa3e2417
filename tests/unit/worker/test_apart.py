"""kizu_fast/worker: a slow operation is a job of its own, beside the others and behind them. Time costs nothing here."""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from kizu_fast.domain import APART, LIBRARY_OWNER, Caption, Embedding, Job, Operation, PhotoFacts, PhotoResult
from kizu_fast.errors import DatabaseUnavailable, PermanentError
from kizu_fast.store import FoundFile
from kizu_fast.store.memory import MemoryQueue, MemoryResults
from kizu_fast.store.memory_library import MemoryAssets
from kizu_fast.store.memory_state import MemoryDatabase
from kizu_fast.worker.loop import Worker, WorkerOptions
from kizu_fast.worker.photo import split
from kizu_fast.worker.report import Tally

InNoTime = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]
FACTS = PhotoFacts(width=4, height=3)
FAST_S, SLOW_S = 0.1, 5.0
MIXED = ("embedding", "describe")


@pytest.mark.parametrize(
    ("asked", "now", "later"),
    [
        (("embedding", "objects"), ("embedding", "objects"), ()),
        (("describe",), ("describe",), ()),
        (("describe", "embedding"), ("embedding",), ("describe",)),
        (("describe", "paint"), ("paint",), ("describe",)),
        ((), (), ()),
    ],
)
def test_a_job_puts_off_what_is_slow_unless_that_is_all_it_was_asked(asked: tuple[str, ...], now: tuple[str, ...], later: tuple[str, ...]) -> None:
    assert split(asked) == (now, later)


def test_only_captions_are_slow() -> None:
    assert APART == (Operation.DESCRIBE,)


class AwayForCaptions(MemoryQueue):
    """A queue that is out of reach for its first claims of captions."""

    away = 0

    async def claim(
        self, worker_id: str, limit: int, lease_s: float, operations: Sequence[str] | None = None, *, without: Sequence[str] = ()
    ) -> list[Job]:
        if operations is not None and self.away:
            self.away -= 1
            raise DatabaseUnavailable("the database is away")
        return await super().claim(worker_id, limit, lease_s, operations, without=without)


@dataclass
class Bench:
    """A worker whose captions take five seconds, one at a time, and whose other operations take a tenth of one. done: (seconds, asset, operations)."""

    options: dict[str, Any] = field(default_factory=dict)
    fails: Sequence[int] = ()

    def __post_init__(self) -> None:
        self.database = MemoryDatabase(asyncio.get_running_loop().time)
        self.queue, self.results, self.assets = AwayForCaptions(self.database), MemoryResults(self.database), MemoryAssets(self.database)
        self.captioner = asyncio.Semaphore(1)
        self.done: list[tuple[float, int, tuple[str, ...]]] = []
        self.captions_in_flight = self.most_captions = 0
        self.stop = asyncio.Event()

    async def add(self, numbers: Sequence[int], operations: Sequence[str]) -> None:
        files = [FoundFile(b"/photos/%d.jpg" % n, 10, 1, hashlib.sha256(b"%d" % n).digest(), FACTS) for n in numbers]
        await self.assets.register(LIBRARY_OWNER, files, operations)

    async def process(self, job: Job) -> PhotoResult:
        number = int(job.asset.path.rpartition(b"/")[2].removesuffix(b".jpg"))
        now, later = split(job.operations)
        if "describe" in now:
            await self._describe()
        else:
            await asyncio.sleep(FAST_S)
        if number in self.fails:
            raise PermanentError("this one is broken")
        self.done.append((asyncio.get_running_loop().time(), number, now))
        vector = np.zeros(8, np.float32)
        vector[number % 8] = 1
        embedding = Embedding("test/space", vector) if "embedding" in now else None
        caption = Caption("a dog") if "describe" in now else None
        models = {Operation.DESCRIBE: "captioner"} if caption else {}
        return PhotoResult(FACTS, 10, 1, job.asset.sha256, embedding=embedding, caption=caption, models=models, postponed=later)

    async def _describe(self) -> None:
        self.captions_in_flight += 1
        self.most_captions = max(self.most_captions, self.captions_in_flight)
        try:
            async with self.captioner:
                await asyncio.sleep(SLOW_S)
        finally:
            self.captions_in_flight -= 1

    async def run(self) -> None:
        options = WorkerOptions(**{"worker_id": "w", "slots": 4, "lease_s": 30.0, "drain": True, "drain_s": 20.0, **self.options})
        worker = Worker((self.queue, self.results), self.process, asyncio.Event(), options, Tally(), lambda *_: None)
        await worker.run(self.stop)

    def ended(self, operation: str) -> list[float]:
        return [at for at, _, operations in self.done if operation in operations]

    async def counts(self) -> dict[str, int]:
        return (await self.queue.counts(LIBRARY_OWNER)).as_json()


def test_no_other_result_waits_for_a_caption(in_no_time: InNoTime) -> None:
    async def main() -> None:
        bench = Bench()
        await bench.add(range(40), MIXED)
        await bench.run()
        assert len(bench.ended("embedding")) == len(bench.ended("describe")) == 40
        assert max(bench.ended("embedding")) < 3  # 40 photos, four at a time, a tenth of a second each
        assert max(bench.ended("describe")) >= 40 * SLOW_S
        assert await bench.counts() == {"pending": 0, "processing": 0, "completed": 80, "failed": 0}
        assert all(("describe", "captioner") in asset.outcomes for asset in bench.database.assets.values())

    in_no_time(main)


def test_photos_that_come_while_captions_are_written_do_not_wait(in_no_time: InNoTime) -> None:
    async def main() -> None:
        bench = Bench({"poll_s": 1.0})
        await bench.add(range(10), ["describe"])
        working = asyncio.create_task(bench.run())
        await asyncio.sleep(12)
        came = asyncio.get_running_loop().time()
        await bench.add(range(100, 120), ["embedding"])
        await working
        assert max(bench.ended("embedding")) - came < 3
        assert len(bench.ended("describe")) == 10

    in_no_time(main)


def test_captions_in_flight_are_few_so_that_their_pictures_fill_no_memory(in_no_time: InNoTime) -> None:
    async def main() -> None:
        bench = Bench()
        await bench.add(range(12), ["describe"])
        await bench.run()
        assert bench.most_captions == 2
        assert max(bench.ended("describe")) < 12 * SLOW_S + 2  # one follows the other without a pause

    in_no_time(main)


def test_a_stop_loses_neither_what_was_found_nor_what_was_put_off(in_no_time: InNoTime) -> None:
    async def main() -> None:
        bench = Bench({"drain_s": 1.0})
        await bench.add(range(8), MIXED)
        working = asyncio.create_task(bench.run())
        await asyncio.sleep(3)
        bench.stop.set()
        await working
        assert len(bench.ended("embedding")) == 8
        assert await bench.counts() == {"pending": 8, "processing": 0, "completed": 8, "failed": 0}
        assert all(job.attempts == 0 for job in bench.database.jobs.values() if job.status == "pending")

    in_no_time(main)


def test_a_photo_that_cannot_be_read_is_not_asked_for_a_caption(in_no_time: InNoTime) -> None:
    async def main() -> None:
        bench = Bench(fails=(3,))
        await bench.add(range(5), MIXED)
        await bench.run()
        assert 3 not in {number for _, number, _ in bench.done}
        assert await bench.counts() == {"pending": 0, "processing": 0, "completed": 8, "failed": 1}

    in_no_time(main)


def test_a_worker_that_was_asked_for_captions_only_writes_captions_only(in_no_time: InNoTime) -> None:
    async def main() -> None:
        bench = Bench({"operations": ("describe",)})
        await bench.add(range(3), ["describe"])
        await bench.add(range(10, 13), ["embedding"])
        await bench.run()
        assert len(bench.ended("describe")) == 3
        assert bench.ended("embedding") == []

    in_no_time(main)


def test_a_worker_that_was_not_asked_for_captions_writes_none(in_no_time: InNoTime) -> None:
    async def main() -> None:
        bench = Bench({"operations": ("embedding",)})
        await bench.add(range(3), ["describe"])
        await bench.add(range(10, 13), ["embedding"])
        await bench.run()
        assert bench.ended("describe") == []
        assert len(bench.ended("embedding")) == 3

    in_no_time(main)


def test_asking_again_joins_the_caption_that_still_waits(in_no_time: InNoTime) -> None:
    async def main() -> None:
        bench = Bench()
        await bench.add([1], MIXED)
        await bench.queue.enqueue(LIBRARY_OWNER, list(bench.database.assets), ["describe"])
        await bench.run()
        assert len(bench.ended("describe")) == 1

    in_no_time(main)


def test_an_outage_between_the_two_claims_forgets_no_job(in_no_time: InNoTime) -> None:
    async def main() -> None:
        bench = Bench()
        bench.queue.away = 3
        await bench.add(range(2), ["embedding"])
        await bench.add(range(10, 12), ["describe"])
        await bench.run()
        assert await bench.counts() == {"pending": 0, "processing": 0, "completed": 4, "failed": 0}
        assert max(bench.ended("embedding")) < 3
        assert all(job.attempts == 1 for job in bench.database.jobs.values())

    in_no_time(main)


def test_captions_that_fail_cost_no_other_photo_its_turn(in_no_time: InNoTime) -> None:
    async def main() -> None:
        bench = Bench(fails=(10, 11))
        await bench.add(range(10, 14), ["describe"])
        await bench.add(range(4), MIXED)
        await bench.run()
        assert await bench.counts() == {"pending": 0, "processing": 0, "completed": 10, "failed": 2}
        assert max(bench.ended("embedding")) < 3

    in_no_time(main)
