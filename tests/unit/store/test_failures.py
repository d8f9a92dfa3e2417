"""The driver's exceptions become ours by class, in one line."""

import asyncpg
import pytest

from kizu_fast.errors import ConfigError, DatabaseUnavailable, PermanentError
from kizu_fast.store.failures import as_ours, one_line, translated

OUTAGES = [
    asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
    asyncpg.ConnectionFailureError("gone"),
    asyncpg.CannotConnectNowError("the database system is starting up"),
    asyncpg.AdminShutdownError("terminating connection due to administrator command"),
    asyncpg.CrashShutdownError("terminating connection because of crash of another server process"),
    asyncpg.TooManyConnectionsError("sorry, too many clients already"),
    asyncpg.DiskFullError("could not extend file: No space left on device"),
    asyncpg.OutOfMemoryError("out of memory"),
    asyncpg.DeadlockDetectedError("deadlock detected"),
    asyncpg.SerializationError("could not serialize access"),
    asyncpg.QueryCanceledError("canceling statement due to statement timeout"),
    asyncpg.LockNotAvailableError("canceling statement due to lock timeout"),
    asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction"),
    asyncpg.InvalidPasswordError("password authentication failed"),
    asyncpg.InvalidCatalogNameError("database does not exist"),
    asyncpg.InvalidCachedStatementError("cached statement plan is invalid"),
    asyncpg.InternalServerError("EMAXCONNSESSION max clients reached"),
    asyncpg.InterfaceError("connection is closed"),
    asyncpg.InternalClientError("unexpected"),
    ConnectionRefusedError(111, "Connection refused"),
    FileNotFoundError(2, "No such file or directory"),
    TimeoutError(),
]
REFUSALS = [
    asyncpg.UniqueViolationError("duplicate key value"),
    asyncpg.ForeignKeyViolationError("is not present in table"),
    asyncpg.CharacterNotInRepertoireError("invalid byte sequence"),
    asyncpg.NumericValueOutOfRangeError("integer out of range"),
    asyncpg.RaiseError("expected 512 dimensions"),
    asyncpg.DataError("invalid input for query argument $1"),
]
MISFITS = [
    asyncpg.UndefinedTableError('relation "assets" does not exist'),
    asyncpg.UndefinedFunctionError("function does not exist"),
    asyncpg.InsufficientPrivilegeError("permission denied for table assets"),
    asyncpg.InvalidSQLStatementNameError('prepared statement "__asyncpg_stmt_1__" does not exist'),
    asyncpg.DuplicatePreparedStatementError('prepared statement "__asyncpg_stmt_1__" already exists'),
]


def raised_for(error: Exception) -> BaseException:
    def fail() -> None:
        with translated():
            raise error

    with pytest.raises(Exception, match="database: ") as caught:
        fail()
    return caught.value


@pytest.mark.parametrize("error", OUTAGES, ids=lambda error: type(error).__name__)
def test_weather_is_an_outage(error: Exception) -> None:
    ours = raised_for(error)
    assert type(ours) is DatabaseUnavailable
    assert ours.__cause__ is error


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
def test_values_that_the_database_refuses_are_permanent(error: Exception) -> None:
    assert type(raised_for(error)) is PermanentError


@pytest.mark.parametrize("error", MISFITS, ids=lambda error: type(error).__name__)
def test_a_schema_or_a_pooler_that_does_not_fit_names_what_mends_it(error: Exception) -> None:
    ours = raised_for(error)
    assert type(ours) is ConfigError
    assert "kizu-fast db migrate" in str(ours) or "KIZU_DB_POOLER=transaction" in str(ours)


def test_errors_of_ours_and_bugs_pass_through() -> None:
    def fail(error: Exception) -> None:
        with translated():
            raise error

    for error in (PermanentError("mine"), ConfigError("mine"), KeyError("a bug"), ZeroDivisionError("a bug")):
        with pytest.raises(type(error), match=r"mine|bug") as caught:
            fail(error)
        assert caught.value is error


def test_details_and_hints_stay_out_of_the_line() -> None:
    error = asyncpg.UniqueViolationError("duplicate key value")
    error.detail, error.hint = "Key (id)=(1) already exists.", "none"
    assert str(as_ours(error)) == "database: duplicate key value"


def test_an_error_without_a_text_is_named_by_its_class() -> None:
    assert one_line(asyncpg.InternalClientError()) == "InternalClientError"
    assert one_line(TimeoutError()) == "no answer in time"
