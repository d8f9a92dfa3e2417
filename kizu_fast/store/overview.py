"""What `status --summary` adds to the counts."""

from typing import NamedTuple
from uuid import UUID

from kizu_fast.store.pool import Database


class Backlog(NamedTuple):
    """The queue of all users. oldest_s: how long the oldest job that is due has waited, in seconds."""

    pending: int
    processing: int
    oldest_s: float


class Overview:
    """Summaries of one user's library."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def objects_by_class(self, user: UUID) -> dict[str, int]:
        """Detections by label, most frequent first."""
        return {row["label"]: row["n"] for row in await self._database.fetch("objects_by_class", user)}

    async def backlog(self) -> Backlog:
        """Depth and age of the queue. Raises DatabaseUnavailable."""
        (row,) = await self._database.fetch("queue_backlog")
        return Backlog(int(row["pending"]), int(row["processing"]), float(row["oldest_s"]))

    async def last_errors(self, user: UUID, limit: int) -> list[str]:
        """The reasons of the photos whose newest job failed, newest first."""
        return [row["error"] for row in await self._database.fetch("last_errors", user, limit)]
