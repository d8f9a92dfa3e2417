"""The library in PostgreSQL: files registered in sets, looked up by path, bytes or id, and forgotten."""

import asyncio
import os
from collections.abc import Collection, Sequence
from datetime import timedelta
from pathlib import PurePath
from uuid import UUID

import asyncpg

from kizu_fast.domain import Asset
from kizu_fast.errors import TransientError
from kizu_fast.store import UNSETTLED_DELAY_S, Forgotten, FoundFile, KnownFile, LibraryCounts, Registered
from kizu_fast.store.checks import shown
from kizu_fast.store.details import AssetDetails, JobState, StoredEmbedding, StoredFace, StoredObject, StoredText
from kizu_fast.store.fractions import points_to_pixels, to_pixels
from kizu_fast.store.pool import Database
from kizu_fast.store.portraits import Portraits
from kizu_fast.store.queue import queue_counts, wanted
from kizu_fast.store.registration import AssetState, Plan, Planner
from kizu_fast.store.rows import as_json, asset_record, wall_time
from kizu_fast.store.sql import statement

_FORGET_CHUNK = 2000  # assets per transaction: their cascade stays well below the statement timeout
_TRIES = 5


class Raced(TransientError):
    """A worker wrote the same bytes to another asset between reading the library and writing to it."""


class Assets:
    """AssetStore over PostgreSQL. Everything that changes a user's library takes its turn under one lock per user."""

    def __init__(self, database: Database, portraits: Portraits | None = None) -> None:
        """portraits: where thumbnails of faces lie, which are forgotten with their photo."""
        self._database, self._portraits = database, portraits

    async def register(self, user: UUID, files: Sequence[FoundFile], operations: Sequence[str], *, gone: Collection[bytes] = ()) -> Registered:
        """About ten round trips for any number of files; meant for 500 to 1000. gone: known paths that the caller looked for in vain.

        Raises ValueError without operations, DatabaseUnavailable in an outage; either all of the call is written or nothing.
        """
        if not operations:
            raise ValueError("register needs at least one operation")
        for tries_left in reversed(range(_TRIES)):
            try:
                return await self._register(user, files, [str(operation) for operation in operations], gone)
            except Raced:
                if not tries_left:
                    raise
        raise AssertionError  # unreachable: the last try returns or raises

    async def _register(self, user: UUID, files: Sequence[FoundFile], operations: Sequence[str], gone: Collection[bytes]) -> Registered:
        async with self._database.transaction() as connection:
            await connection.execute(statement("begin_registration"), user, ",".join(operations))
            paths, sha256s = {file.path for file in files}, {file.sha256 for file in files}
            rows = await connection.fetch(statement("registration_state"), user, list(paths), list(sha256s))
            plan = Planner([_state(row) for row in rows], operations, gone).plan(files)
            return plan.counts(await _apply(connection, user, plan, {file.path: file for file in files}))

    async def known_paths(self, user: UUID, below: bytes) -> dict[bytes, KnownFile]:
        """Everything known at or below a file or folder."""
        rows = await self._database.fetch("known_paths", user, *_range(below))
        return {row["path"]: KnownFile(row["asset_id"], row["byte_size"], row["mtime_ns"], row["content_sha256"]) for row in rows}

    async def copies(self, user: UUID, sha256s: Collection[bytes]) -> dict[bytes, list[bytes]]:
        """The known paths that carry these bytes; hashes that nobody has are left out."""
        found: dict[bytes, list[bytes]] = {}
        for row in await self._database.fetch("copies", user, list(sha256s)):
            found.setdefault(row["content_sha256"], []).append(row["path"])
        return found

    async def by_id(self, user: UUID, asset_id: UUID) -> Asset | None:
        """A live asset of this user; its path is the primary one, b"" if it has no local file."""
        return _asset(await self._database.fetch("asset_by_id", user, asset_id))

    async def by_path(self, user: UUID, path: bytes) -> Asset | None:
        """The live asset whose bytes the path was last seen to carry."""
        return _asset(await self._database.fetch("asset_by_path", user, path))

    async def by_sha256(self, user: UUID, sha256: bytes) -> Asset | None:
        """The live asset with these bytes."""
        return _asset(await self._database.fetch("asset_by_sha256", user, sha256))

    async def details(self, user: UUID, asset_id: UUID, *, vectors: bool = False) -> AssetDetails | None:
        """All that is known of a live asset, the vector only on request; four round trips."""
        rows = await self._database.fetch("details", user, asset_id, vectors)
        if not rows:
            return None
        faces = await self._database.fetch("asset_faces", user, asset_id, vectors)
        objects = await self._database.fetch("asset_objects", user, asset_id)
        return _details(rows[0], objects, faces, await self._database.fetch("asset_texts", user, asset_id))

    async def counts(self, user: UUID) -> LibraryCounts:
        """The figures of `status`."""
        queue = queue_counts(await self._database.fetch("queue_counts", user))
        return LibraryCounts(queue, **(await self._database.fetch("library_counts", user))[0])

    async def forget(self, user: UUID, asset_ids: Sequence[UUID]) -> Forgotten:
        """Removes the assets and, by cascade, every row about them, then their faces' thumbnails. Assets of other users are not touched.

        Raises ConfigError when thumbnails cannot be deleted: the rows are gone then.
        """
        total, ids = Forgotten(), list(asset_ids)
        for chunk in (ids[start : start + _FORGET_CHUNK] for start in range(0, len(ids), _FORGET_CHUNK)):
            async with self._database.transaction() as connection:
                await connection.execute(statement("begin_registration"), user, "")
                total += await _forget(connection, user, chunk)
            if self._portraits is not None:
                await asyncio.to_thread(self._portraits.forget, user, chunk)
        return total

    async def forget_below(self, user: UUID, folder: bytes) -> Forgotten:
        """Removes what is known at or below folder; an asset with a file elsewhere stays and is shown there."""
        rows = await self._database.fetch("paths_below", user, *_range(folder))
        total = await self.forget(user, sorted({row["asset_id"] for row in rows if not row["stays"]}))
        staying = {row["path"]: row["asset_id"] for row in rows if row["stays"]}
        if staying:
            async with self._database.transaction() as connection:
                await connection.execute(statement("begin_registration"), user, "")
                await connection.execute(statement("lock_assets"), list(set(staying.values())))
                await connection.execute(statement("drop_paths"), user, list(staying))
                primary = await connection.fetch(statement("primary_paths"), user, list(set(staying.values())))
                await _move(connection, user, {row["id"]: row["path"] for row in primary})
        return total + Forgotten(paths=len(staying))

    async def forget_user(self, user: UUID) -> Forgotten:
        """Removes the whole library with its people; the account itself stays."""
        total = await self.forget(user, [row["id"] for row in await self._database.fetch("user_assets", user)])
        await self._database.fetch("forget_people", user)
        return total

    async def remember_roots(self, roots: Sequence[bytes]) -> None:
        """Adds folders that were ingested."""
        await self._database.fetch("remember_roots", list(roots))

    async def roots(self) -> list[bytes]:
        """Every folder that was ingested."""
        return [row["path"] for row in await self._database.fetch("roots")]


async def _apply(connection: asyncpg.Connection, user: UUID, plan: Plan, files: dict[bytes, FoundFile]) -> int:
    """Writes the plan: assets, then paths, then jobs. How many assets were queued."""
    old = {*plan.changed, *plan.primary, *plan.orphans, *plan.wanted} - plan.new.keys()
    if old:
        await connection.execute(statement("lock_assets"), list(old))
    if plan.orphans:
        await connection.execute(statement("retire_assets"), user, list(plan.orphans))
    await _insert(connection, user, plan)
    await _renew(connection, user, plan)
    if plan.dropped:
        await connection.execute(statement("drop_paths"), user, list(plan.dropped))
    placed = [(files[path], asset) for path, asset in plan.placed.items()]
    await connection.execute(
        statement("put_paths"),
        user,
        [file.path for file, _ in placed],
        [asset for _, asset in placed],
        [file.byte_size for file, _ in placed],
        [file.mtime_ns for file, _ in placed],
        [file.sha256 for file, _ in placed],
    )
    await _move(connection, user, plan.primary)
    again = {asset: operations for asset, operations in plan.wanted.items() if asset not in plan.new}
    queued = await connection.fetch(statement("enqueue"), user, *wanted(again), 5) if again else []
    if plan.delayed:
        await connection.execute(statement("delay_jobs"), list(plan.delayed), timedelta(seconds=UNSETTLED_DELAY_S))
    return len(plan.new) + len(queued)


async def _insert(connection: asyncpg.Connection, user: UUID, plan: Plan) -> None:
    if not plan.new:
        return
    records = [
        {**asset_record(asset, file.facts, file.byte_size, file.sha256), "path": shown(file.path), "name": _name(file.path)}
        for asset, file in plan.new.items()
    ]
    if len(await connection.fetch(statement("insert_assets"), user, as_json(records))) != len(records):
        raise Raced("a worker changed the library while it was being read: run kizu-fast ingest again")


async def _renew(connection: asyncpg.Connection, user: UUID, plan: Plan) -> None:
    if not plan.changed:
        return
    compared = [{"id": str(asset), "sha256": file.sha256.hex()} for asset, file in plan.changed.items()]
    if any(row["taken"] for row in await connection.fetch(statement("compare_bytes"), as_json(compared))):
        raise Raced("a worker changed the library while it was being read: run kizu-fast ingest again")
    await connection.execute(statement("clear_results"), user, list(plan.changed))
    records = [asset_record(asset, file.facts, file.byte_size, file.sha256) for asset, file in plan.changed.items()]
    await connection.execute(statement("update_assets"), as_json(records))


async def _move(connection: asyncpg.Connection, user: UUID, primary: dict[UUID, bytes]) -> None:
    if primary:
        paths = list(primary.values())
        await connection.execute(statement("move_assets"), user, list(primary), [shown(path) for path in paths], [_name(path) for path in paths])


async def _forget(connection: asyncpg.Connection, user: UUID, asset_ids: Sequence[UUID]) -> Forgotten:
    """In the lock order of everything that touches the queue: assets by id, then queue rows by id."""
    mine = [row["id"] for row in await connection.fetch(statement("lock_forgotten"), user, asset_ids)]
    await connection.fetch(statement("lock_forgotten_jobs"), mine)
    return Forgotten(**(await connection.fetch(statement("forget_assets"), user, mine))[0])


def _range(below: bytes) -> tuple[bytes, bytes, bytes]:
    """The path itself, and the half-open range of everything below it: from 'folder/' up to, not including, the next byte after the separator."""
    separator = os.fsencode(os.sep)
    bare = below.rstrip(separator)
    return bare or separator, bare + separator, bare + bytes([separator[0] + 1])


def _name(path: bytes) -> str:
    return PurePath(shown(path)).name


def _state(row: asyncpg.Record) -> AssetState:
    return AssetState(row["id"], row["content_sha256"], row["primary_path"], set(row["paths"]), frozenset(row["outcomes"]), frozenset(row["open"]))


def _asset(rows: Sequence[asyncpg.Record]) -> Asset | None:
    if not rows:
        return None
    row = rows[0]
    path = row["path"] or b""
    return Asset(row["id"], row["user_id"], path, row["byte_size"], row["mtime_ns"], row["content_sha256"], row["width"], row["height"])


def _details(
    row: asyncpg.Record, objects: Sequence[asyncpg.Record], faces: Sequence[asyncpg.Record], lines: Sequence[asyncpg.Record]
) -> AssetDetails:
    width, height = row["width"], row["height"]
    return AssetDetails(
        asset_id=row["id"],
        path=None if row["path"] is None else os.fsdecode(row["path"]),
        width=width,
        height=height,
        orientation=row["exif_orientation"],
        taken_at=wall_time(row["taken_at_local"], row["utc_offset_minutes"]),
        gps=None if row["latitude"] is None or row["longitude"] is None else (row["latitude"], row["longitude"]),
        place=row["place"],
        job=None if row["status"] is None else JobState(row["status"], row["attempts"], row["error"]),
        embedding=None if row["model"] is None else StoredEmbedding(row["model"], row["dim"], tuple(row["vector"] or ()) or None),
        objects=tuple(StoredObject(found["label"], found["confidence"], to_pixels(found["bbox"], width or 0, height or 0)) for found in objects),
        faces=tuple(_face(found, width or 0, height or 0) for found in faces),
        texts=tuple(StoredText(line["text"], line["score"], points_to_pixels(line["box"], width or 0, height or 0)) for line in lines),
        caption=row["caption"],
    )


def _face(found: asyncpg.Record, width: int, height: int) -> StoredFace:
    landmarks = points_to_pixels(found["landmarks"] or (), width, height)
    vector = tuple(found["vector"]) if found["vector"] is not None else None
    return StoredFace(to_pixels(found["bbox"], width, height), found["det_score"], landmarks, found["cluster_id"], vector)
