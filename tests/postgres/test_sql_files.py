"""Every statement is understood by a migrated database, says who calls it, and is called."""

from pathlib import Path

import asyncpg
import pytest

from kizu_fast.store.pool import Database
from kizu_fast.store.sql import names, statement

STORE = Path(__file__).parents[2] / "kizu_fast" / "store"


async def test_every_statement_is_prepared_on_a_migrated_database(database: Database) -> None:
    refused = {}
    async with database.connection() as connection:
        for name in names():
            try:
                await connection.prepare(statement(name))
            except asyncpg.PostgresError as error:
                refused[name] = str(error)

    assert refused == {}


@pytest.mark.parametrize("name", names())
def test_a_statement_says_in_its_first_line_who_calls_it(name: str) -> None:
    first = statement(name).splitlines()[0]

    assert first.startswith("-- ")
    assert len(first) > len("-- called by")


def test_a_file_holds_one_statement() -> None:
    for name in names():
        code = "\n".join(line for line in statement(name).splitlines() if not line.lstrip().startswith("--"))
        assert ";" not in code.rstrip().removesuffix(";").replace("';'", ""), name


def test_every_statement_is_used_by_the_code_beside_it() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in STORE.glob("*.py"))

    assert [name for name in names() if f'"{name}"' not in code] == []


def test_an_unknown_statement_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="no_such_statement"):
        statement("no_such_statement")
