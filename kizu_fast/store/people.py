"""Faces in PostgreSQL: those seen again keep their rows, new ones get the next index, vanished ones go unless a person has said something about them."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from kizu_fast.domain import Thumbnail
from kizu_fast.store.faces import FacePlan, PlacedFace, StoredFaceRow, plan_faces
from kizu_fast.store.portraits import Portraits, path_of
from kizu_fast.store.rows import ResultRows, as_json
from kizu_fast.store.sql import statement

_COLUMNS = ("detector", "bbox", "landmarks", "det_score", "quality", "thumbnail_path")


@dataclass(frozen=True, slots=True)
class Keeping:
    """What faces need beside their rows. portraits None: no thumbnails are stored."""

    spaces: Mapping[tuple[str, int], int]  # ids by (name, width)
    portraits: Portraits | None
    renewed: Collection[UUID] = ()  # assets whose bytes changed: no thumbnail of theirs is good any more


async def replace_faces(connection: asyncpg.Connection, rows: Sequence[ResultRows], keeping: Keeping) -> None:
    """Faces of all photos that have a result, in eight statements. Their thumbnails are written first: a row never names a file that is not there.

    Raises DatabaseUnavailable, which undoes the transaction, when the files cannot be written.
    """
    having = [row for row in rows if row.faces is not None]
    if not having:
        return
    plans = await _plans(connection, having, keeping)
    if keeping.portraits is not None:
        await asyncio.to_thread(keeping.portraits.write, _new_thumbnails(having, plans))
    await connection.execute(statement("delete_faces"), [face for plan in plans.values() for face in plan.vanished])
    await connection.execute(statement("update_faces"), as_json([_record(row, face) for row in having for face in plans[row.job.asset.id].updated]))
    added = [
        (face.id, row.job.asset.id, row.job.asset.user_id, face.face_index, *_values(row, face))
        for row in having
        for face in plans[row.job.asset.id].added
    ]
    columns = ("id", "asset_id", "user_id", "face_index", *_COLUMNS)
    await connection.copy_records_to_table("face_embeddings", records=added, columns=columns)
    await _replace_vectors(connection, having, plans, keeping.spaces)


async def _plans(connection: asyncpg.Connection, rows: Sequence[ResultRows], keeping: Keeping) -> dict[UUID, FacePlan]:
    """By asset."""
    assets = [row.job.asset.id for row in rows]
    stored, buried = defaultdict[UUID, list[StoredFaceRow]](list), defaultdict[UUID, list[Sequence[float]]](list)
    for found in await connection.fetch(statement("stored_faces"), assets):
        thumbnail = _good_thumbnail(found["thumbnail_path"], found["asset_id"], keeping)
        stored[found["asset_id"]].append(StoredFaceRow(found["id"], found["face_index"], tuple(found["bbox"]), found["kept"], thumbnail))
    for found in await connection.fetch(statement("face_tombstones"), assets):
        buried[found["asset_id"]].append(found["bbox"])
    return {row.job.asset.id: plan_faces(row.faces or (), stored[row.job.asset.id], buried[row.job.asset.id]) for row in rows}


def _good_thumbnail(path: str | None, asset: UUID, keeping: Keeping) -> str | None:
    """The stored path, if its files are there and show the bytes as they are now."""
    there = path is not None and keeping.portraits is not None and asset not in keeping.renewed and keeping.portraits.has(path)
    return path if there else None


def _new_thumbnails(rows: Sequence[ResultRows], plans: Mapping[UUID, FacePlan]) -> dict[str, Thumbnail]:
    """What has to be written, by path."""
    found = {}
    for row in rows:
        plan = plans[row.job.asset.id]
        for face in (*plan.updated, *plan.added):
            path = _thumbnail_path(row, face)
            if path is not None and face.thumbnail is None and face.row.thumbnail is not None:
                found[path] = face.row.thumbnail
    return found


def _thumbnail_path(row: ResultRows, face: PlacedFace) -> str | None:
    if face.thumbnail is not None or face.row.thumbnail is None:
        return face.thumbnail
    return path_of(row.job.asset.user_id, row.job.asset.id, face.row.thumbnail.digest)


async def _replace_vectors(
    connection: asyncpg.Connection, rows: Sequence[ResultRows], plans: Mapping[UUID, FacePlan], spaces: Mapping[tuple[str, int], int]
) -> None:
    records = [
        (face.id, spaces[row.result.faces.space, len(face.row.vector)], row.job.asset.user_id, face.row.vector)
        for row in rows
        if row.result.faces is not None
        for face in (*plans[row.job.asset.id].updated, *plans[row.job.asset.id].added)
    ]
    await connection.execute(statement("clear_face_vectors"), [record[0] for record in records], [record[1] for record in records])
    await connection.copy_records_to_table("face_vectors", records=records, columns=("face_id", "model_id", "user_id", "embedding"))


def _record(row: ResultRows, face: PlacedFace) -> dict[str, object]:
    return {"id": str(face.id), **dict(zip(_COLUMNS, _values(row, face), strict=True))}


def _values(row: ResultRows, face: PlacedFace) -> tuple[object, ...]:
    """Of _COLUMNS."""
    seen = face.row
    return seen.detector, list(seen.bbox), list(seen.landmarks), seen.det_score, seen.quality, _thumbnail_path(row, face)
