"""Forward-only migrations: migrations/NNN_name.sql, each in one transaction, remembered by hash in public.kizu_migrations.

Transactions and pg_advisory_xact_lock only: it works through a transaction pooler, and of several processes that start at once one applies.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import structlog

from kizu_fast.errors import ConfigError
from kizu_fast.store.failures import one_line
from kizu_fast.store.sql import statement

FOLDER = Path(__file__).resolve().parents[2] / "migrations"

_LOCK = 0x6B697A75  # 'kizu'
_OLDEST_SERVER = 150000
_OLDEST_VECTOR = (0, 8, 0)
_SAFE_VECTOR = (0, 8, 4)
_NO_FAULT_OF_THE_FILE = frozenset({"08", "40", "53", "57", "58"})  # SQLSTATE classes: the server went away, is full, restarts
_TRANSACTION = re.compile(r"^(begin|commit);[ \t]*$", re.MULTILINE | re.IGNORECASE)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. sha256 is over its bytes: a comment counts."""

    version: int
    name: str
    sql: str
    sha256: str


@dataclass(frozen=True, slots=True)
class _Server:
    version: int
    version_text: str
    vector: str | None  # as installed in this database, else as available
    ctype: str


async def migrate(database: str | asyncpg.Connection, folder: Path = FOLDER) -> list[str]:
    """Brings the database up to date. Returns the names that were applied now.

    With nothing to do it costs one query. Raises ConfigError on a changed or missing file, on a database that is newer than this
    program, on a server or a pgvector that is too old. The driver's exceptions on a lost connection pass through.
    """
    if isinstance(database, str):
        connection = await asyncpg.connect(database, timeout=10, statement_cache_size=0)
        try:
            return await migrate(connection, folder)
        finally:
            await connection.close()
    files = read_migrations(folder)
    applied = await _applied(database)
    todo = [file for file in files if file.version not in applied]
    _check_drift(files, applied)
    if todo:
        await _check_server(database)
    return [file.name for file in todo if await _apply(database, file)]


def read_migrations(folder: Path) -> list[Migration]:
    """In order of their numbers. Raises ConfigError for a folder without any."""
    paths = sorted(folder.glob("[0-9][0-9][0-9]_*.sql"))
    if not paths:
        raise ConfigError(f"{folder}: no migrations there; install kizu-fast from its source folder")
    return [_read(path) for path in paths]


def _read(path: Path) -> Migration:
    content = path.read_bytes()
    sql = _TRANSACTION.sub("", content.decode())
    return Migration(int(path.name[:3]), path.stem, sql, hashlib.sha256(content).hexdigest())


async def _applied(connection: asyncpg.Connection) -> dict[int, tuple[str, str]]:
    """What the database has: (name, sha256) by version."""
    try:
        async with connection.transaction():
            rows = await connection.fetch(statement("migrations_applied"))
    except asyncpg.UndefinedTableError:
        return {}
    return {row["version"]: (row["name"], row["sha256"]) for row in rows}


def _check_drift(files: Sequence[Migration], applied: dict[int, tuple[str, str]]) -> None:
    ours = {file.version: file for file in files}
    for version, (name, sha256) in applied.items():
        file = ours.get(version)
        if file is None:
            raise ConfigError(
                f"the database has migration {name}, which this program does not know: it is newer; update kizu-fast (git pull && make setup)"
            )
        if file.sha256 != sha256:
            raise ConfigError(
                f"migration {file.name} was changed after it had been applied; restore the file (git checkout migrations), changes go in a new one"
            )


async def _check_server(connection: asyncpg.Connection) -> None:
    async with connection.transaction():
        server = _Server(*await connection.fetchrow(statement("migrations_server")))
    if server.version < _OLDEST_SERVER:
        raise ConfigError(
            f"PostgreSQL 15 or newer is needed, the server is {server.version_text}; upgrade it, or unset DATABASE_URL to use the embedded server"
        )
    if server.vector is None:
        raise ConfigError(
            "pgvector is not installed on the server; install it (Debian: apt install postgresql-NN-pgvector, NN the server's version), "
            "or unset DATABASE_URL to use the embedded server"
        )
    vector = tuple(int(part) for part in re.findall(r"\d+", server.vector)[:3])
    if vector < _OLDEST_VECTOR:
        raise ConfigError(
            f"pgvector 0.8.0 or newer is needed, the server has {server.vector}; install a newer one and run ALTER EXTENSION vector UPDATE"
        )
    if vector < _SAFE_VECTOR:
        log.warning("pgvector before 0.8.4 has known faults in its index builds; update it before kizu-fast db index", version=server.vector)
    if server.ctype in ("C", "POSIX"):
        log.warning("substring search finds no accents, no Chinese and no Japanese: the database has LC_CTYPE=C; make one with C.UTF-8")


async def _apply(connection: asyncpg.Connection, file: Migration) -> bool:
    """False if another process was faster. Raises ConfigError with the server's reason; nothing of the file is left then."""
    try:
        async with connection.transaction():
            done = await _apply_once(connection, file)
    except asyncpg.PostgresError as error:
        if error.sqlstate is None or error.sqlstate[:2] in _NO_FAULT_OF_THE_FILE:
            raise
        raise ConfigError(f"migration {file.name}: {one_line(error)}; nothing was changed, the database needs a role that owns it") from error
    if done:
        log.info("migrated", name=file.name)
    return done


async def _apply_once(connection: asyncpg.Connection, file: Migration) -> bool:
    await connection.execute(statement("migrations_lock"), _LOCK)
    await connection.execute(statement("migrations_table"))
    await connection.execute(statement("migrations_guard"))
    applied = await _applied(connection)
    if file.version in applied:
        _check_drift([file], {file.version: applied[file.version]})
        return False
    await connection.execute(file.sql)
    await connection.execute(statement("migrations_add"), file.version, file.name, file.sha256)
    return True
