"""The one place where the driver's exceptions become ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from kizu_fast.errors import ConfigError, DatabaseUnavailable, KizuError, PermanentError

# SQLSTATE classes (the first two characters) of a server that is away, restarting, full or broke off: nothing is wrong with our request.
_OUTAGE_CLASSES = frozenset({"08", "28", "40", "53", "57", "58", "XX"})
_OUTAGE_STATES = frozenset({"3D000", "25006", "25P03", "55P03"})  # no such database, read-only, idle too long, lock wait
_POOLER_STATES = frozenset({"26000", "42P05"})  # prepared statement unknown, or there already
_SCHEMA_CLASSES = frozenset({"42", "0A"})


@contextmanager
def translated() -> Iterator[None]:
    """Database calls only go inside: OSError and TimeoutError are taken for the connection's.

    Raises DatabaseUnavailable (outage), ConfigError (schema, rights, pooler), PermanentError (the values were refused).
    """
    try:
        yield
    except (asyncpg.DataError, OverflowError) as error:  # a value that the driver cannot encode (COPY: bare); an InterfaceError too, hence first
        raise PermanentError(f"database: {one_line(error)}") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError) as error:
        raise as_ours(error) from error


def as_ours(error: BaseException) -> KizuError:
    """What an exception of the driver or of the socket means."""
    state = getattr(error, "sqlstate", None)
    if state is None or isinstance(error, asyncpg.InvalidCachedStatementError) or state[:2] in _OUTAGE_CLASSES or state in _OUTAGE_STATES:
        return DatabaseUnavailable(f"database: {one_line(error)}")
    if state in _POOLER_STATES:
        return ConfigError(f"database: {one_line(error)}; a transaction pooler stands before it: set KIZU_DB_POOLER=transaction")
    if state[:2] in _SCHEMA_CLASSES:
        return ConfigError(f"database: {one_line(error)}; is it this version's schema? kizu-fast db migrate")
    return PermanentError(f"database: {one_line(error)}")


def one_line(error: BaseException) -> str:
    """Server messages may have details in further lines; a timeout has no text at all."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (str(error).splitlines() or [type(error).__name__])[0]
