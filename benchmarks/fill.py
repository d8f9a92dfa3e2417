"""Rows in bulk: what a library of many photos looks like to the queue and to search, made by the database itself."""

from collections.abc import Sequence
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from benchmarks.workspace import OPERATIONS, sql
from kizu_fast.store.library import Library

_CHUNK = 10_000  # rows per statement: well below the statement timeout
DIM = 512


async def assets(library: Library, user: UUID, count: int, *, queued: bool) -> list[UUID]:
    """A user's new photos, with a pending job each if queued. Their ids in order."""
    for first in range(1, count + 1, _CHUNK):
        async with library.database.transaction() as connection:
            await connection.execute(sql("fill_begin"), user, ",".join(OPERATIONS))
            await connection.execute(sql("fill_assets"), user, first, min(first + _CHUNK - 1, count))
    if not queued:
        await library.database.pool.execute(sql("clear_queue"))
    await library.database.pool.execute(sql("settle_down"))
    return [row["id"] for row in await library.database.pool.fetch(sql("asset_ids"), user)]


def unit_vectors(count: int, seed: int, dim: int = DIM) -> NDArray[np.float32]:
    """(count, dim) rows of length 1 in random directions."""
    values = np.random.default_rng(seed).standard_normal((count, dim), np.float32)
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


async def embeddings(library: Library, user: UUID, ids: Sequence[UUID], space: str, seed: int) -> None:
    """A vector for each photo, written by one COPY per chunk."""
    vectors = unit_vectors(len(ids), seed)
    space_id = await library.spaces.ensure_space(space, DIM)
    records = [(asset, space_id, user, vector) for asset, vector in zip(ids, vectors, strict=True)]
    for first in range(0, len(records), _CHUNK):
        async with library.database.transaction() as connection:
            await connection.copy_records_to_table(
                "image_embeddings", records=records[first : first + _CHUNK], columns=("asset_id", "model_id", "user_id", "embedding")
            )
    await library.database.pool.execute(sql("settle_down"))
