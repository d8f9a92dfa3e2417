"""Search in PostgreSQL: exact, within one user's live assets."""

import os
from collections.abc import Sequence
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from kizu_fast.store import Card, Hit
from kizu_fast.store.checks import check_unit
from kizu_fast.store.pool import Database
from kizu_fast.store.rows import wall_time


class Search:
    """SearchStore over PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def by_vector(self, user: UUID, space: str, vector: NDArray[np.float32], limit: int) -> list[Hit]:
        """Nearest neighbours by cosine similarity, best first: exact, never an index of neighbours. PermanentError unless vector is a unit."""
        check_unit(vector, "the query vector")
        rows = await self._database.fetch("search_by_vector", vector, user, space, limit)
        return [Hit(row["asset_id"], row["score"]) for row in rows]

    async def by_objects(self, user: UUID, labels: Sequence[str], limit: int) -> list[Hit]:
        """Photos that show any of the labels, by the sum of the confidences, best first."""
        rows = await self._database.fetch("search_by_objects", user, list(labels), limit)
        return [Hit(row["asset_id"], row["score"]) for row in rows]

    async def cards(self, user: UUID, asset_ids: Sequence[UUID]) -> dict[UUID, Card]:
        """What result rows show, by asset; forgotten and deleted ones are left out."""
        return {
            row["id"]: Card(
                asset_id=row["id"],
                path=None if row["path"] is None else os.fsdecode(row["path"]),
                taken_at=wall_time(row["taken_at_local"], row["utc_offset_minutes"]),
                objects=tuple(row["objects"]),
                text=row["text"],
            )
            for row in await self._database.fetch("cards", user, list(asset_ids))
        }
