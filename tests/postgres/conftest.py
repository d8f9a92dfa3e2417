"""A real embedded server for the session, a fresh migrated database for each test.

The database is copied from a migrated template, which takes a few hundredths of a second where migrating takes half a second.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path

import asyncpg
import pytest
from running_server import Server

from kizu_fast.store.cluster import Cluster
from kizu_fast.store.embedded import EmbeddedServer, reset
from kizu_fast.store.installation import Installation, server_account
from kizu_fast.store.migrate import migrate
from kizu_fast.store.pool import Database, open_database

_TEMPLATE = "kizu_template"
_numbers = count(1)


@pytest.fixture(scope="session")
def pg_user() -> str:
    """Whom the server runs as when the tests run as root."""
    return "nobody"


def _new_folder() -> Path:
    """A folder that any account can enter, in memory if there is plenty: a busy disk would make every first start wait."""
    memory = Path("/dev/shm")  # noqa: S108
    roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 1 << 30
    folder = Path(tempfile.mkdtemp(prefix="kizu-test-", dir=memory if roomy else None))
    folder.chmod(0o755)
    return folder


@pytest.fixture
def data_dir(request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty KIZU_DATA_DIR that any account can enter; what was started there is stopped and removed."""
    folder = _new_folder()
    yield folder
    reset(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def server(pg_user: str) -> Iterator[Server]:
    """A running server with a migrated template database."""
    folder = _new_folder()
    try:
        embedded = EmbeddedServer.start(folder, pg_user)
        running = Server(embedded, folder)
        asyncio.run(_make_template(running))
        yield running
        embedded.leave()
    finally:
        reset(folder)
        shutil.rmtree(folder)


async def _make_template(server: Server) -> None:
    await server.run("alter system set fsync = off")  # nothing here outlives the machine
    await server.run("select pg_reload_conf()")
    await server.run(f"create database {_TEMPLATE}")
    await migrate(server.dsn_of(_TEMPLATE))


@pytest.fixture
async def empty_database(server: Server) -> AsyncIterator[str]:
    """The DSN of a new database without any table of ours."""
    name = f"empty_{next(_numbers)}"
    await server.run(f"create database {name}")
    yield server.dsn_of(name)
    await server.run(f"drop database {name} with (force)")


@pytest.fixture
async def database_dsn(server: Server) -> AsyncIterator[str]:
    """The DSN of a new, migrated, empty database."""
    name = f"test_{next(_numbers)}"
    await server.run(f"create database {name} template {_TEMPLATE}")
    # a database's settings are no part of its template
    await server.run(f'alter database {name} set search_path = "$user", public, extensions')
    yield server.dsn_of(name)
    await server.run(f"drop database {name} with (force)")


@pytest.fixture
async def database(database_dsn: str, pg_user: str) -> AsyncIterator[Database]:
    """An open, migrated, empty database."""
    async with open_database(database_dsn, Path("/nonexistent"), pg_user, "direct") as opened:
        yield opened


@pytest.fixture
def fetch(database: Database) -> Callable[..., Awaitable[list[asyncpg.Record]]]:
    """Runs any SQL on the test's database, as its owner."""

    async def run(sql: str, *arguments: object) -> list[asyncpg.Record]:
        async with database.connection() as connection:
            return await connection.fetch(sql, *arguments)

    return run


@pytest.fixture
def plain_server(data_dir: Path, pg_user: str) -> Iterator[str]:
    """The DSN of the operating system's own PostgreSQL 15, started apart. It has no pgvector."""
    system = Installation(Path("/usr/lib/postgresql/15"))
    if not system.program("initdb").is_file():
        pytest.skip("PostgreSQL 15 of the operating system is not installed")
    account = server_account(pg_user, data_dir / "none")
    cluster = Cluster(data_dir / "pg15", data_dir / "run", account)
    cluster.create(system, 15)
    cluster.start(system)
    yield f"postgresql://postgres@/postgres?host={cluster.run}"
    cluster.stop()
