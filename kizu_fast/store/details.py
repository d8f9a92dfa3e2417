"""All that is known of one photo, as `show` prints it."""

from dataclasses import dataclass
from uuid import UUID

Box = tuple[float, float, float, float]  # xyxy in pixels of the upright original
Point = tuple[float, float]  # x, y in pixels of the upright original


@dataclass(frozen=True, slots=True)
class JobState:
    """The newest job of an asset."""

    status: str
    attempts: int
    error: str | None


@dataclass(frozen=True, slots=True)
class StoredEmbedding:
    """The embedding to show: that of the active space if there is one. vector only on request."""

    model: str
    dim: int
    vector: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A detection; box is xyxy in pixels of the upright original."""

    label: str
    score: float
    box: Box


@dataclass(frozen=True, slots=True)
class StoredFace:
    """A face; landmarks: five points. vector: that of the active space, only on request."""

    box: Box
    score: float
    landmarks: tuple[Point, ...]
    cluster: UUID | None = None
    vector: tuple[float, ...] | None = None

    def as_json(self, *, vectors: bool) -> dict[str, object]:
        shown: dict[str, object] = {
            "box": list(self.box),
            "score": self.score,
            "landmarks": [list(point) for point in self.landmarks],
            "cluster": None if self.cluster is None else str(self.cluster),
        }
        if vectors:
            shown["vector"] = list(self.vector or ())
        return shown


@dataclass(frozen=True, slots=True)
class StoredText:
    """A line of text; polygon: four points, clockwise from the text's own top left."""

    text: str
    score: float
    polygon: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class AssetDetails:
    """All that is known of one photo. taken_at is EXIF wall time in ISO 8601, with the offset if the file states one."""

    asset_id: UUID
    path: str | None  # os.fsdecode of the primary path
    width: int | None = None
    height: int | None = None
    orientation: int | None = None
    taken_at: str | None = None
    gps: tuple[float, float] | None = None
    place: str | None = None
    job: JobState | None = None
    embedding: StoredEmbedding | None = None
    objects: tuple[StoredObject, ...] = ()  # best first
    faces: tuple[StoredFace, ...] = ()  # best first
    texts: tuple[StoredText, ...] = ()  # reading order
    caption: str | None = None

    def as_json(self, *, vectors: bool = False) -> dict[str, object]:
        """The document of `show --json`."""
        return {
            "asset_id": str(self.asset_id),
            "path": self.path,
            "width": self.width,
            "height": self.height,
            "orientation": self.orientation,
            "taken_at": self.taken_at,
            "gps": None if self.gps is None else list(self.gps),
            "place": self.place,
            "job": None if self.job is None else {"status": self.job.status, "attempts": self.job.attempts, "error": self.job.error},
            "embedding": self._embedding(vectors=vectors),
            "objects": [{"label": found.label, "score": found.score, "box": list(found.box)} for found in self.objects],
            "faces": [face.as_json(vectors=vectors) for face in self.faces],
            "texts": [{"text": line.text, "score": line.score, "polygon": [list(point) for point in line.polygon]} for line in self.texts],
            "caption": self.caption,
        }

    def _embedding(self, *, vectors: bool) -> dict[str, object] | None:
        if self.embedding is None:
            return None
        shown: dict[str, object] = {"model": self.embedding.model, "dim": self.embedding.dim}
        if vectors:
            shown["vector"] = list(self.embedding.vector or ())
        return shown
