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
from kizu_fast.store.portraits import Portraits
from kizu_fast.store.queue import Queue
from kizu_fast.store.results import Results
from kizu_fast.store.search import Search
from kizu_fast.store.spaces import Spaces
from kizu_fast.store.thumbnails import Thumbnails


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
    thumbnails: Thumbnails

    @classmethod
    def over(cls, database: Database, data_dir: Path) -> Self:
        """All parts over one database; thumbnails of faces lie in data_dir."""
        thumbnails = Thumbnails(database, Portraits(data_dir))
        return cls(
            database=database,
            queue=Queue(database),
            results=Results(database, thumbnails),
            spaces=Spaces(database),
            assets=Assets(database, thumbnails.portraits),
            search=Search(database),
            overview=Overview(database),
            coverage=Coverage(database),
            thumbnails=thumbnails,
        )

    async def versions(self) -> tuple[str, str]:
        """PostgreSQL's and pgvector's version. Raises DatabaseUnavailable."""
        [row] = await self.database.fetch("versions")
        return row["server"], row["pgvector"]


@asynccontextmanager
async def open_library(database_url: str | None, data_dir: Path, pg_user: str, pooler: Pooler) -> AsyncIterator[Library]:
    """Connect (starting and migrating the embedded server if there is no database_url) and leave in good order. Raises ConfigError, DatabaseUnavailable."""
    async with open_database(database_url, data_dir, pg_user, pooler) as database:
        yield Library.over(database, data_dir)
