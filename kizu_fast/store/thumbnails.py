"""Which thumbnails a face has, and the removal of those that none has any more.

A file is written before the row that names it is committed, and deleted after the row is gone; both under the lock of the asset, so that no process
deletes what another is about to name. Only a process that dies in between leaves a file without a row: sweep() finds it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from uuid import UUID

from kizu_fast.errors import ConfigError, DatabaseUnavailable
from kizu_fast.store.pool import Database
from kizu_fast.store.portraits import Portraits
from kizu_fast.store.sql import statement

_CHUNK = 500

PhotoKey = tuple[UUID, UUID]  # user, asset
_Paths = Mapping[PhotoKey, set[str]]


class Thumbnails:
    """Over PostgreSQL and one KIZU_DATA_DIR."""

    def __init__(self, database: Database, portraits: Portraits) -> None:
        self._database, self.portraits = database, portraits

    async def tidy_after(self, photos: Sequence[PhotoKey]) -> None:
        """For photos whose faces were just committed: most have no other file than theirs. Best effort, since the next sweep does it again."""
        with suppress(DatabaseUnavailable, ConfigError):
            await self._tidy_suspicious(photos)

    async def sweep(self) -> int:
        """Delete what no face has, of photos forgotten elsewhere included. How many files went.

        Does nothing in a folder that another database uses. Raises DatabaseUnavailable, ConfigError.
        """
        photos = await asyncio.to_thread(lambda: list(self.portraits.photos()))
        if not photos or not await asyncio.to_thread(self.portraits.claimed_by, await self._database.fetchval("database_key")):
            return 0
        return sum([await self._tidy_suspicious(photos[start : start + _CHUNK]) for start in range(0, len(photos), _CHUNK)])

    async def _tidy_suspicious(self, photos: Sequence[PhotoKey]) -> int:
        """Without a lock first: nearly always there is nothing to do."""
        several = await asyncio.to_thread(lambda: [photo for photo in photos if self.portraits.of(*photo)])
        if not several:
            return 0
        wanted = _by_photo(await self._database.fetch("thumbnail_paths", [asset for _, asset in several]))
        suspicious = await asyncio.to_thread(lambda: [photo for photo in several if self.portraits.superfluous(*photo, wanted.get(photo, set()))])
        return await self._tidy(suspicious) if suspicious else 0

    async def _tidy(self, photos: Sequence[PhotoKey]) -> int:
        async with self._database.transaction() as connection:
            assets = [asset for _, asset in photos]
            await connection.execute(statement("lock_assets"), assets)
            wanted = _by_photo(await connection.fetch(statement("thumbnail_paths"), assets))
            return await asyncio.to_thread(lambda: sum(self.portraits.keep_only(*photo, wanted.get(photo, set())) for photo in photos))


def _by_photo(rows: Sequence[Mapping[str, object]]) -> _Paths:
    found: defaultdict[PhotoKey, set[str]] = defaultdict(set)
    for row in rows:
        found[UUID(str(row["user_id"])), UUID(str(row["asset_id"]))].add(str(row["thumbnail_path"]))
    return found
