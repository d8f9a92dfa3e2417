"""Statements from files: one per file, named like the function that runs it. Never built from strings."""

from functools import cache
from importlib.resources import files


@cache
def statement(name: str) -> str:
    """The text of store/sql/<name>.sql. Raises KeyError for a name that has no file."""
    file = files(__package__).joinpath("sql", f"{name}.sql")
    if not file.is_file():
        raise KeyError(name)
    return file.read_text(encoding="utf-8")


def names() -> list[str]:
    """Every statement there is, for the test that prepares them all."""
    return sorted(file.name.removesuffix(".sql") for file in files(__package__).joinpath("sql").iterdir() if file.name.endswith(".sql"))
