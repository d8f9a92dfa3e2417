"""Results as rows: what is checked before anything is sent, and the values that go into each table. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import numpy as np

from kizu_fast.domain import Detections, Embedding, Job, Operation, PhotoFacts, PhotoResult
from kizu_fast.errors import ImageTooLarge, KizuError, OperationUnavailable, PermanentError
from kizu_fast.store import UNRUN, reason_of, storable
from kizu_fast.store.checks import check_finite, check_unit, frame_of, name_of
from kizu_fast.store.faces import FaceRow, face_rows
from kizu_fast.store.fractions import to_fractions
from kizu_fast.store.texts import CaptionRow, TextRow, caption_row, text_row


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """A row of detected_objects. bbox is x, y, w, h in fractions of the upright picture."""

    model: str
    class_id: int
    label: str
    confidence: float
    bbox: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """A row of asset_operations."""

    operation: str
    model: str
    outcome: str  # done | failed
    items: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ResultRows:
    """All that one job writes. objects, faces, texts and caption are None when that operation has no result: what is stored then stays."""

    job: Job
    result: PhotoResult
    objects: tuple[ObjectRow, ...] | None
    faces: tuple[FaceRow, ...] | None
    texts: TextRow | None
    caption: CaptionRow | None
    outcomes: tuple[OutcomeRow, ...]

    @property
    def embedding(self) -> Embedding | None:
        return self.result.embedding

    @property
    def failure(self) -> KizuError | None:
        return failure_of(self.result.failures)

    @property
    def summary(self) -> dict[str, object]:
        """For processing_queue.result: counts and models only, since every update of the row copies it."""
        return {row.operation: {"model": row.model, "items": row.items} for row in self.outcomes if row.outcome == "done"}


def rows_of(job: Job, result: PhotoResult) -> ResultRows:
    """Raises PermanentError, naming the photo, for values that the database must never hold."""
    if result.embedding is not None:
        check_unit(result.embedding.vector, f"the embedding of {name_of(job)}")
    objects = None if result.objects is None else object_rows(job, result)
    return ResultRows(job, result, objects, face_rows(job, result), text_row(job, result), caption_row(result), outcome_rows(result))


def object_rows(job: Job, result: PhotoResult) -> tuple[ObjectRow, ...]:
    """Detections in the frame of the database. Raises PermanentError for boxes that are no numbers or a photo of unknown size."""
    found: Detections = result.objects or Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64), ())
    check_finite(job, "objects", found.boxes_xyxy, found.scores)
    boxes = to_fractions(found.boxes_xyxy, *frame_of(job, result.facts, "boxes", count=len(found))).tolist()
    model = storable(result.models.get(Operation.OBJECTS, UNRUN))
    return tuple(
        ObjectRow(model, int(class_id), storable(label), float(score), (box[0], box[1], box[2], box[3]))
        for box, score, class_id, label in zip(boxes, found.scores, found.class_ids, found.labels, strict=True)
    )


def outcome_rows(result: PhotoResult) -> tuple[OutcomeRow, ...]:
    """One per operation that ended. An operation that this version lacks, or a cap, may end differently tomorrow: no outcome."""
    items = {
        Operation.EMBEDDING: 1,
        Operation.OBJECTS: len(result.objects or ()),
        Operation.FACES: len(result.faces or ()),
        Operation.OCR: 0 if result.texts is None else sum(bool(line.text.strip()) for line in result.texts.lines),
        Operation.DESCRIBE: int(result.caption is not None and bool(result.caption.text.strip())),
    }
    spaces = {Operation.EMBEDDING: result.embedding, Operation.FACES: result.faces}
    models = {**result.models, **{operation: found.space for operation, found in spaces.items() if found is not None}}
    done = [OutcomeRow(str(operation), storable(model), "done", items.get(operation, 0)) for operation, model in models.items()]
    failed = [
        OutcomeRow(operation, UNRUN, "failed", error=reason_of(error))
        for operation, error in result.failures.items()
        if operation in set(Operation) and isinstance(error, PermanentError) and not isinstance(error, ImageTooLarge | OperationUnavailable)
    ]
    return (*done, *failed)


def failure_of(failures: Mapping[str, KizuError]) -> KizuError | None:
    """One error for the job, naming each operation that failed; None when all succeeded. Its class is that of the first."""
    if not failures:
        return None
    reason = "; ".join(f"{operation}: {reason_of(error)}" for operation, error in failures.items())
    first = next(iter(failures.values()))
    return PermanentError(reason) if isinstance(first, PermanentError) else type(first)(reason)


def facts_record(facts: PhotoFacts | None) -> dict[str, object]:
    """The JSON record that update_assets.sql and insert_assets.sql read; without facts only has_facts."""
    if facts is None:
        return {"has_facts": False}
    return {
        "has_facts": True,
        "width": facts.width,
        "height": facts.height,
        "orientation": facts.orientation,
        "mime_type": facts.mime_type,
        "taken_at_local": None if facts.taken_at_local is None else facts.taken_at_local.replace(tzinfo=None).isoformat(),
        "utc_offset_minutes": None if facts.taken_at_local is None else facts.utc_offset_minutes,
        "taken_at_source": taken_at_source(facts),
        "latitude": facts.latitude,
        "longitude": facts.longitude,
        "altitude_m": facts.altitude_m,
        "camera_make": None if facts.camera_make is None else storable(facts.camera_make),
        "camera_model": None if facts.camera_model is None else storable(facts.camera_model),
    }


def taken_at_source(facts: PhotoFacts) -> str | None:
    if facts.taken_at_local is None:
        return None
    return "exif_naive" if facts.utc_offset_minutes is None else "exif_offset"


def asset_record(asset_id: UUID, facts: PhotoFacts | None, byte_size: int | None, sha256: bytes | None) -> dict[str, object]:
    """facts_record with the asset's key and what the file itself says."""
    return {"id": str(asset_id), **facts_record(facts), "byte_size": byte_size, "sha256": None if sha256 is None else sha256.hex()}


def as_json(records: Sequence[Mapping[str, object]]) -> str:
    """For parameters that are read by jsonb_to_recordset."""
    return json.dumps(list(records))


def wall_time(taken_at_local: datetime | None, utc_offset_minutes: int | None) -> str | None:
    """EXIF wall time in ISO 8601, with the offset if one is known."""
    if taken_at_local is None:
        return None
    if utc_offset_minutes is None:
        return taken_at_local.isoformat()
    zone = UTC if utc_offset_minutes == 0 else timezone(timedelta(minutes=utc_offset_minutes))
    return taken_at_local.replace(tzinfo=zone).isoformat()
