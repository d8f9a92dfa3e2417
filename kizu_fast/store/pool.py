"""The database as the rest of the store sees it: one pool, errors of ours, and an embedded server that comes back when killed."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import asyncpg
import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector

from kizu_fast.errors import ConfigError, KizuError
from kizu_fast.store.embedded import EmbeddedServer
from kizu_fast.store.failures import as_ours, one_line, translated
from kizu_fast.store.migrate import migrate
from kizu_fast.store.sql import statement

Pooler = Literal["auto", "direct", "session", "transaction"]

_TRANSACTION_PORT = 6543  # Supabase's pooler in transaction mode
_CONNECT_S = 10.0
_ACQUIRE_S = 10.0
_COMMAND_S = 30.0
_CLOSE_S = 5.0
_IDLE_S = 60.0  # below the idle cut of the usual poolers
_SESSION: Mapping[str, str] = {"jit": "off", "idle_in_transaction_session_timeout": "10s", "statement_timeout": "30s"}


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is and how to speak to it. label is for messages: without the password."""

    dsn: str
    label: str
    transactions_only: bool = False  # a transaction pooler stands before it: no LISTEN, no session settings, no prepared statements
    embedded: bool = False


def address_of(dsn: str, pooler: Pooler) -> Address:
    """Raises ConfigError for a malformed DSN; the message repeats nothing of it, since anything in it may be the password."""
    try:
        parts = urlsplit(dsn)
        port = parts.port or 5432
        valid = parts.scheme in ("postgresql", "postgres")
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError("DATABASE_URL: not of the form postgresql://USER:PASSWORD@HOST:5432/DATABASE (special characters as %XX)") from None
    host = parts.hostname or (parse_qs(parts.query).get("host") or ["localhost"])[0]
    transactions_only = pooler == "transaction" or (pooler == "auto" and port == _TRANSACTION_PORT)
    return Address(dsn, f"{host}:{port}{parts.path or '/'}", transactions_only)


class Database:
    """An open pool. Everything that leaves it is of ours: DatabaseUnavailable, ConfigError, PermanentError."""

    def __init__(self, address: Address, pool: asyncpg.Pool, server: EmbeddedServer | None, acquire_s: float = _ACQUIRE_S) -> None:
        self._address, self._server, self._acquire_s = address, server, acquire_s
        self.pool = pool
        self._reviving = asyncio.Lock()

    @property
    def address(self) -> Address:
        return self._address

    @property
    def embedded(self) -> bool:
        return self._server is not None

    @property
    def listens(self) -> bool:
        """False behind a transaction pooler, where LISTEN is accepted and nothing ever delivered."""
        return not self._address.transactions_only

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of the pool for statements that commit one by one; behind a transaction pooler one transaction."""
        if self._address.transactions_only:
            async with self.transaction() as connection:
                yield connection
            return
        async with self._acquired() as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[asyncpg.Connection]:
        """One transaction: commits at the end, rolls back on any exception. Only database calls belong inside (see translated)."""
        async with self._acquired() as connection, connection.transaction():
            yield connection

    async def fetch(self, name: str, *arguments: object) -> list[asyncpg.Record]:
        """The rows of store/sql/<name>.sql, in a transaction of its own."""
        async with self.connection() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(statement(name), *arguments)
            return rows

    async def read(self, user: UUID, name: str, *arguments: object) -> list[asyncpg.Record]:
        """The rows of store/sql/<name>.sql as that user may see them: row-level security applies, whatever the statement forgets."""
        async with self.transaction() as connection:
            await connection.execute(statement("act_as_user"), user)
            rows: list[asyncpg.Record] = await connection.fetch(statement(name), *arguments)
            return rows

    async def fetchval(self, name: str, *arguments: object) -> Any:  # of whatever type the statement has
        """The first column of the first row, None if there is none."""
        async with self.connection() as connection:
            return await connection.fetchval(statement(name), *arguments)

    async def connect(self) -> asyncpg.Connection:
        """A connection outside the pool, for LISTEN. The caller closes it. Raises DatabaseUnavailable."""
        with translated():
            try:
                return await asyncpg.connect(**_connection_settings(self._address, "kizu_fast listen"))
            except OSError:
                await self._revive()
                return await asyncpg.connect(**_connection_settings(self._address, "kizu_fast listen"))

    async def reopen(self) -> None:
        """Proves that the database answers, after an outage; starts a killed embedded server. Raises DatabaseUnavailable."""
        await self._revive()
        await self.pool.expire_connections()
        await self.fetchval("ping")

    async def close(self) -> None:
        """Closes the pool, by force if a connection does not end in time."""
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self.pool.close()
        except (TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            self.pool.terminate()

    @asynccontextmanager
    async def _acquired(self) -> AsyncIterator[asyncpg.Connection]:
        with translated():
            connection = await self._acquire()
            try:
                yield connection
            finally:
                await self.pool.release(connection)

    async def _acquire(self) -> asyncpg.Connection:
        try:
            return await self.pool.acquire(timeout=self._acquire_s)
        except (OSError, asyncpg.CannotConnectNowError) as error:  # TimeoutError is an OSError too
            if self._server is None or isinstance(error, TimeoutError):
                raise
        await self._revive()
        return await self.pool.acquire(timeout=self._acquire_s)

    async def _revive(self) -> None:
        """Makes sure that the embedded server runs. One at a time: the others find it running."""
        if self._server is None:
            return
        async with self._reviving:
            await asyncio.to_thread(self._server.ensure_running)


@asynccontextmanager
async def open_database(
    database_url: str | None, data_dir: Path, pg_user: str, pooler: Pooler = "auto", *, max_size: int = 4, acquire_s: float = _ACQUIRE_S
) -> AsyncIterator[Database]:
    """The database of DATABASE_URL, or the embedded one of data_dir: migrated, its pool open.

    acquire_s: patience with a pool whose connections are all in use; then DatabaseUnavailable.
    Raises ConfigError if it cannot be used, DatabaseUnavailable if it only refuses for now (starting up, full).
    """
    if database_url is not None:
        async with _opened(address_of(database_url, pooler), None, max_size, acquire_s) as database:
            yield database
        return
    server = await _join(data_dir, pg_user)
    try:
        address = Address(server.dsn, f"the embedded server of {data_dir}", embedded=True)
        async with _opened(address, server, max_size, acquire_s) as database:
            yield database
    finally:
        server.leave()  # in this thread: a cancelled task must not leave it half done


@asynccontextmanager
async def _opened(address: Address, server: EmbeddedServer | None, max_size: int, acquire_s: float) -> AsyncIterator[Database]:
    database = Database(address, await _first_pool(address, max_size), server, acquire_s)
    try:
        yield database
    finally:
        await database.close()


async def _join(data_dir: Path, pg_user: str) -> EmbeddedServer:
    """Starts or joins the embedded server in a thread. A Ctrl-C meanwhile waits for it, so that nothing is left running."""
    starting = asyncio.ensure_future(asyncio.to_thread(EmbeddedServer.start, data_dir, pg_user))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        with suppress(KizuError):
            (await starting).leave()
        raise


async def _first_pool(address: Address, max_size: int) -> asyncpg.Pool:
    """Migrates and opens the pool, in this order: the migration sets the search path of new connections and brings the vector types."""
    try:
        connection = await asyncpg.connect(address.dsn, timeout=_CONNECT_S, statement_cache_size=0)
        try:
            await migrate(connection)
            async with connection.transaction():
                schema = await connection.fetchval(statement("vector_schema"))
        finally:
            await connection.close(timeout=_CLOSE_S)
        return await open_pool(address, schema, max_size=max_size)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, ValueError) as error:
        raise _first_failure(address, error) from None  # the driver's own text may quote the DSN


def _first_failure(address: Address, error: Exception) -> KizuError:
    """At the start a given address that cannot be reached is a matter of configuration; a server that is full or starting up is not."""
    state = getattr(error, "sqlstate", None)
    if address.embedded or (state is not None and state[:2] not in ("08", "28", "3D")):
        return as_ours(error)
    malformed = isinstance(error, ValueError) and not isinstance(error, asyncpg.InterfaceError)
    reason = "malformed address" if malformed else one_line(error)
    return ConfigError(f"DATABASE_URL: cannot open {address.label}: {reason}; correct it, or unset it to use the embedded server")


async def open_pool(address: Address, vector_schema: str, *, max_size: int = 4) -> asyncpg.Pool:
    """A pool whose connections know halfvec. One connection is opened now. The driver's exceptions pass through."""

    async def teach(connection: asyncpg.Connection) -> None:
        async with connection.transaction():  # behind a transaction pooler two statements need not meet the same server
            await connection.set_type_codec("halfvec", schema=vector_schema, encoder=_to_binary, decoder=HalfVector.from_binary, format="binary")

    return await asyncpg.create_pool(
        min_size=1,
        max_size=max_size,
        max_inactive_connection_lifetime=_IDLE_S,
        init=teach,
        reset=_no_reset,
        **_connection_settings(address, "kizu_fast", vector_schema),
    )


def _to_binary(vector: HalfVector | NDArray[np.floating] | list[float]) -> bytes:
    binary: bytes = (vector if isinstance(vector, HalfVector) else HalfVector(vector)).to_binary()
    return binary


async def _no_reset(_connection: asyncpg.Connection) -> None:
    """Nothing here changes a session (SET LOCAL only), so returning a connection costs no round trip."""


def _connection_settings(address: Address, name: str, vector_schema: str = "extensions") -> dict[str, Any]:
    """Keywords for asyncpg. The search path is the one that the migration gives the database: a session pooler may hold older connections."""
    settings: dict[str, Any] = {"dsn": address.dsn, "timeout": _CONNECT_S, "command_timeout": _COMMAND_S}
    if address.transactions_only:
        return {**settings, "statement_cache_size": 0}
    path = f'"$user", public, extensions, "{vector_schema}"'
    return {**settings, "server_settings": {**_SESSION, "application_name": name, "search_path": path}}
