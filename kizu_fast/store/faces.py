"""Faces as rows, and which of them are the ones already stored: a face that is seen again keeps its row, and with it every decision. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

import numpy as np
from numpy.typing import NDArray

from kizu_fast.domain import Faces, Job, Operation, PhotoResult, Thumbnail
from kizu_fast.errors import PermanentError
from kizu_fast.store import UNRUN, storable
from kizu_fast.store.checks import check_finite, check_unit, frame_of, name_of
from kizu_fast.store.fractions import points_to_fractions, to_fractions

SAME_IOU = 0.5  # a detection that overlaps a stored face or a tombstone at least this much is the same face
MAX_SHIFT = 0.1  # of a box's width or height: a face that moved farther gets a new thumbnail
_BOX, _LANDMARKS = 4, (5, 2)


@dataclass(frozen=True, slots=True)
class FaceRow:
    """A row of face_embeddings with its vector. bbox is x, y, w, h, landmarks are x, y five times, in fractions of the upright picture."""

    detector: str
    bbox: tuple[float, ...]
    landmarks: tuple[float, ...]
    det_score: float
    quality: float
    vector: NDArray[np.float32]
    thumbnail: Thumbnail | None = None


@dataclass(frozen=True, slots=True)
class StoredFaceRow:
    """What is stored of a face. kept: a user's decision hangs on it, so that it outlives its detection. thumbnail: where a good one lies."""

    id: UUID
    face_index: int
    bbox: tuple[float, ...]
    kept: bool = False
    thumbnail: str | None = None


@dataclass(frozen=True, slots=True)
class PlacedFace:
    """A face that goes into a row: an existing one, or a new one. thumbnail: the stored one that still shows it; None: that of the row."""

    id: UUID
    face_index: int
    row: FaceRow
    thumbnail: str | None = None


@dataclass(frozen=True, slots=True)
class FacePlan:
    """What becomes of one photo's faces. vanished: rows to delete unless a decision came in between."""

    updated: tuple[PlacedFace, ...]
    added: tuple[PlacedFace, ...]
    vanished: tuple[UUID, ...]


def face_rows(job: Job, result: PhotoResult) -> tuple[FaceRow, ...] | None:
    """The faces in the frame of the database; None without a result. Raises PermanentError for values that it must never hold."""
    found = result.faces
    if found is None:
        return None
    _check_shapes(job, found)
    check_finite(job, "faces", found.boxes_xyxy, found.scores, found.landmarks, found.quality)
    for vector in found.vectors:
        check_unit(vector, f"the vector of a face of {name_of(job)}")
    width, height = frame_of(job, result.facts, "faces", count=len(found))
    detector = storable(result.models.get(Operation.FACES, UNRUN))
    boxes = to_fractions(found.boxes_xyxy, width, height).tolist()
    landmarks = points_to_fractions(found.landmarks, width, height).reshape(-1, 10).tolist()
    pictures = found.thumbnails or (None,) * len(found)
    return tuple(
        FaceRow(detector, tuple(boxes[i]), tuple(landmarks[i]), float(found.scores[i]), float(found.quality[i]), found.vectors[i], pictures[i])
        for i in range(len(found))
    )


def _check_shapes(job: Job, found: Faces) -> None:
    count = len(found)
    shapes = found.boxes_xyxy.shape == (count, _BOX) and found.landmarks.shape == (count, *_LANDMARKS) and found.quality.shape == (count,)
    if not shapes or len(found.vectors) != count or len(found.thumbnails) not in (0, count):
        raise PermanentError(f"the faces of {name_of(job)} do not belong together: their arrays differ in length")


def plan_faces(found: Sequence[FaceRow], stored: Sequence[StoredFaceRow], tombstones: Sequence[Sequence[float]]) -> FacePlan:
    """Match detections to stored faces one to one, best overlap first; what lies on a tombstone is dropped (it was no face, or must be forgotten)."""
    buried = set(np.nonzero(_iou([row.bbox for row in found], tombstones) >= SAME_IOU)[0].tolist())
    alive = [row for i, row in enumerate(found) if i not in buried]
    pairs = _pairs(_iou([row.bbox for row in alive], [face.bbox for face in stored]))
    updated = tuple(
        PlacedFace(stored[there].id, stored[there].face_index, alive[here], _still_good(stored[there], alive[here])) for here, there in pairs
    )
    fresh = [row for i, row in enumerate(alive) if i not in {here for here, _ in pairs}]
    first = max((face.face_index for face in stored), default=-1) + 1
    added = tuple(PlacedFace(uuid4(), first + i, row) for i, row in enumerate(fresh))
    unseen = [face for i, face in enumerate(stored) if i not in {there for _, there in pairs}]
    return FacePlan(updated, added, tuple(face.id for face in unseen if not face.kept))


def _still_good(stored: StoredFaceRow, row: FaceRow) -> str | None:
    """The stored thumbnail, unless a side of the box moved by more than a tenth of its length: then a new picture is due."""
    old, new = np.array(stored.bbox), np.array(row.bbox)
    shifts = np.abs(np.concatenate((new[:2] - old[:2], new[:2] + new[2:] - old[:2] - old[2:])))
    return stored.thumbnail if (shifts <= MAX_SHIFT * np.tile(old[2:], 2)).all() else None


def _pairs(overlap: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Greedy: the best overlap of all first. Ties go to the earlier detection, then to the earlier face."""
    pairs: list[tuple[int, int]] = []
    best = sorted(zip(*np.nonzero(overlap >= SAME_IOU), strict=True), key=lambda pair: (-overlap[pair], pair))
    for here, there in best:
        if all(here != taken[0] and there != taken[1] for taken in pairs):
            pairs.append((int(here), int(there)))
    return sorted(pairs)


def _iou(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """(N, M) intersection over union of boxes x, y, w, h; scaling either axis changes none of it."""
    a, b = np.asarray(first, np.float64).reshape(-1, 1, 4), np.asarray(second, np.float64).reshape(1, -1, 4)
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    union = a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - shared
    overlap: NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return overlap
