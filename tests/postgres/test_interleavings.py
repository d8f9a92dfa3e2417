"""Workers that do anything at any moment, by fixed seeds, and groups of which one fails: no job is done twice, none is lost."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID

import asyncpg
import numpy as np
import pytest
from bench import BOTH, LEASE_S, ME, Bench, detections, result_of

from kizu_fast.domain import Job
from kizu_fast.errors import PermanentError
from kizu_fast.store.pool import Database

Fetch = Callable[..., Awaitable[list[asyncpg.Record]]]


@pytest.fixture
def bench(database: Database) -> Bench:
    return Bench(database)


async def step(bench: Bench, rng: random.Random, held: list[Job], done: Counter[UUID]) -> None:
    """One thing that a worker may do to jobs it holds."""
    jobs = [held.pop(rng.randrange(len(held))) for _ in range(min(len(held), rng.randint(1, 4)))]
    match rng.choice(["settle", "settle", "fail", "release", "defer", "forget about them", "claim", "ask again"]):
        case "settle":
            settled = await bench.results.settle([(job, result_of(job)) for job in jobs])
            done.update(settled.completed)
        case "fail":
            await bench.queue.fail(jobs, ["again"] * len(jobs), retry=True)
        case "release":
            await bench.queue.release(jobs)
        case "defer":
            await bench.queue.defer(jobs, rng.uniform(0, 0.05), "later")
        case "claim":
            held += jobs + await bench.claim(rng.randint(1, 8))
        case "ask again":
            held += jobs
            await bench.queue.enqueue(ME, [job.asset.id for job in jobs], [rng.choice(BOTH)])
        case _:
            await bench.queue.heartbeat(jobs, -1.0)  # the lease is over
            await bench.queue.reset_stale()


async def wander(bench: Bench, seed: int, done: Counter[UUID]) -> None:
    rng, held = random.Random(seed), list[Job]()
    for _ in range(40):
        await step(bench, rng, held, done)
    await bench.queue.release(held)


async def drain(bench: Bench, done: Counter[UUID]) -> None:
    while jobs := await bench.claim(64, "last"):
        settled = await bench.results.settle([(job, result_of(job)) for job in jobs])
        done.update(settled.completed)


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_workers_do_at_once_no_job_is_done_twice_and_none_is_lost(bench: Bench, fetch: Fetch, seed: int) -> None:
    assets = await bench.add(*range(30))
    await fetch("update processing_queue set max_attempts = 1000")
    await fetch("alter table processing_queue alter max_attempts set default 1000")
    done: Counter[UUID] = Counter()
    await asyncio.gather(*(wander(bench, 10 * seed + n, done) for n in range(4)))
    await bench.later(LEASE_S + 10_000)
    await bench.queue.reset_stale()
    await bench.later(10_000)
    await drain(bench, done)
    assert set(done.values()) == {1}
    assert [row["status"] for row in await fetch("select distinct status from processing_queue")] == ["completed"]
    for table in ("image_embeddings", "detected_objects"):
        assert sorted(row["asset_id"] for row in await fetch(f"select asset_id from {table}")) == sorted(assets)


async def test_the_database_itself_refuses_a_second_pending_job(bench: Bench, fetch: Fetch) -> None:
    [asset] = await bench.add(1)
    with pytest.raises(PermanentError, match="processing_queue_one_pending"):
        await fetch("insert into processing_queue (asset_id, user_id) values ($1, $2)", asset, ME)


async def test_a_locked_job_is_skipped_not_waited_for(database: Database, bench: Bench) -> None:
    await bench.add(1, 2)
    async with database.transaction() as connection:
        locked = await connection.fetchval("select id from processing_queue limit 1 for update")
        [job] = await asyncio.wait_for(bench.claim(), 5)
        assert job.id != locked


async def test_ten_requests_at_once_leave_one_pending_job(bench: Bench, fetch: Fetch) -> None:
    [asset] = await bench.add(1)
    await bench.finish()
    await asyncio.gather(*(bench.queue.enqueue(ME, [asset], [BOTH[n % 2]]) for n in range(10)))
    [row] = await fetch("select operations from processing_queue where status = 'pending'")
    assert row["operations"] == ["embedding", "objects"]


@pytest.mark.parametrize("bad", range(7))
async def test_a_number_that_no_column_holds_fails_alone_wherever_it_stands(bench: Bench, fetch: Fetch, bad: int) -> None:
    await bench.add(*range(7))
    jobs = await bench.claim()
    results = [result_of(job) for job in jobs]
    results[bad] = replace(results[bad], objects=replace(detections("dog"), class_ids=np.array([10**6])))  # beyond smallint
    settled = await bench.results.settle(list(zip(jobs, results, strict=True)))
    assert settled.completed == {job.id for job in jobs} - {jobs[bad].id}
    assert str(settled.failed[jobs[bad].id]).startswith("/photos/")
    assert (await fetch("select count(*)::int as n from image_embeddings"))[0]["n"] == 6
