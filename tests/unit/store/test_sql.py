"""Statements are files; their names are known."""

import pytest

from kizu_fast.store.sql import names, statement


def test_a_statement_is_the_text_of_its_file_and_read_once() -> None:
    assert statement("ping").endswith("select 1\n")
    assert statement("ping") is statement("ping")


def test_every_name_has_a_statement() -> None:
    assert "ping" in names()
    assert all(statement(name).strip() for name in names())


@pytest.mark.parametrize("name", ["absent", "", "../sql", "ping.sql"])
def test_a_name_without_a_file_is_a_key_error(name: str) -> None:
    with pytest.raises(KeyError):
        statement(name)
