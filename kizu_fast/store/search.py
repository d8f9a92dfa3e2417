"""Search in PostgreSQL: exact, within one user's live assets, and seen with that user's eyes (row-level security and a filter)."""

import os
from collections.abc import Sequence
from uuid import UUID

import asyncpg
import numpy as np
from numpy.typing import NDArray

from kizu_fast.store import Card, Hit, Person, storable
from kizu_fast.store.checks import check_unit
from kizu_fast.store.pool import Database
from kizu_fast.store.rows import wall_time
from kizu_fast.store.texts import Read, best_read
from kizu_fast.wording import asked, forms

_CANDIDATES = 2000  # texts that are looked at closely


class Search:
    """SearchStore over PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def by_vector(self, user: UUID, space: str, vector: NDArray[np.float32], limit: int) -> list[Hit]:
        """Nearest neighbours by cosine similarity, best first: exact, never an index of neighbours. PermanentError unless vector is a unit."""
        check_unit(vector, "the query vector")
        rows = await self._database.read(user, "search_by_vector", vector, user, space, limit)
        return [Hit(row["asset_id"], row["score"]) for row in rows]

    async def by_objects(self, user: UUID, labels: Sequence[str], limit: int) -> list[Hit]:
        """Photos that show any of the labels, by the sum of the confidences, best first."""
        rows = await self._database.read(user, "search_by_objects", user, list(labels), limit)
        return [Hit(row["asset_id"], row["score"]) for row in rows]

    async def by_text(self, user: UUID, question: str, limit: int) -> list[Hit]:
        """Photos in which something of the question was read, by wording.said, best first, each with the lines that say it."""
        what = asked(await self._folded(question))
        patterns = [f"%{word}%" for word in what.long_words]  # letters and digits only: nothing to escape
        # a text that holds the phrase without spaces holds its long words as well
        pieces = [*what.pieces, *([what.squeezed] if what.squeezed and not patterns else [])]
        arguments = (user, list(what.words), patterns, pieces, _CANDIDATES)
        rows = await self._database.read(user, "search_by_text", *arguments) if what else []
        return best_read(what, map(_read, rows), limit)

    async def by_caption(self, user: UUID, question: str, limit: int) -> list[Hit]:
        """Photos whose caption says something of the question, best first, each with the caption."""
        what = asked(await self._folded(question))
        words = [form for word in what.words for form in forms(word)]
        rows = await self._database.read(user, "search_by_caption", user, words, list(what.pieces), _CANDIDATES) if what else []
        return best_read(what, map(_read, rows), limit, inflected=True)

    async def _folded(self, question: str) -> str:
        return str(await self._database.fetchval("fold_text", storable(question)))

    async def cards(self, user: UUID, asset_ids: Sequence[UUID]) -> dict[UUID, Card]:
        """What result rows show, by asset; forgotten and deleted ones are left out."""
        return {
            row["id"]: Card(
                asset_id=row["id"],
                path=None if row["path"] is None else os.fsdecode(row["path"]),
                taken_at=wall_time(row["taken_at_local"], row["utc_offset_minutes"]),
                objects=tuple(row["objects"]),
                faces=tuple(Person(cluster, name) for cluster, name in zip(row["clusters"] or (), row["names"] or (), strict=True)),
            )
            for row in await self._database.read(user, "cards", user, list(asset_ids))
        }


def _read(row: asyncpg.Record) -> Read:
    return Read(row["asset_id"], row["shown"], row["folded"])
