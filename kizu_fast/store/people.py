"""Faces in PostgreSQL: those seen again keep their rows, new ones get the next index, vanished ones go unless a person has said something about them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

import asyncpg

from kizu_fast.store.faces import FacePlan, PlacedFace, StoredFaceRow, plan_faces
from kizu_fast.store.rows import ResultRows, as_json
from kizu_fast.store.sql import statement

_COLUMNS = ("detector", "bbox", "landmarks", "det_score", "quality")


async def replace_faces(connection: asyncpg.Connection, rows: Sequence[ResultRows], spaces: Mapping[tuple[str, int], int]) -> None:
    """Faces of all photos that have a result, in eight statements. spaces: ids by (name, width)."""
    having = [row for row in rows if row.faces is not None]
    if not having:
        return
    plans = await _plans(connection, having)
    await connection.execute(statement("delete_faces"), [face for plan in plans.values() for face in plan.vanished])
    await connection.execute(statement("update_faces"), as_json([_record(face) for plan in plans.values() for face in plan.updated]))
    added = [
        (face.id, row.job.asset.id, row.job.asset.user_id, face.face_index, *_values(face))
        for row in having
        for face in plans[row.job.asset.id].added
    ]
    columns = ("id", "asset_id", "user_id", "face_index", *_COLUMNS)
    await connection.copy_records_to_table("face_embeddings", records=added, columns=columns)
    await _replace_vectors(connection, having, plans, spaces)


async def _plans(connection: asyncpg.Connection, rows: Sequence[ResultRows]) -> dict[UUID, FacePlan]:
    """By asset."""
    assets = [row.job.asset.id for row in rows]
    stored, buried = defaultdict[UUID, list[StoredFaceRow]](list), defaultdict[UUID, list[Sequence[float]]](list)
    for found in await connection.fetch(statement("stored_faces"), assets):
        stored[found["asset_id"]].append(StoredFaceRow(found["id"], found["face_index"], tuple(found["bbox"]), found["kept"]))
    for found in await connection.fetch(statement("face_tombstones"), assets):
        buried[found["asset_id"]].append(found["bbox"])
    return {row.job.asset.id: plan_faces(row.faces or (), stored[row.job.asset.id], buried[row.job.asset.id]) for row in rows}


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


def _record(face: PlacedFace) -> dict[str, object]:
    return {"id": str(face.id), **dict(zip(_COLUMNS, _values(face), strict=True))}


def _values(face: PlacedFace) -> tuple[object, ...]:
    """Of _COLUMNS."""
    row = face.row
    return row.detector, list(row.bbox), list(row.landmarks), row.det_score, row.quality
