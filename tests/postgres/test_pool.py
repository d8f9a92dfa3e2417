"""The pool on a real server: values, transactions, outages, the embedded server that comes back, transaction mode."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import numpy as np
import pytest
from pgvector import HalfVector
from running_server import Server

from kizu_fast.errors import ConfigError, DatabaseUnavailable, PermanentError
from kizu_fast.store.embedded import stop
from kizu_fast.store.home import Home
from kizu_fast.store.pool import Database, open_database

Fetch = Callable[..., Awaitable[list[asyncpg.Record]]]
NOWHERE = Path("/nonexistent")


# ---------------------------------------------------------------- values
async def test_a_half_vector_travels_by_binary_copy_and_back(database: Database) -> None:
    vector = np.random.default_rng(0).standard_normal(512).astype(np.float32)
    async with database.transaction() as connection:
        await connection.execute("create temporary table v (embedding halfvec)")
        copied = await connection.copy_records_to_table("v", records=[(vector,), (HalfVector(vector),), (vector.tolist(),)], columns=["embedding"])
        rows = await connection.fetch("select embedding, embedding <=> $1 as distance from v", vector)
        await connection.execute("drop table v")
    assert copied == "COPY 3"
    for row in rows:
        assert np.abs(np.asarray(row["embedding"].to_list()) - vector).max() < 2e-3
        assert row["distance"] == pytest.approx(0, abs=1e-6)


async def test_the_extensions_types_are_found_without_their_schema(database: Database, fetch: Fetch) -> None:
    assert (await fetch("select extnamespace::regnamespace::text as s from pg_extension where extname = 'vector'"))[0]["s"] == "extensions"
    assert (await fetch("select '[1,2]'::halfvec <=> '[1,2]'::halfvec as d"))[0]["d"] == pytest.approx(0)


async def test_pgvector_in_public_serves_too(empty_database: str, pg_user: str) -> None:
    connection = await asyncpg.connect(empty_database)
    await connection.execute("create extension vector schema public")
    await connection.close()
    async with open_database(empty_database, NOWHERE, pg_user) as opened, opened.connection() as connection:
        assert await connection.fetchval("select $1::halfvec", [1.0, 2.0]) == HalfVector([1, 2])


async def test_a_session_waits_for_nothing_for_ever(fetch: Fetch) -> None:
    settings = {name: (await fetch(f"show {name}"))[0][name] for name in ("jit", "statement_timeout", "idle_in_transaction_session_timeout")}
    assert settings == {"jit": "off", "statement_timeout": "30s", "idle_in_transaction_session_timeout": "10s"}


# ---------------------------------------------------------------- transactions and errors
async def test_an_error_in_a_transaction_takes_its_writes_back(database: Database, fetch: Fetch) -> None:
    async def insert_twice() -> None:
        async with database.transaction() as connection:
            for _ in range(2):
                await connection.execute("insert into embedding_models (kind, name, dim) values ('image', 'one', 2)")

    with pytest.raises(PermanentError):
        await insert_twice()
    assert await fetch("select 1 from embedding_models") == []


async def test_an_error_of_ours_passes_through_unchanged(database: Database) -> None:
    with pytest.raises(PermanentError, match=r"^mine$"):
        async with database.transaction():
            raise PermanentError("mine")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select 1/0", PermanentError),
        ("select 'x'::uuid", PermanentError),
        ("select * from no_such_table", ConfigError),
        ("do $$ begin raise sqlstate '53100' using message = 'No space left on device'; end $$", DatabaseUnavailable),
        ("do $$ begin raise sqlstate '53200' using message = 'out of memory'; end $$", DatabaseUnavailable),
        ("do $$ begin raise sqlstate '57P01' using message = 'terminating connection'; end $$", DatabaseUnavailable),
        ("do $$ begin raise sqlstate '40P01' using message = 'deadlock detected'; end $$", DatabaseUnavailable),
        ("do $$ begin raise sqlstate '25006' using message = 'read-only transaction'; end $$", DatabaseUnavailable),
        ("do $$ begin raise sqlstate '26000' using message = 'prepared statement unknown'; end $$", ConfigError),
        ("do $$ begin raise sqlstate 'XX000' using message = 'max clients reached', detail = 'two\nlines'; end $$", DatabaseUnavailable),
    ],
)
async def test_what_the_server_says_becomes_an_error_of_ours_in_one_line(database: Database, sql: str, expected: type[Exception]) -> None:
    with pytest.raises(expected) as caught:
        async with database.connection() as connection:
            await connection.execute(sql)
    assert type(caught.value) is expected
    assert "\n" not in str(caught.value)


async def test_a_value_that_cannot_be_sent_is_a_permanent_error(database: Database) -> None:
    with pytest.raises(PermanentError):
        async with database.connection() as connection:
            await connection.fetchval("select $1::uuid", "no uuid")


async def test_a_statement_that_takes_too_long_is_an_outage(database: Database) -> None:
    async def dawdle() -> None:
        async with database.transaction() as connection:
            await connection.execute("set local statement_timeout = '20ms'")
            await connection.fetchval("select pg_sleep(20)")

    with pytest.raises(DatabaseUnavailable):
        await dawdle()


async def test_a_pool_without_a_free_connection_is_an_outage_and_recovers(database_dsn: str, pg_user: str) -> None:
    async with open_database(database_dsn, NOWHERE, pg_user, max_size=1, acquire_s=0.1) as opened:
        async with opened.connection():
            with pytest.raises(DatabaseUnavailable, match="no answer in time"):
                await opened.fetchval("ping")
        assert await opened.fetchval("ping") == 1


async def test_terminated_connections_are_replaced(database: Database, server: Server) -> None:
    async with database.connection() as connection:
        name = await connection.fetchval("select current_database()")

    async def be_terminated() -> None:
        async with database.transaction() as connection:
            await server.run("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name)
            await connection.fetchval("select 1")

    with pytest.raises(DatabaseUnavailable):
        await be_terminated()
    assert await database.fetchval("ping") == 1


async def test_a_cancelled_caller_gives_its_connection_back(database_dsn: str, pg_user: str) -> None:
    async with open_database(database_dsn, NOWHERE, pg_user, max_size=1) as opened:
        entered = asyncio.Event()

        async def hold() -> None:
            async with opened.transaction() as connection:
                await connection.execute("insert into embedding_models (kind, name, dim) values ('image', 'one', 2)")
                entered.set()
                await connection.fetchval("select pg_sleep(60)")

        holding = asyncio.create_task(hold())
        await entered.wait()
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)
        async with opened.connection() as connection:
            assert await connection.fetchval("select count(*) from embedding_models") == 0


# ---------------------------------------------------------------- the first open
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://someone:s3cret@127.0.0.1:1/db",
        "postgresql://someone:s3cret@no-such-host.invalid/db",
        "postgresql://someone:s3cret@127.0.0.1:not-a-port/db",
        "someone:s3cret@127.0.0.1/db",
        "postgresql://someone:s3cret@[half/db",
        "postgresql://someone:s3cret@127.0.0.1:1/db?sslmode=s3cret",
    ],
)
async def test_an_address_that_leads_nowhere_is_named_without_its_password(url: str, pg_user: str) -> None:
    with pytest.raises(ConfigError, match="DATABASE_URL") as caught:
        async with open_database(url, NOWHERE, pg_user):
            pass
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


async def test_a_database_that_does_not_exist_is_named(database_dsn: str, pg_user: str) -> None:
    absent = urlunsplit(urlsplit(database_dsn)._replace(path="/absent", netloc="postgres@"))
    with pytest.raises(ConfigError, match=r'DATABASE_URL: cannot open .*database "absent" does not exist'):
        async with open_database(absent, NOWHERE, pg_user):
            pass


async def test_a_role_that_does_not_exist_is_named(database_dsn: str, pg_user: str) -> None:
    with pytest.raises(ConfigError, match='role "stranger" does not exist'):
        async with open_database(database_dsn.replace("postgres@", "stranger:s3cret@"), NOWHERE, pg_user):
            pass


# ---------------------------------------------------------------- transaction pooler
async def test_behind_a_transaction_pooler_no_session_state_is_used(database_dsn: str, pg_user: str) -> None:
    async with open_database(database_dsn, NOWHERE, pg_user, "transaction") as opened:
        assert not opened.listens
        async with opened.connection() as connection:
            assert connection.is_in_transaction()
            assert await connection.fetchval("select $1::int + 1", 1) == 2
            assert await connection.fetchval("select count(*) from pg_prepared_statements where name <> ''") == 0
            assert await connection.fetchval("show statement_timeout") == "0"
            assert await connection.fetchval("select $1::halfvec", [1.0]) == HalfVector([1])


async def test_a_plain_server_is_listened_to(database: Database) -> None:
    assert database.listens
    assert not database.embedded


# ---------------------------------------------------------------- the embedded server
def postmaster(data_dir: Path) -> int | None:
    cluster = Home.of(data_dir).cluster()
    return None if cluster is None else cluster.pid()


async def test_the_embedded_database_is_migrated_and_stopped_at_the_end(data_dir: Path, pg_user: str) -> None:
    async with open_database(None, data_dir, pg_user) as opened:
        assert opened.embedded
        async with opened.connection() as connection:
            assert await connection.fetchval("select count(*) from assets") == 0
        assert postmaster(data_dir) is not None
    assert postmaster(data_dir) is None


async def users_after(killed: int, database: Database, data_dir: Path) -> int:
    """Asks on, as a worker does, until a new server answers: the killed one's children still answer for a moment."""
    for _ in range(3000):
        with suppress(DatabaseUnavailable):
            async with database.connection() as connection:
                users = int(await connection.fetchval("select count(*) from auth.users"))
            if postmaster(data_dir) not in (None, killed):
                return users
        await asyncio.sleep(0.01)
    raise AssertionError("the server did not come back")


async def test_a_killed_embedded_server_comes_back_by_itself(data_dir: Path, pg_user: str) -> None:
    async with open_database(None, data_dir, pg_user) as opened:
        async with opened.connection() as connection:
            await connection.execute("insert into auth.users (email) values ('kept@example.org')")
        pid = postmaster(data_dir)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert await users_after(pid, opened, data_dir) == 1


async def test_an_embedded_server_that_was_stopped_comes_back_at_the_first_use(data_dir: Path, pg_user: str) -> None:
    async with open_database(None, data_dir, pg_user) as opened:
        await asyncio.to_thread(stop, data_dir)
        answers = await asyncio.gather(*(opened.fetchval("ping") for _ in range(8)))
        assert answers == [1] * 8


async def test_reopen_proves_that_the_database_answers(data_dir: Path, pg_user: str) -> None:
    async with open_database(None, data_dir, pg_user) as opened:
        await asyncio.to_thread(stop, data_dir)
        await opened.reopen()
        assert postmaster(data_dir) is not None


async def test_a_ctrl_c_during_the_first_start_leaves_nothing_running(data_dir: Path, pg_user: str) -> None:
    async def start() -> None:
        async with open_database(None, data_dir, pg_user):
            await asyncio.Event().wait()

    starting = asyncio.create_task(start())
    await asyncio.sleep(0)  # it has begun: the thread is starting the server
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert postmaster(data_dir) is None
