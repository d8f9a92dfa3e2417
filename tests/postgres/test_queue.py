"""kizu_fast/store/queue.py on PostgreSQL: many at once, plans, backoff, and what the predecessor got wrong about its queue."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
from samples import ALICE, BOB, BOTH, Stores, axis, claim_all, complete_all, detections, file, registered, result
from stores import postgres_stores

from kizu_fast.errors import ImageUnreadable, PermanentError, TransientError
from kizu_fast.store.overview import Overview
from kizu_fast.store.pool import Database, open_database
from kizu_fast.store.sql import statement

Fetch = Callable[..., Awaitable[list[asyncpg.Record]]]


@pytest.fixture
def stores(database: Database) -> Stores:
    return postgres_stores(database)


@pytest.fixture
async def three(database_dsn: str, pg_user: str) -> AsyncIterator[list[Stores]]:
    """Three pools on one database, as three processes would have."""
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(open_database(database_dsn, Path("/nonexistent"), pg_user, "direct")) for _ in range(3)]
        yield [postgres_stores(database) for database in opened]


async def work(stores: Stores, name: str, done: list[UUID]) -> None:
    """Claims and completes until nothing is due."""
    while jobs := await stores.queue.claim(name, 16, 60):
        settled = await stores.results.settle([(job, result(job, axis(0))) for job in jobs])
        done += settled.completed


async def test_three_claimers_complete_each_of_2000_jobs_exactly_once(three: list[Stores], fetch: Fetch) -> None:
    for name in ("one", "two"):
        await registered(three[0], 1000, name=name)
    done: list[UUID] = []

    async with asyncio.TaskGroup() as workers:
        for number, stores in enumerate(three):
            workers.create_task(work(stores, f"worker {number}", done))

    assert max(Counter(done).values()) == 1
    assert len(done) == 2000
    (row,) = await fetch("select count(*) as jobs, max(attempts) as attempts from processing_queue where status = 'completed'")
    assert (row["jobs"], row["attempts"]) == (2000, 1)
    assert (await fetch("select count(*) from image_embeddings"))[0]["count"] == 2000


async def test_a_worker_that_dies_in_the_middle_loses_its_jobs_and_writes_nothing_more(three: list[Stores], fetch: Fetch) -> None:
    await registered(three[0], 40)
    dead = await three[0].queue.claim("dead", 16, 5)
    await three[1].pass_time(6)
    assert await three[1].queue.reset_stale() == 16
    await three[1].pass_time(60)
    done: list[UUID] = []

    await work(three[1], "living", done)
    late = await three[0].results.settle([(job, result(job, axis(1))) for job in dead])

    assert len(done) == len(set(done)) == 40
    assert late.lost == {job.id for job in dead}
    assert (await fetch("select count(*) from image_embeddings where embedding::real[] = $1::real[]", axis(0).tolist()))[0]["count"] == 40
    rows = await fetch("select attempts, count(*) from processing_queue group by attempts order by attempts")
    assert [tuple(row) for row in rows] == [(1, 24), (2, 16)]


async def test_askers_and_workers_at_once_never_deadlock_and_never_make_two_pending_jobs(three: list[Stores], fetch: Fetch) -> None:
    ids = await registered(three[0], 40)
    stopped = asyncio.Event()

    async def ask(stores: Stores, step: int) -> None:
        for turn in range(12):
            chosen = [ids[(turn * step + i * 7) % len(ids)] for i in range(20)]
            await stores.queue.enqueue(ALICE, chosen, [BOTH[turn % 2]])

    async def misbehave(stores: Stores, name: str) -> None:
        turn = 0
        while not stopped.is_set():
            jobs, turn = await stores.queue.claim(name, 8, 60), turn + 1
            third = len(jobs) // 3
            await stores.queue.release(jobs[:third])
            await stores.queue.fail(jobs[third : 2 * third], ["again"] * third, retry=True)
            await stores.results.settle([(job, result(job, axis(0))) for job in jobs[2 * third :]])
            await stores.queue.reset_stale()

    async with asyncio.TaskGroup() as group:
        workers = [group.create_task(misbehave(stores, str(number))) for number, stores in enumerate(three)]
        async with asyncio.TaskGroup() as askers:
            for step, stores in enumerate(three, start=1):
                askers.create_task(ask(stores, step))
        stopped.set()
        await asyncio.gather(*workers)

    assert await fetch("select asset_id from processing_queue where status = 'pending' group by asset_id having count(*) > 1") == []
    assert (await fetch("select count(distinct asset_id) from processing_queue"))[0]["count"] == 40


async def explain_claim(database: Database) -> list[str]:
    """The indexes that a claim scans, as the server itself reports the statements inside the function."""
    settings = {"log_min_duration": "0", "log_nested_statements": "on", "log_format": "json", "log_level": "notice"}
    plans: list[str] = []
    connection = await database.connect()
    connection.add_log_listener(lambda _, message: plans.append(message.message))
    try:
        await connection.execute("load 'auto_explain'")
        for name, value in settings.items():
            await connection.execute(f"set auto_explain.{name} = '{value}'")
        await connection.fetch(statement("claim"), "w", 8, timedelta(seconds=60), None, ["describe"])
    except asyncpg.UndefinedFileError:
        pytest.skip("this server carries no auto_explain")
    finally:
        await connection.close()
    return [index for plan in plans if "plan:" in plan for index in indexes(json.loads(plan.split("plan:", 1)[1])["Plan"])]


def indexes(plan: dict[str, object]) -> list[str]:
    """Index names and sequential scans of the queue anywhere in a plan."""
    here = [str(plan["Index Name"])] if "Index Name" in plan else []
    if plan["Node Type"] == "Seq Scan" and plan["Relation Name"] == "processing_queue":
        here.append("seq scan of processing_queue")
    nested = plan.get("Plans", [])
    assert isinstance(nested, list)
    return here + [name for part in nested for name in indexes(part)]


async def test_a_claim_uses_its_index_even_below_a_mountain_of_jobs_in_backoff(database: Database, fetch: Fetch) -> None:
    user = uuid4()
    await fetch("insert into auth.users (id) values ($1)", user)
    await fetch("insert into assets (id, user_id) select gen_random_uuid(), $1 from generate_series(1, 20000)", user)
    await fetch("update processing_queue set not_before = now() + interval '1 hour' where id in (select id from processing_queue limit 15000)")
    await fetch("analyze processing_queue")

    used = await explain_claim(database)

    assert "processing_queue_claim" in used
    assert "seq scan of processing_queue" not in used


async def test_backoff_doubles_with_a_jitter_of_half(stores: Stores, fetch: Fetch) -> None:
    await registered(stores, 60)
    for attempt in (1, 2):
        jobs = await claim_all(stores)
        await stores.queue.fail(jobs, ["again"] * len(jobs), retry=True)
        due = [row["s"] for row in await fetch("select extract(epoch from not_before - clock_timestamp())::float8 as s from processing_queue")]

        base = 5 * 2 ** (attempt - 1)
        assert base * 0.5 - 2 < min(due)
        assert max(due) <= base * 1.5
        assert max(due) - min(due) > base * 0.5
        await stores.pass_time(60)


async def test_a_wake_up_is_sent_once_for_a_whole_batch(database: Database, stores: Stores, database_dsn: str) -> None:
    heard: list[str] = []
    listener = await asyncpg.connect(database_dsn)
    await listener.add_listener("processing_queue", lambda *message: heard.append(message[-1]))

    ids = await registered(stores, 50)
    await complete_all(stores)
    await stores.queue.enqueue(ALICE, ids, BOTH)
    await listener.execute("select 1")
    await listener.close()

    assert heard == ["", ""]


async def test_purge_removes_what_ended_long_ago(stores: Stores, fetch: Fetch) -> None:
    await registered(stores, 3)
    first, second, third = await claim_all(stores)
    await stores.results.settle([(job, result(job, axis(0))) for job in (first, second)])
    await stores.queue.fail([third], ["broken"], retry=False)
    await fetch("update processing_queue set completed_at = now() - interval '8 days' where id <> $1", second.id)

    assert await stores.queue.purge() == 1

    assert {row["id"] for row in await fetch("select id from processing_queue")} == {second.id, third.id}


async def test_a_job_claimed_in_one_round_trip_needs_no_second_question(database: Database, stores: Stores, fetch: Fetch) -> None:
    await fetch("insert into auth.users (id) values ($1)", BOB)
    await fetch(
        "insert into assets (id, user_id, storage_bucket, storage_path, byte_size, width) values ($1, $2, 'photos', 'b/1.jpg', 77, 5)", uuid4(), BOB
    )

    (job,) = await claim_all(stores)

    assert job.asset == type(job.asset)(job.asset.id, BOB, b"", 77, None, None, 5, None)
    assert set(job.operations) == {"embedding", "objects", "faces", "ocr"}


async def test_the_new_functions_are_closed_to_clients(database: Database) -> None:
    async with database.transaction() as connection:
        for role in ("anon", "authenticated"):
            for function in ("claim_jobs_with_assets", "defer_processing_jobs", "enqueue_processing_jobs", "asset_primary_path"):
                sql = "select has_function_privilege($1, p.oid, 'execute') from pg_proc p where p.proname = $2"
                assert await connection.fetchval(sql, role, function) is False


async def test_jobs_of_one_statement_are_claimed_in_the_order_of_writing_and_their_ids_grow(stores: Stores, fetch: Fetch) -> None:
    await fetch("insert into auth.users (id) values ($1)", BOB)
    await fetch("insert into assets (user_id, storage_path) select $1, 'b/' || n from generate_series(1, 300) n", BOB)
    written = [row["id"] for row in await fetch("select asset_id as id from processing_queue order by ctid")]

    for table in ("assets", "processing_queue"):
        ids = [row["id"] for row in await fetch(f"select id from {table} order by ctid")]
        assert {one.version for one in ids} == {7}
        assert [one.int >> 80 for one in ids] == sorted(one.int >> 80 for one in ids)

    claimed = [job.asset.id for _ in range(3) for job in await stores.queue.claim("one", 100, 60)]

    assert claimed == written


async def test_missing_weights_queue_more_assets_than_one_transaction_takes(stores: Stores, fetch: Fetch) -> None:
    await fetch("insert into auth.users (id) values ($1)", ALICE)
    await fetch("insert into assets (id, user_id) select gen_random_uuid(), $1 from generate_series(1, 5200)", ALICE)
    await fetch("update processing_queue set status = 'completed'")

    assert await stores.queue.queue_missing(ALICE, "embedding", "new/space") == 5200


# ---------------------------------------------------------------- what the predecessor got wrong


async def test_predecessor_1_two_workers_that_claim_at_once_never_share_a_job(three: list[Stores]) -> None:
    await registered(three[0], 60)

    claims = await asyncio.gather(*(stores.queue.claim(f"w{number}", 30, 60) for number, stores in enumerate(three)))

    taken = [job.id for jobs in claims for job in jobs]
    assert len(taken) == len(set(taken)) == 60


async def test_predecessor_2_an_error_is_retried_and_only_the_last_attempt_fails(stores: Stores, fetch: Fetch) -> None:
    await registered(stores, 1)
    for attempt in (1, 2, 3):
        (job,) = await claim_all(stores)
        assert job.attempts == attempt
        await stores.queue.fail([job], [TransientError("hiccup")], retry=True)
        await stores.pass_time(3600)

    (row,) = await fetch("select status, attempts, error from processing_queue")
    assert tuple(row) == ("failed", 3, "hiccup")


async def test_predecessor_2_a_permanent_error_is_not_retried(stores: Stores) -> None:
    await registered(stores, 1)
    (job,) = await claim_all(stores)

    await stores.queue.fail([job], [ImageUnreadable("no picture")], retry=False)
    await stores.pass_time(3600)

    assert await claim_all(stores) == []


async def test_predecessor_3_results_that_cannot_be_stored_leave_the_job_uncompleted(database: Database, stores: Stores, fetch: Fetch) -> None:
    await registered(stores, 1)
    (job,) = await claim_all(stores)
    await fetch("alter table image_embeddings add constraint refuses check (vector_dims(embedding) <> 8)")

    settled = await stores.results.settle([(job, result(job, axis(0), detections(("dog", 0.5))))])

    assert (settled.completed, settled.failed.keys()) == (frozenset(), {job.id})
    assert isinstance(settled.failed[job.id], PermanentError)
    assert "/photos/photo00000.jpg: database: " in str(settled.failed[job.id])
    assert (await fetch("select status from processing_queue"))[0]["status"] == "processing"
    assert await fetch("select 1 from detected_objects union all select 1 from asset_operations") == []


async def test_predecessor_4_a_claim_takes_a_batch(stores: Stores) -> None:
    await registered(stores, 10)

    assert len(await stores.queue.claim("w", 8, 60)) == 8


async def test_predecessor_9_a_finished_asset_can_be_queued_again(stores: Stores, fetch: Fetch) -> None:
    (asset,) = await registered(stores, 1)
    await complete_all(stores)

    assert await stores.queue.enqueue(ALICE, [asset], BOTH) == 1
    assert await complete_all(stores) == 1

    rows = await fetch("select status from processing_queue where asset_id = $1", asset)
    assert [row["status"] for row in rows] == ["completed", "completed"]


async def test_predecessor_10_row_security_is_closed_to_other_users_and_to_anonymous_ones(database: Database, stores: Stores) -> None:
    await stores.assets.register(ALICE, [file("/photos/a.jpg", "a")], BOTH)
    await complete_all(stores)
    await stores.assets.remember_roots([b"/photos"])

    assert await visible(database, ALICE, "asset_paths", "processing_queue", "assets") == [1, 1, 1]
    assert await visible(database, BOB, "asset_paths", "processing_queue", "assets", "image_embeddings") == [0, 0, 0, 0]
    for role, table in (("anon", "asset_paths"), ("anon", "processing_queue"), ("anon", "library_roots"), ("authenticated", "library_roots")):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await as_role(database, role, f"select count(*) from {table}")
    for table in ("asset_paths", "processing_queue"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await as_role(database, "authenticated", f"update {table} set user_id = user_id")


async def visible(database: Database, user: UUID, *tables: str) -> list[int]:
    """How many rows a signed-in user sees."""
    return [await as_role(database, "authenticated", f"select count(*) from {table}", user) for table in tables]


async def as_role(database: Database, role: str, sql: str, user: UUID = BOB) -> int:
    connection = await database.connect()
    try:
        async with connection.transaction():
            await connection.execute(f"set local role {role}")
            await connection.execute("select set_config('request.jwt.claims', $1, true)", json.dumps({"sub": str(user), "role": role}))
            return int(await connection.fetchval(sql) or 0)
    finally:
        await connection.close()


async def test_predecessor_11_no_index_of_neighbours_is_made_on_empty_tables(fetch: Fetch) -> None:
    rows = await fetch("select indexdef from pg_indexes where schemaname = 'public'")

    assert [row["indexdef"] for row in rows if "ivfflat" in row["indexdef"] or "hnsw" in row["indexdef"]] == []


async def test_the_backlog_counts_every_user_and_the_wait_of_what_is_due(stores: Stores, database: Database) -> None:
    overview = Overview(database)
    assert await overview.backlog() == (0, 0, 0)
    await stores.assets.register(ALICE, [file("/photos/a.jpg", "a"), file("/photos/b.jpg", "b")], BOTH)
    await stores.queue.claim("w", 1, 60)

    depth = await overview.backlog()

    assert (depth.pending, depth.processing) == (1, 1)
    assert 0 <= depth.oldest_s < 60
