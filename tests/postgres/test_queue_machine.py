"""The queue against a model of itself, under any order of calls: no job done twice, none lost, never two pending for one asset."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from samples import ALICE, BOTH, Stores, axis, file, result
from stores import postgres_stores

from kizu_fast.domain import Job
from kizu_fast.errors import ImageTooLarge, TransientError
from kizu_fast.store.memory import MemoryQueue, MemoryResults, MemorySpaces
from kizu_fast.store.memory_library import MemoryAssets, MemoryCoverage, MemorySearch
from kizu_fast.store.memory_state import MemoryDatabase
from kizu_fast.store.pool import Database, open_database

T = TypeVar("T")
Rows = list[tuple[UUID, UUID, str, int]]  # job, asset, status, attempts
ASSETS = 6
NUMBERS = st.integers(0, 40)


class Backing:
    """A store, its rows, and the loop that drives it."""

    def __init__(self, runner: asyncio.Runner, database: Database | None) -> None:
        self.runner, self.database = runner, database

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    def fresh(self) -> Stores:
        """An empty library."""
        if self.database is not None:
            stores = postgres_stores(self.database)
            self.run(stores.assets.forget_user(ALICE))
            return stores
        self.now = 0.0
        self.state = state = MemoryDatabase(lambda: self.now)
        return Stores(
            MemoryQueue(state), MemoryResults(state), MemorySpaces(state), MemoryAssets(state), MemorySearch(state), MemoryCoverage(state), self._pass
        )

    async def _pass(self, seconds: float) -> None:
        self.now += seconds

    def rows(self) -> Rows:
        if self.database is None:
            return [(job.id, job.asset_id, job.status, job.attempts) for job in self.state.jobs.values()]
        return self.run(self._rows(self.database))

    async def _rows(self, database: Database) -> Rows:
        async with database.connection() as connection:
            rows = await connection.fetch("select id, asset_id, status, attempts from processing_queue where user_id = $1", ALICE)
        return [(row["id"], row["asset_id"], row["status"], row["attempts"]) for row in rows]


class QueueMachine(RuleBasedStateMachine):
    """The rules; hypothesis makes an instance for every example."""

    backing: ClassVar[Backing]

    def __init__(self) -> None:
        super().__init__()
        self.stores = self.backing.fresh()
        files = [file(f"/photos/{number}.jpg", str(number)) for number in range(ASSETS)]
        self.backing.run(self.stores.assets.register(ALICE, files, ["embedding"]))
        known = self.backing.run(self.stores.assets.known_paths(ALICE, b"/photos"))
        self.assets = [known[found.path].asset_id for found in files]
        self.held: dict[UUID, Job] = {}  # by job id: the newest claim of each
        self.claims: list[Job] = []  # every claim ever made, stale ones too
        self.completed: list[tuple[UUID, int]] = []

    @rule(limit=st.integers(1, 4))
    def claim(self, limit: int) -> None:
        jobs = self.backing.run(self.stores.queue.claim("w", limit, 30))
        for job in jobs:
            earlier = self.held.get(job.id)
            assert earlier is None or earlier.lease_token < job.lease_token
            self.held[job.id] = job
        self.claims += jobs

    def chosen(self, number: int) -> list[Job]:
        """Some claim, stale ones too: what is drawn must not depend on what the store answered."""
        return [self.claims[number % len(self.claims)]] if self.claims else []

    @rule(number=NUMBERS)
    def settle(self, number: int) -> None:
        jobs = self.chosen(number)
        settled = self.backing.run(self.stores.results.settle([(job, result(job, axis(0))) for job in jobs]))
        for job in jobs if settled.completed else []:
            assert self.held[job.id].lease_token == job.lease_token
            self.completed.append((job.id, job.lease_token))

    @rule(number=NUMBERS, retry=st.booleans())
    def fail(self, number: int, retry: bool) -> None:
        jobs = self.chosen(number)
        errors = [TransientError("no") if retry else ImageTooLarge("no") for _ in jobs]
        self.backing.run(self.stores.queue.fail(jobs, errors, retry=retry))

    @rule(number=NUMBERS)
    def release(self, number: int) -> None:
        self.backing.run(self.stores.queue.release(self.chosen(number)))

    @rule(number=NUMBERS, delay_s=st.integers(0, 60))
    def defer(self, number: int, delay_s: int) -> None:
        self.backing.run(self.stores.queue.defer(self.chosen(number), delay_s, "not yet"))

    @rule(number=NUMBERS)
    def heartbeat(self, number: int) -> None:
        jobs = self.chosen(number)
        for job_id in self.backing.run(self.stores.queue.heartbeat(jobs, 30)):
            assert self.held[job_id].lease_token == jobs[0].lease_token

    @rule(index=st.integers(0, ASSETS - 1), operation=st.sampled_from(BOTH))
    def ask(self, index: int, operation: str) -> None:
        self.backing.run(self.stores.queue.enqueue(ALICE, [self.assets[index]], [operation]))

    @rule(seconds=st.sampled_from([1, 31, 4000]))
    def wait(self, seconds: int) -> None:
        async def pass_and_reset() -> None:
            await self.stores.pass_time(seconds)
            await self.stores.queue.reset_stale()

        self.backing.run(pass_and_reset())

    @invariant()
    def no_asset_has_two_pending_jobs(self) -> None:
        pending = [asset for _, asset, status, _ in self.backing.rows() if status == "pending"]
        assert len(pending) == len(set(pending))

    @invariant()
    def no_job_is_done_twice(self) -> None:
        jobs = [job for job, _ in self.completed]
        assert len(jobs) == len(set(jobs))

    @invariant()
    def no_asset_is_lost(self) -> None:
        assert {asset for _, asset, _, _ in self.backing.rows()} == set(self.assets)

    @invariant()
    def attempts_stay_within_their_bounds(self) -> None:
        assert all(0 <= attempts <= 3 for _, _, _, attempts in self.backing.rows())

    def teardown(self) -> None:
        """Whatever happened, everything ends: the rest is claimed and completed."""
        for _ in range(8):
            self.backing.run(self.stores.pass_time(4000))
            self.backing.run(self.stores.queue.reset_stale())
            jobs = self.backing.run(self.stores.queue.claim("last", 100, 30))
            self.backing.run(self.stores.results.settle([(job, result(job, axis(0))) for job in jobs]))
        assert self.backing.run(self.stores.queue.unfinished()) == 0


def machine(backing: Backing) -> type[QueueMachine]:
    """The rules over one backing."""
    return type("BackedQueueMachine", (QueueMachine,), {"backing": backing})


def test_the_queue_in_memory_loses_nothing_and_does_nothing_twice() -> None:
    with asyncio.Runner() as runner:
        run_state_machine_as_test(machine(Backing(runner, None)), settings=settings(max_examples=60, stateful_step_count=40, deadline=None))


@pytest.mark.slow
def test_the_queue_in_postgresql_loses_nothing_and_does_nothing_twice(database_dsn: str, pg_user: str) -> None:
    quick = settings(max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    with asyncio.Runner() as runner:
        opened = open_database(database_dsn, Path("/nonexistent"), pg_user, "direct")
        database = runner.run(opened.__aenter__())
        try:
            run_state_machine_as_test(machine(Backing(runner, database)), settings=quick)
        finally:
            runner.run(opened.__aexit__(None, None, None))
