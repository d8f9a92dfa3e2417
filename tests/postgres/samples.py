"""Files, results and stores for the tests of the store: small, made up, and the same bytes for the same word."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import numpy as np

from kizu_fast.domain import Detections, Embedding, Job, Operation, PhotoFacts, PhotoResult
from kizu_fast.errors import KizuError
from kizu_fast.store import AssetStore, CoverageStore, FoundFile, JobQueue, ResultStore, SearchStore, SpaceStore

ALICE = UUID("00000000-0000-0000-0000-00000000a11c")
BOB = UUID("00000000-0000-0000-0000-000000000b0b")
SPACE = "test/space/p1/00000000"
YOLO = "yolov8n"
BOTH = ("embedding", "objects")
FACTS = PhotoFacts(
    width=400,
    height=200,
    orientation=6,
    mime_type="image/jpeg",
    taken_at_local=datetime(2024, 5, 17, 14, 30, 5),  # wall time has no zone
    utc_offset_minutes=540,
    latitude=35.6895,
    longitude=139.6917,
    altitude_m=40.5,
    camera_make="Maker",
    camera_model="Model 7",
)


@dataclass(frozen=True)
class Stores:
    """All parts over one state. pass_time moves the clock on, in memory and in PostgreSQL (by moving due times and leases back)."""

    queue: JobQueue
    results: ResultStore
    spaces: SpaceStore
    assets: AssetStore
    search: SearchStore
    coverage: CoverageStore
    pass_time: Callable[[float], Awaitable[None]]


def sha(word: str) -> bytes:
    """The hash of the bytes that word stands for."""
    return hashlib.sha256(word.encode()).digest()


def file(path: str | bytes, word: str, facts: PhotoFacts | None = FACTS, *, settled: bool = True) -> FoundFile:
    """A file at path with the bytes of word."""
    raw = path if isinstance(path, bytes) else path.encode()
    return FoundFile(raw, len(word), 1_700_000_000_000_000_000 + len(word), sha(word), facts, settled)


def unit(seed: int, dim: int = 8) -> np.ndarray:
    """A random unit vector, float32."""
    vector = np.random.default_rng(seed).normal(size=dim)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def axis(index: int, dim: int = 8) -> np.ndarray:
    """The unit vector along one axis: exact in every precision."""
    vector = np.zeros(dim, np.float32)
    vector[index] = 1
    return vector


def detections(*found: tuple[str, float]) -> Detections:
    """Objects by label and score, boxes in pixels of the 400x200 picture of FACTS."""
    boxes = np.array([[100 + i, 50, 300 + i, 150] for i in range(len(found))], np.float32).reshape(-1, 4)
    labels = tuple(label for label, _ in found)
    return Detections(boxes, np.array([score for _, score in found], np.float32), np.arange(len(found), dtype=np.int64), labels)


def result(
    job: Job,
    vector: np.ndarray | None = None,
    objects: Detections | None = None,
    *,
    space: str = SPACE,
    word: str | None = None,
    facts: PhotoFacts | None = FACTS,
    failures: dict[str, KizuError] | None = None,
    model: str = YOLO,
) -> PhotoResult:
    """What a worker found: the operations whose result is given. word: the bytes that it read, by default those registered."""
    models = {} if objects is None else {Operation.OBJECTS: model}
    return PhotoResult(
        facts=facts,
        byte_size=10,
        mtime_ns=5,
        sha256=job.asset.sha256 if word is None else sha(word),
        embedding=None if vector is None else Embedding(space, vector),
        objects=objects,
        models=models | ({} if vector is None else {Operation.EMBEDDING: "clip"}),
        failures=failures or {},
    )


async def registered(stores: Stores, count: int, operations: tuple[str, ...] = BOTH, user: UUID = ALICE, name: str = "photo") -> list[UUID]:
    """The ids of count new assets, queued, in the order of their paths."""
    files = [file(f"/photos/{name}{number:05}.jpg", f"{user}{name}{number}") for number in range(count)]
    await stores.assets.register(user, files, operations)
    known = await stores.assets.known_paths(user, b"/photos")
    return [known[found.path].asset_id for found in files]


async def claim_all(stores: Stores, worker: str = "w", lease_s: float = 60, limit: int = 10_000) -> list[Job]:
    """Every due job."""
    return await stores.queue.claim(worker, limit, lease_s)


async def complete_all(stores: Stores) -> int:
    """Every due job done with an embedding and a dog. How many."""
    jobs = await claim_all(stores)
    settled = await stores.results.settle([(job, result(job, unit(job.asset.id.int % 1000), detections(("dog", 0.9)))) for job in jobs])
    return len(settled.completed)
