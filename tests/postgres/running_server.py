"""The session's server as the tests see it."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from kizu_fast.store.embedded import EmbeddedServer


@dataclass(frozen=True)
class Server:
    """The session's server. dsn names its maintenance database."""

    embedded: EmbeddedServer
    data_dir: Path

    @property
    def dsn(self) -> str:
        return self.embedded.dsn

    def dsn_of(self, database: str) -> str:
        return urlunsplit(urlsplit(self.dsn)._replace(path=f"/{database}", netloc="postgres@"))

    async def run(self, sql: str, *arguments: object, database: str = "postgres") -> list[asyncpg.Record]:
        """One statement as the superuser, outside any pool."""
        connection = await asyncpg.connect(self.dsn_of(database))
        try:
            return await connection.fetch(sql, *arguments)
        finally:
            await connection.close()
