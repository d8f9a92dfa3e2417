"""What the store in a process holds: the state that memory.py and memory_library.py work on."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import count
from uuid import UUID, uuid4

from kizu_fast.domain import Asset, Embedding, PhotoFacts
from kizu_fast.store import KnownFile, QueueCounts, Space
from kizu_fast.store.faces import FaceRow
from kizu_fast.store.rows import ObjectRow, OutcomeRow
from kizu_fast.store.texts import CaptionRow, TextRow

MAX_ATTEMPTS = 3


@dataclass(slots=True)
class StoredJob:
    """A row of the queue."""

    asset_id: UUID
    operations: set[str]
    priority: int
    due: float
    order: int
    id: UUID = field(default_factory=uuid4)
    status: str = "pending"
    attempts: int = 0
    lease_token: int = 0
    lease_ends: float = 0.0
    error: str | None = None


@dataclass(slots=True)
class StoredAsset:
    """An asset with all that was found on it. outcomes by (operation, model), embeddings by space."""

    id: UUID
    user_id: UUID
    sha256: bytes | None
    byte_size: int | None
    facts: PhotoFacts | None
    primary: bytes | None = None
    paths: dict[bytes, KnownFile] = field(default_factory=dict)
    deleted: bool = False
    embeddings: dict[str, Embedding] = field(default_factory=dict)
    objects: tuple[ObjectRow, ...] = ()
    faces: dict[UUID, FaceRow] = field(default_factory=dict)  # of the newest pack; their index and decisions are PostgreSQL's business
    texts: TextRow | None = None
    caption: CaptionRow | None = None
    outcomes: dict[tuple[str, str], OutcomeRow] = field(default_factory=dict)

    def forget_results(self) -> None:
        self.embeddings, self.objects, self.outcomes = {}, (), {}
        self.texts = self.caption = None


class MemoryDatabase:
    """What the parts below share. clock gives seconds; leases and due times are measured by it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.assets: dict[UUID, StoredAsset] = {}
        self.jobs: dict[UUID, StoredJob] = {}
        self.spaces: dict[str, tuple[Space, str]] = {}
        self.active: dict[str, str] = {}
        self.roots: list[bytes] = []
        self._order = count()

    def live(self, user: UUID | None) -> list[StoredAsset]:
        return [asset for asset in self.assets.values() if not asset.deleted and user in (None, asset.user_id)]

    def jobs_of(self, asset_id: UUID, *statuses: str) -> list[StoredJob]:
        return [job for job in self.jobs.values() if job.asset_id == asset_id and job.status in statuses]

    def counts(self, user: UUID) -> QueueCounts:
        statuses = [job.status for job in self.jobs.values() if self.assets[job.asset_id].user_id == user]
        return QueueCounts(**{status: statuses.count(status) for status in set(statuses)})

    def enqueue(self, asset_id: UUID, operations: Collection[str], priority: int = 5) -> bool:
        """Merges into the pending job; False if that one covers it."""
        asked, pending = {str(operation) for operation in operations}, self.jobs_of(asset_id, "pending")
        if not asked:
            return False
        if not pending:
            job = StoredJob(asset_id, asked, priority, self.clock(), next(self._order))
            self.jobs[job.id] = job
            return True
        job = pending[0]
        if asked <= job.operations and job.priority <= priority and job.due <= self.clock():
            return False
        job.operations |= asked
        job.priority, job.due = min(job.priority, priority), min(job.due, self.clock())
        return True

    def requeue(self, job: StoredJob, due: float, attempts: int, error: str | None) -> None:
        """The one way back to pending; a newer pending job of the asset takes the operations over."""
        job.error = error
        pending = self.jobs_of(job.asset_id, "pending")
        if pending:
            pending[0].operations |= job.operations
            job.status = "completed"
        else:
            job.status, job.due, job.attempts = "pending", due, attempts


def as_asset(asset: StoredAsset, path: bytes | None = None) -> Asset:
    """What a job or a lookup carries."""
    chosen = path if path is not None else asset.primary
    known = asset.paths.get(chosen) if chosen is not None else None
    width, height = (None, None) if asset.facts is None else (asset.facts.width, asset.facts.height)
    mtime_ns = None if known is None else known.mtime_ns
    return Asset(asset.id, asset.user_id, chosen or b"", asset.byte_size, mtime_ns, asset.sha256, width, height)
