"""DATABASE_URL: taken apart without ever repeating its password."""

import pytest

from kizu_fast.errors import ConfigError
from kizu_fast.store.pool import Pooler, address_of


def test_a_label_says_where_without_who_and_with_what() -> None:
    address = address_of("postgresql://ann:s3cret@db.example.org:6000/photos?sslmode=require", "auto")
    assert address.label == "db.example.org:6000/photos"
    assert not address.embedded


def test_a_socket_folder_is_a_place_too() -> None:
    assert address_of("postgres:///photos?host=/run/postgresql", "auto").label == "/run/postgresql:5432/photos"


@pytest.mark.parametrize(
    ("port", "pooler", "transactions_only"),
    [
        (5432, "auto", False),
        (6543, "auto", True),
        (6543, "direct", False),
        (6543, "session", False),
        (5432, "transaction", True),
        (5432, "direct", False),
    ],
)
def test_the_mode_follows_the_port_unless_it_is_given(port: int, pooler: Pooler, *, transactions_only: bool) -> None:
    assert address_of(f"postgresql://ann@db.example.org:{port}/db", pooler).transactions_only is transactions_only


MALFORMED = [
    "",
    "s3cret",
    "mysql://ann:s3cret@host/db",
    "ann:s3cret@host/db",
    "postgresql://ann:x@host:s3cret/db",
    "postgresql://ann:s3cret@[1/db",
    "host=a password=s3cret",
]


@pytest.mark.parametrize("dsn", MALFORMED)
def test_a_malformed_address_is_refused_without_repeating_it(dsn: str) -> None:
    with pytest.raises(ConfigError, match="DATABASE_URL: not of the form postgresql://") as caught:
        address_of(dsn, "auto")
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
