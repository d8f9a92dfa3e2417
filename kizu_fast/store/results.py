"""Results in PostgreSQL: written and completed in one transaction, fenced by the lease token, replaced and never appended."""

import json
from collections.abc import Sequence
from uuid import UUID

import asyncpg

from kizu_fast.domain import Job, PhotoResult
from kizu_fast.errors import KizuError, PermanentError
from kizu_fast.store import Settled
from kizu_fast.store.checks import name_of
from kizu_fast.store.people import Keeping, replace_faces
from kizu_fast.store.pool import Database
from kizu_fast.store.queue import wanted
from kizu_fast.store.rows import ResultRows, as_json, asset_record, rows_of
from kizu_fast.store.spaces import Spaces
from kizu_fast.store.sql import statement
from kizu_fast.store.thumbnails import Thumbnails

_Known = dict[UUID, asyncpg.Record]


class Results:
    """ResultStore over PostgreSQL."""

    def __init__(self, database: Database, thumbnails: Thumbnails | None = None) -> None:
        """thumbnails None: faces are stored without."""
        self._database, self._thumbnails = database, thumbnails
        self._spaces = Spaces(database)
        self._space_ids: dict[tuple[str, int], int] = {}

    async def settle(self, batch: Sequence[tuple[Job, PhotoResult]]) -> Settled:
        """One transaction for the group; rows that a check or the database refuses fail alone.

        Raises DatabaseUnavailable, also when thumbnails cannot be written: then nothing is written, or everything is and the next settle finds the
        leases gone.
        """
        rows, refused = [], Settled()
        for job, result in batch:
            try:
                rows.append(rows_of(job, result))
            except PermanentError as error:
                refused = merged(refused, Settled(failed={job.id: error}))
        await self._learn_spaces(rows)
        settled = await self._settle(rows)
        if self._thumbnails is not None:
            await self._thumbnails.tidy_after([(row.job.asset.user_id, row.job.asset.id) for row in rows if row.faces is not None])
        return merged(refused, settled)

    async def _learn_spaces(self, rows: Sequence[ResultRows]) -> None:
        images = {(row.embedding.space, len(row.embedding.vector)) for row in rows if row.embedding is not None}
        faces = {(row.result.faces.space, len(face.vector)) for row in rows if row.result.faces is not None for face in row.faces or ()}
        for kind, found in (("image", images), ("face", faces)):
            for name, dim in found - self._space_ids.keys():
                self._space_ids[name, dim] = await self._spaces.ensure_space(name, dim, kind)

    async def _settle(self, rows: Sequence[ResultRows]) -> Settled:
        """Halves the group until the row that the database refuses stands alone."""
        if not rows:
            return Settled()
        try:
            async with self._database.transaction() as connection:
                return await self._write(connection, rows)
        except PermanentError as error:
            middle = len(rows) // 2
            if middle == 0:
                return Settled(failed={rows[0].job.id: PermanentError(f"{name_of(rows[0].job)}: {error}")})
        return merged(await self._settle(rows[:middle]), await self._settle(rows[middle:]))

    async def _write(self, connection: asyncpg.Connection, rows: Sequence[ResultRows]) -> Settled:
        await connection.execute(statement("lock_assets"), [row.job.asset.id for row in rows])
        keys = [row.job.id for row in rows], [row.job.lease_token for row in rows]
        owned = {found["id"] for found in await connection.fetch(statement("lock_claimed"), *keys)}
        mine = [row for row in rows if row.job.id in owned]
        known = await _compare_bytes(connection, mine)
        failed: dict[UUID, KizuError] = {row.job.id: _taken(row) for row in mine if row.job.asset.id in known and known[row.job.asset.id]["taken"]}
        mine = [row for row in mine if row.job.id not in failed]
        await _start_over(connection, mine, known)
        await _update_files(connection, mine)
        await self._replace_embeddings(connection, mine)
        await _replace_objects(connection, mine)
        renewed = {asset for asset, found in known.items() if found["changed"]}
        portraits = None if self._thumbnails is None else self._thumbnails.portraits
        await replace_faces(connection, mine, Keeping(self._space_ids, portraits, renewed))
        await _replace_texts(connection, mine)
        await _replace_captions(connection, mine)
        await _put_outcomes(connection, mine)
        await _queue_postponed(connection, mine)
        failed |= {row.job.id: row.failure for row in mine if row.failure is not None}
        completed = await _complete(connection, [row for row in mine if row.failure is None])
        return Settled(completed, failed, frozenset(row.job.id for row in rows) - owned)

    async def _replace_embeddings(self, connection: asyncpg.Connection, rows: Sequence[ResultRows]) -> None:
        records = [
            (row.job.asset.id, self._space_ids[row.embedding.space, len(row.embedding.vector)], row.job.asset.user_id, row.embedding.vector)
            for row in rows
            if row.embedding is not None
        ]
        if records:
            await connection.execute(statement("clear_embeddings"), [record[0] for record in records], [record[1] for record in records])
            columns = ("asset_id", "model_id", "user_id", "embedding")
            await connection.copy_records_to_table("image_embeddings", records=records, columns=columns)


async def _compare_bytes(connection: asyncpg.Connection, rows: Sequence[ResultRows]) -> _Known:
    """By asset: whether its bytes changed since it was registered, and whether another live asset of the user has them."""
    records = [{"id": str(row.job.asset.id), "sha256": row.result.sha256.hex()} for row in rows if row.result.sha256 is not None]
    if not records:
        return {}
    return {found["id"]: found for found in await connection.fetch(statement("compare_bytes"), as_json(records))}


def _taken(row: ResultRows) -> PermanentError:
    return PermanentError(f"{name_of(row.job)} changed: its bytes are now those of another photo of this library; run kizu-fast ingest on it again")


async def _start_over(connection: asyncpg.Connection, rows: Sequence[ResultRows], known: _Known) -> None:
    """Other bytes than were registered: whatever was found on the old ones goes, and operations that this job does not redo are queued."""
    changed = [row for row in rows if row.job.asset.id in known and known[row.job.asset.id]["changed"]]
    for user in {row.job.asset.user_id for row in changed}:
        assets = {row.job.asset.id: row for row in changed if row.job.asset.user_id == user}
        await connection.execute(statement("clear_results"), user, list(assets))
        rest = {asset: set(known[asset]["outcomes"]) - set(row.job.operations) for asset, row in assets.items()}
        await connection.fetch(statement("enqueue"), user, *wanted(rest), 5)


async def _update_files(connection: asyncpg.Connection, rows: Sequence[ResultRows]) -> None:
    if not rows:
        return
    records = [asset_record(row.job.asset.id, row.result.facts, row.result.byte_size, row.result.sha256) for row in rows]
    await connection.execute(statement("update_assets"), as_json(records))
    read = [(row.job.asset, row.result) for row in rows if row.job.asset.path]
    await connection.execute(
        statement("update_paths"),
        [asset.user_id for asset, _ in read],
        [asset.path for asset, _ in read],
        [asset.id for asset, _ in read],
        [result.byte_size for _, result in read],
        [result.mtime_ns for _, result in read],
        [result.sha256 for _, result in read],
    )


async def _replace_objects(connection: asyncpg.Connection, rows: Sequence[ResultRows]) -> None:
    having = [row for row in rows if row.objects is not None]
    if not having:
        return
    await connection.execute(statement("clear_objects"), [row.job.asset.id for row in having])
    records = [
        (row.job.asset.id, row.job.asset.user_id, found.model, found.class_id, found.label, found.confidence, list(found.bbox))
        for row in having
        for found in row.objects or ()
    ]
    columns = ("asset_id", "user_id", "model", "class_id", "label", "confidence", "bbox")
    await connection.copy_records_to_table("detected_objects", records=records, columns=columns)


async def _replace_texts(connection: asyncpg.Connection, rows: Sequence[ResultRows]) -> None:
    having = [(row.job.asset, row.texts) for row in rows if row.texts is not None]
    if not having:
        return
    await connection.execute(statement("clear_texts"), [asset.id for asset, _ in having])
    records = [
        (asset.id, text.model, asset.user_id, text.full_text, as_json([line.as_json() for line in text.lines]), text.languages, text.confidence)
        for asset, text in having
        if text.lines
    ]
    columns = ("asset_id", "model", "user_id", "full_text", "lines", "languages", "confidence")
    await connection.copy_records_to_table("ocr_texts", records=records, columns=columns)


async def _replace_captions(connection: asyncpg.Connection, rows: Sequence[ResultRows]) -> None:
    having = [(row.job.asset, row.caption) for row in rows if row.caption is not None]
    if not having:
        return
    await connection.execute(statement("clear_captions"), [asset.id for asset, _ in having])
    records = [(asset.id, found.model, asset.user_id, found.caption) for asset, found in having if found.caption]
    await connection.copy_records_to_table("captions", records=records, columns=("asset_id", "model", "user_id", "caption"))


async def _put_outcomes(connection: asyncpg.Connection, rows: Sequence[ResultRows]) -> None:
    pairs = [(row.job.asset, outcome) for row in rows for outcome in row.outcomes]
    if pairs:
        await connection.execute(
            statement("put_outcomes"),
            [asset.id for asset, _ in pairs],
            [outcome.operation for _, outcome in pairs],
            [outcome.model for _, outcome in pairs],
            [asset.user_id for asset, _ in pairs],
            [outcome.outcome for _, outcome in pairs],
            [outcome.items for _, outcome in pairs],
            [outcome.error for _, outcome in pairs],
        )


async def _queue_postponed(connection: asyncpg.Connection, rows: Sequence[ResultRows]) -> None:
    """Slow operations become jobs of their own with the commit that stores the others' results: neither is lost, whoever dies."""
    for user in {row.job.asset.user_id for row in rows if row.result.postponed}:
        rest = {row.job.asset.id: row.result.postponed for row in rows if row.result.postponed and row.job.asset.user_id == user}
        await connection.fetch(statement("enqueue"), user, *wanted(rest), 5)


async def _complete(connection: asyncpg.Connection, rows: Sequence[ResultRows]) -> frozenset[UUID]:
    keys = [row.job.id for row in rows], [row.job.lease_token for row in rows]
    summaries = [json.dumps(row.summary) for row in rows]
    return frozenset(found["id"] for found in await connection.fetch(statement("complete"), *keys, summaries)) if rows else frozenset()


def merged(first: Settled, second: Settled) -> Settled:
    """Both parts of a group as one."""
    return Settled(first.completed | second.completed, {**first.failed, **second.failed}, first.lost | second.lost)
