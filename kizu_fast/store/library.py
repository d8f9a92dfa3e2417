"""The opened database with everything that speaks to it, as one value."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from kizu_fast.store.assets import Assets
from kizu_fast.store.coverage import Coverage
from kizu_fast.store.overview import Overview
from kizu_fast.store.pool import Database, Pooler, open_database
from kizu_fast.store.queue import Queue
from kizu_fast.store.results import Results
from kizu_fast.store.search import Search
from kizu_fast.store.spaces import Spaces


@dataclass(frozen=True, slots=True)
class Library:
    """One user's photos are reached through these; every call that reads takes the user."""

    database: Database
    queue: Queue
    results: Results
    spaces: Spaces
    assets: Assets
    search: Search
    overview: Overview
    coverage: Coverage

    @classmethod
    def over(cls, database: Database) -> Self:
        """All parts over one database."""
        parts = Queue(database), Results(database), Spaces(database), Assets(database), Search(database), Overview(database), Coverage(database)
        return cls(database, *parts)

    async def versions(self) -> tuple[str, str]:
        """PostgreSQL's and pgvector's version. Raises DatabaseUnavailable."""
        [row] = await self.database.fetch("versions")
        return row["server"], row["pgvector"]


@asynccontextmanager
async def open_library(database_url: str | None, data_dir: Path, pg_user: str, pooler: Pooler) -> AsyncIterator[Library]:
    """Connect (starting and migrating the embedded server if there is no database_url) and leave in good order. Raises ConfigError, DatabaseUnavailable."""
    async with open_database(database_url, data_dir, pg_user, pooler) as database:
        yield Library.over(database)
