"""The wake-up on a real server: proven, lost, regained, and never relied upon."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import pytest
import structlog
from running_server import Server

from kizu_fast.store.listen import Wakeup
from kizu_fast.store.pool import Database, address_of, open_database

Fetch = Callable[..., Awaitable[list[asyncpg.Record]]]


@asynccontextmanager
async def running(wakeup: Wakeup) -> AsyncIterator[None]:
    task = asyncio.create_task(wakeup.run())
    try:
        async with asyncio.timeout(30):
            yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_an_inserted_asset_wakes_the_worker(database: Database, fetch: Fetch) -> None:
    wakeup = Wakeup(database)
    async with running(wakeup):
        await wakeup.event.wait()
        assert wakeup.alive
        wakeup.event.clear()
        await fetch("insert into auth.users (id) values ('00000000-0000-0000-0000-000000000001')")
        await fetch("insert into assets (user_id) values ('00000000-0000-0000-0000-000000000001')")
        await wakeup.event.wait()
    assert not wakeup.alive


async def test_a_thousand_rows_are_one_wake_up(database: Database, fetch: Fetch) -> None:
    heard: list[str] = []
    connection = await database.connect()
    await connection.add_listener("processing_queue", lambda *notification: heard.append(str(notification[3])))
    await fetch("insert into auth.users (id) values ('00000000-0000-0000-0000-000000000001')")
    await fetch("insert into assets (user_id) select '00000000-0000-0000-0000-000000000001' from generate_series(1, 1000)")
    await connection.fetchval("select 1")
    await connection.close()
    assert heard == [""]


async def test_a_lost_listener_is_regained_and_work_is_looked_for_at_once(database: Database, fetch: Fetch, server: Server) -> None:
    wakeup = Wakeup(database)
    async with running(wakeup):
        await wakeup.event.wait()
        wakeup.event.clear()
        ended = await fetch("select pg_terminate_backend(pid) as done from pg_stat_activity where application_name = 'kizu_fast listen'")
        assert [row["done"] for row in ended] == [True]
        await wakeup.event.wait()  # set without any notification: one may have been missed
        assert wakeup.alive
        wakeup.event.clear()
        await fetch("select pg_notify('processing_queue', '')")
        await wakeup.event.wait()


async def test_a_silent_connection_is_asked_whether_it_lives(database: Database, fetch: Fetch) -> None:
    wakeup = Wakeup(database, check_s=0.02)
    async with running(wakeup):
        await wakeup.event.wait()
        asked = None
        while asked != "-- pool.reopen, listen: does the database answer?\nselect 1":
            rows = await fetch("select query from pg_stat_activity where application_name = 'kizu_fast listen'")
            asked = rows[0]["query"].strip() if rows else None
        assert wakeup.alive


async def test_where_nothing_is_delivered_the_worker_is_told_once_and_polls(database: Database, empty_database: str) -> None:
    # notifications do not leave their database: sent in one, they never arrive in the other
    deaf = Database(address_of(empty_database, "direct"), database.pool, None)
    wakeup = Wakeup(deaf, probe_s=0.01, retry_s=0.01)
    with structlog.testing.capture_logs() as lines:
        async with running(wakeup), database.connection() as connection:
            await connection.fetchval("select pg_sleep(0.5)")
    assert not wakeup.event.is_set()
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == [
        "LISTEN is accepted but nothing arrives, jobs are found by polling only"
    ]


async def test_behind_a_transaction_pooler_nothing_listens(database_dsn: str, pg_user: str) -> None:
    async with open_database(database_dsn, Path("/nonexistent"), pg_user, "transaction") as pooled:
        wakeup = Wakeup(pooled)
        with structlog.testing.capture_logs() as lines:
            await wakeup.run()
        async with pooled.connection() as connection:
            listeners = await connection.fetchval("select count(*) from pg_stat_activity where application_name = 'kizu_fast listen'")
    assert [line["log_level"] for line in lines] == ["warning"]
    assert listeners == 0
    assert not wakeup.alive


@pytest.mark.parametrize("times", [3])
async def test_a_listener_outlives_repeated_losses(database: Database, fetch: Fetch, times: int) -> None:
    wakeup = Wakeup(database)
    async with running(wakeup):
        for _ in range(times):
            await wakeup.event.wait()
            wakeup.event.clear()
            await fetch("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'kizu_fast listen'")
        await wakeup.event.wait()
        assert wakeup.alive
