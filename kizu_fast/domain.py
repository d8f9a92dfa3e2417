"""The nouns of the project as frozen values. No behaviour beyond arithmetic on their own fields."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from kizu_fast.errors import KizuError


class Operation(StrEnum):
    """What can be done to a photo, in the order in which it is told."""

    EMBEDDING = "embedding"
    OBJECTS = "objects"
    FACES = "faces"
    OCR = "ocr"
    DESCRIBE = "describe"


ALL: tuple[Operation, ...] = tuple(
    operation for operation in Operation if operation is not Operation.DESCRIBE
)  # captions cost more than all the rest
APART: tuple[Operation, ...] = (Operation.DESCRIBE,)  # seconds a photo: done in a job of its own, so that the other results do not wait for it

LIBRARY_OWNER = UUID("00000000-0000-0000-0000-000000000001")


@dataclass(frozen=True, slots=True)
class PhotoFacts:
    """What the header of a file says. None: not stated, or impossible.

    width and height are pixels of the upright picture (EXIF orientation applied); orientation is EXIF's 1..8.
    taken_at_local is wall-clock time without a zone; latitude and longitude are degrees north and east.
    """

    width: int
    height: int
    orientation: int = 1
    mime_type: str | None = None
    taken_at_local: datetime | None = None
    utc_offset_minutes: int | None = None
    latitude: float | None = None
    longitude: float | None = None
    altitude_m: float | None = None
    camera_make: str | None = None
    camera_model: str | None = None


@dataclass(frozen=True, slots=True)
class Photo:
    """A decoded photo: upright RGB, possibly scaled down by the decoder.

    width and height are those of the upright original: coordinates leave models/ in that frame.
    """

    pixels: NDArray[np.uint8]  # (h, w, 3) RGB, h <= height, w <= width
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Asset:
    """A stored original. path is what os.fsencode gives, since a file name need not be text."""

    id: UUID
    user_id: UUID
    path: bytes
    byte_size: int | None = None
    mtime_ns: int | None = None
    sha256: bytes | None = None
    width: int | None = None  # upright pixels, None while unknown
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One claimed row of the queue. lease_token fences every write: a stale one is refused by the database."""

    id: UUID
    asset: Asset
    operations: tuple[str, ...]  # as asked for; may name operations that this version does not carry out
    attempts: int
    max_attempts: int
    lease_token: int


@dataclass(frozen=True, slots=True)
class Detections:
    """Objects of one photo, best first."""

    boxes_xyxy: NDArray[np.float32]  # (N, 4) pixels of the upright original, x right, y down, half-open
    scores: NDArray[np.float32]  # (N,) in [0, 1]
    class_ids: NDArray[np.int64]  # (N,) index into the model's labels
    labels: tuple[str, ...]  # N names

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Embedding:
    """A unit vector in a named space. Vectors of two spaces are never compared."""

    space: str  # e.g. open_clip/ViT-B-32/openai/p1/40d36571
    vector: NDArray[np.float32]  # (D,), L2 norm 1


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A face as two small square pictures, encoded. digest names their content."""

    digest: str  # hex
    small: bytes
    large: bytes


@dataclass(frozen=True, slots=True)
class Faces:
    """Faces of one photo, best first. The rows of all arrays belong together."""

    boxes_xyxy: NDArray[np.float32]  # (N, 4) pixels of the upright original, half-open
    scores: NDArray[np.float32]  # (N,) the detector's, in [0, 1]
    landmarks: NDArray[
        np.float32
    ]  # (N, 5, 2) x, y pixels of the upright original: left eye, right eye, nose, left and right corner of the mouth, as seen
    quality: NDArray[np.float32]  # (N,) in [0, 1]: size, sharpness, pose and score; below 0.4 a face founds no cluster
    vectors: NDArray[np.float32]  # (N, D) unit vectors of the embedder
    space: str  # the embedder's vector space
    thumbnails: tuple[Thumbnail, ...] = ()  # N, or none at all where nobody stores them

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line of text in a photo."""

    text: str
    score: float  # the recogniser's confidence, in [0, 1]
    polygon: NDArray[np.float32]  # (4, 2) x, y pixels of the upright original, clockwise from the text's own top left
    language: str  # family of the recogniser that read it, e.g. english_g2, ch


@dataclass(frozen=True, slots=True)
class Texts:
    """Lines of one photo in reading order."""

    lines: tuple[TextLine, ...]

    def __len__(self) -> int:
        return len(self.lines)


@dataclass(frozen=True, slots=True)
class Caption:
    """A sentence about one photo; empty when the captioner had nothing to say."""

    text: str


Result = Embedding | Detections | Faces | Texts | Caption


@dataclass(frozen=True, slots=True)
class PhotoResult:
    """All that one attempt found out about one photo. Operations fail singly: failures holds their errors."""

    facts: PhotoFacts | None
    byte_size: int | None
    mtime_ns: int | None
    sha256: bytes | None
    embedding: Embedding | None = None
    objects: Detections | None = None
    faces: Faces | None = None
    texts: Texts | None = None
    caption: Caption | None = None
    models: Mapping[Operation, str] = field(default_factory=dict)  # what ran, per operation that succeeded
    failures: Mapping[str, KizuError] = field(default_factory=dict)  # by operation
    postponed: tuple[str, ...] = ()  # operations that this job asked for and that become a job of their own
