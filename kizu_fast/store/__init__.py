"""What the project keeps, and the questions it asks: values and Protocols without a driver.

The adapters beside this file speak to PostgreSQL; memory.py holds everything in a process and passes the same contract suite.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from kizu_fast.domain import Asset, Job, PhotoFacts, PhotoResult
from kizu_fast.errors import ImageUnreadable, KizuError
from kizu_fast.store.details import AssetDetails

UNRUN = "none"  # stands for the model of an outcome that no model had a part in: the file could not be decoded
UNSETTLED_DELAY_S = 5.0  # a file that is still being copied is due this much later
ERROR_LENGTH = 2000  # characters of a reason that the queue keeps


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that ingest saw below a library folder. path is absolute, as os.fsencode gives it.

    facts is None when the header was not read or has none; that never erases facts of the asset. settled is False while the file is being copied.
    """

    path: bytes
    byte_size: int
    mtime_ns: int
    sha256: bytes
    facts: PhotoFacts | None
    settled: bool = True


@dataclass(frozen=True, slots=True)
class KnownFile:
    """What was known of a path when it was last ingested or read."""

    asset_id: UUID
    byte_size: int | None
    mtime_ns: int | None
    sha256: bytes | None


@dataclass(frozen=True, slots=True)
class Registered:
    """Counts of one register call. registered + known = different paths given; changed and moved are parts of them; queued counts assets."""

    registered: int = 0
    known: int = 0
    queued: int = 0
    changed: int = 0
    moved: int = 0

    def __add__(self, other: "Registered") -> "Registered":
        return Registered(
            self.registered + other.registered,
            self.known + other.known,
            self.queued + other.queued,
            self.changed + other.changed,
            self.moved + other.moved,
        )


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many rows a forget removed."""

    assets: int = 0
    paths: int = 0
    jobs: int = 0
    embeddings: int = 0
    objects: int = 0
    faces: int = 0
    texts: int = 0  # photos with text
    captions: int = 0

    def __add__(self, other: "Forgotten") -> "Forgotten":
        return Forgotten(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """Rows of the queue by status."""

    pending: int = 0
    processing: int = 0
    completed: int = 0
    failed: int = 0

    def as_json(self) -> dict[str, int]:
        return {"pending": self.pending, "processing": self.processing, "completed": self.completed, "failed": self.failed}


@dataclass(frozen=True, slots=True)
class LibraryCounts:
    """Counts of one user's live assets and of what was found on them. embeddings: assets with a vector in the active space; texts: lines."""

    queue: QueueCounts
    assets: int = 0
    embeddings: int = 0
    faces: int = 0
    objects: int = 0
    texts: int = 0
    captions: int = 0

    def as_json(self) -> dict[str, object]:
        """The document of `status --json`."""
        return {
            "queue": self.queue.as_json(),
            "assets": self.assets,
            "embeddings": self.embeddings,
            "faces": self.faces,
            "objects": self.objects,
            "texts": self.texts,
            "captions": self.captions,
        }


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a group of results; the three parts hold every job id of the group once.

    completed: results and completion are committed. failed: to be failed by the caller, for good, with this error; the operations that succeeded
    are stored if only some failed. lost: the lease passed on or the asset is gone, nothing was written.
    """

    completed: frozenset[UUID] = frozenset()
    failed: Mapping[UUID, KizuError] = field(default_factory=dict)
    lost: frozenset[UUID] = frozenset()


@dataclass(frozen=True, slots=True)
class Outdated:
    """Photos whose results of an operation come from models that the settings do not name any more."""

    operation: str
    models: tuple[str, ...]
    photos: int


@dataclass(frozen=True, slots=True)
class Space:
    """A named vector space."""

    id: int
    name: str
    dim: int


@dataclass(frozen=True, slots=True)
class Hit:
    """An asset that matches. score: higher is better, comparable within one call only. snippet: the words that match, of a search in texts."""

    asset_id: UUID
    score: float
    snippet: str | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Whose face it is: a cluster with the name that a person gave it; None of both: nobody known."""

    cluster: UUID | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """What a result row shows. objects: labels, each once, best first; faces: one each, best first."""

    asset_id: UUID
    path: str | None
    taken_at: str | None
    objects: tuple[str, ...] = ()
    faces: tuple[Person, ...] = ()


class JobQueue(Protocol):
    """Leased, fenced, at-least-once jobs. Every call names jobs by id and lease token; those that passed on are left out of the answer."""

    async def claim(
        self, worker_id: str, limit: int, lease_s: float, operations: Sequence[str] | None = None, *, without: Sequence[str] = ()
    ) -> list[Job]:
        """Up to limit due jobs, best first; with operations only jobs that ask for nothing else; no job that asks for nothing but `without`."""
        ...

    async def heartbeat(self, jobs: Sequence[Job], lease_s: float) -> set[UUID]:
        """Prolongs the leases; the ids still owned."""
        ...

    async def fail(self, jobs: Sequence[Job], errors: Sequence[KizuError | str], *, retry: bool) -> dict[UUID, str]:
        """New status by job id: pending (will be retried after a backoff) or failed. An ImageUnreadable for good is kept as the photo's outcome."""
        ...

    async def release(self, jobs: Sequence[Job]) -> set[UUID]:
        """Back to pending, due at once, the attempt given back."""
        ...

    async def defer(self, jobs: Sequence[Job], delay_s: float, reason: str) -> set[UUID]:
        """Back to pending, due delay_s later, the attempt given back, the reason kept."""
        ...

    async def reset_stale(self) -> int:
        """Jobs whose lease ended go back (the attempt counts) or fail after the last one. How many."""
        ...

    async def counts(self, user: UUID) -> QueueCounts:
        """Rows of one user by status."""
        ...

    async def unfinished(self, operations: Sequence[str] | None = None) -> int:
        """Pending (backoff included) and processing jobs of all users; with operations only those that ask for nothing else."""
        ...

    async def enqueue(self, user: UUID, asset_ids: Sequence[UUID], operations: Sequence[str], *, priority: int = 5) -> int:
        """Asks for (re)processing, merging with pending jobs. How many assets got a new or larger job."""
        ...

    async def queue_missing(self, user: UUID | None, operation: str, model: str) -> int:
        """Queues all live assets that have no outcome of operation by model. How many."""
        ...

    async def purge(self) -> int:
        """Retention of ended jobs; for the idle loop. How many rows went."""
        ...


class ResultStore(Protocol):
    """Results and completion in one transaction."""

    async def settle(self, batch: Sequence[tuple[Job, PhotoResult]]) -> Settled:
        """Writes the results of the jobs still owned and completes those without failures. One bad row fails alone."""
        ...


class SpaceStore(Protocol):
    """Vector spaces and the one that search asks."""

    async def ensure_space(self, name: str, dim: int, kind: str = "image") -> int:
        """The space's id. Raises ConfigError if the name stands for another width."""
        ...

    async def activate_if_whole(self, name: str) -> bool:
        """True if name is the active space of its kind afterwards: it is whole, or nothing was to lose."""
        ...

    async def active_space(self, kind: str = "image") -> Space | None:
        """The space that search asks."""
        ...


class CoverageStore(Protocol):
    """Which models results come from. user None: of all users."""

    async def stored_models(self, user: UUID | None) -> dict[str, tuple[str, ...]]:
        """Models by operation, sorted; under 'packs' those that found the faces."""
        ...

    async def outdated(self, user: UUID | None, current: Mapping[str, str]) -> list[Outdated]:
        """Photos done by other models than current names for their operation, unless they wait for it or fail with it for good."""
        ...

    async def queue_outdated(self, user: UUID | None, operation: str, model: str) -> int:
        """Queues them. How many."""
        ...


class AssetStore(Protocol):
    """The library of each user: bytes are assets, files are paths of them."""

    async def register(self, user: UUID, files: Sequence[FoundFile], operations: Sequence[str], *, gone: Collection[bytes] = ()) -> Registered:
        """Takes up to about 1000 files in a handful of round trips. gone: known paths that the caller did not find any more."""
        ...

    async def known_paths(self, user: UUID, below: bytes) -> dict[bytes, KnownFile]:
        """Everything known at or below a folder."""
        ...

    async def copies(self, user: UUID, sha256s: Collection[bytes]) -> dict[bytes, list[bytes]]:
        """The known paths that carry these bytes."""
        ...

    async def by_id(self, user: UUID, asset_id: UUID) -> Asset | None:
        """A live asset."""
        ...

    async def by_path(self, user: UUID, path: bytes) -> Asset | None:
        """The live asset that the path was last seen to carry."""
        ...

    async def by_sha256(self, user: UUID, sha256: bytes) -> Asset | None:
        """The live asset with these bytes."""
        ...

    async def details(self, user: UUID, asset_id: UUID, *, vectors: bool = False) -> AssetDetails | None:
        """All that is known of a live asset."""
        ...

    async def counts(self, user: UUID) -> LibraryCounts:
        """The figures of `status`."""
        ...

    async def forget(self, user: UUID, asset_ids: Sequence[UUID]) -> Forgotten:
        """Removes the assets with all their rows."""
        ...

    async def forget_below(self, user: UUID, folder: bytes) -> Forgotten:
        """Removes the paths at or below folder, and the assets that have no other."""
        ...

    async def forget_user(self, user: UUID) -> Forgotten:
        """Removes the whole library of a user; the account stays."""
        ...

    async def remember_roots(self, roots: Sequence[bytes]) -> None:
        """Adds folders that were ingested."""
        ...

    async def roots(self) -> list[bytes]:
        """Every folder that was ingested."""
        ...


class SearchStore(Protocol):
    """Ranked live assets of one user."""

    async def by_vector(self, user: UUID, space: str, vector: NDArray[np.float32], limit: int) -> list[Hit]:
        """Exact nearest neighbours; the score is cosine similarity."""
        ...

    async def by_objects(self, user: UUID, labels: Sequence[str], limit: int) -> list[Hit]:
        """Assets that show any of the labels; the score is the sum of their confidences."""
        ...

    async def by_text(self, user: UUID, question: str, limit: int) -> list[Hit]:
        """Assets in which something of the question was read; the score is wording.said, the snippet the lines that say it."""
        ...

    async def by_caption(self, user: UUID, question: str, limit: int) -> list[Hit]:
        """Assets whose caption says something of the question; score and snippet alike."""
        ...

    async def cards(self, user: UUID, asset_ids: Sequence[UUID]) -> dict[UUID, Card]:
        """What result rows show."""
        ...


def reason_of(error: KizuError | str) -> str:
    """The error as the queue keeps it: one line of at most ERROR_LENGTH characters, without what a database cannot store."""
    return storable(" ".join(str(error).split()))[:ERROR_LENGTH] or type(error).__name__


def storable(text: str) -> str:
    """Text that PostgreSQL takes: no NUL, no lone surrogate (file names and camera names may hold both)."""
    return text.replace("\0", "").encode("utf-8", "backslashreplace").decode("utf-8")


def is_outcome(error: KizuError | str) -> bool:
    """Whether the error says something lasting about the bytes: caps, settings and missing files may change, unreadable bytes do not."""
    return isinstance(error, ImageUnreadable)
