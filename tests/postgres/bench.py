"""A worker's moves as one-liners over the store in PostgreSQL: add numbered photos, claim, finish."""

from collections.abc import Sequence
from uuid import UUID

import numpy as np
import samples
from numpy.typing import NDArray
from samples import SPACE, axis
from stores import postgres_stores

from kizu_fast.domain import LIBRARY_OWNER, Detections, Embedding, Job, Operation, PhotoFacts, PhotoResult
from kizu_fast.store import FoundFile
from kizu_fast.store.pool import Database

ME, OTHER = LIBRARY_OWNER, UUID(int=2)
BOTH = (Operation.EMBEDDING, Operation.OBJECTS)
MODEL = "test-detector"
FACTS = PhotoFacts(width=400, height=200, mime_type="image/jpeg")
LEASE_S = 120.0


class Bench:
    """One database and what tests of several modules do with it."""

    def __init__(self, database: Database) -> None:
        stores = postgres_stores(database)
        self.queue, self.results, self.assets = stores.queue, stores.results, stores.assets
        self.spaces, self.search, self.later = stores.spaces, stores.search, stores.pass_time

    async def claim(self, limit: int = 1000, worker: str = "w") -> list[Job]:
        return await self.queue.claim(worker, limit, LEASE_S)

    async def claim_one(self) -> Job:
        [job] = await self.claim(1)
        return job

    async def add(self, *numbers: int, user: UUID = ME, operations: Sequence[str] = BOTH) -> list[UUID]:
        """Registers files by number; their assets in this order."""
        await self.assets.register(user, [file(number) for number in numbers], operations)
        known = await self.assets.known_paths(user, b"/photos")
        return [known[file(number).path].asset_id for number in numbers]

    async def finish(self, space: str = SPACE) -> None:
        """Claims what is due and completes it."""
        jobs = await self.claim()
        settled = await self.results.settle([(job, result_of(job, space=space)) for job in jobs])
        assert settled.completed == {job.id for job in jobs}

    async def statuses(self, user: UUID = ME) -> dict[str, int]:
        """Counts that are not 0."""
        return {status: count for status, count in (await self.queue.counts(user)).as_json().items() if count}


def sha(content: object) -> bytes:
    return samples.sha(str(content))


def unit(direction: int, dim: int = 8) -> NDArray[np.float32]:
    """The unit vector along one axis, counted round."""
    return axis(direction % dim, dim)


def file(number: int, content: object = None) -> FoundFile:
    """File <number>.jpg; the same content (by default the number) means the same bytes."""
    return FoundFile(b"/photos/%d.jpg" % number, 1000 + number, 10**18 + number, sha(number if content is None else content), FACTS)


def detections(*labels: str) -> Detections:
    """The middle quarter of a 400 x 200 photo for each label."""
    boxes = np.tile(np.array([[100, 50, 300, 150]], np.float32), (len(labels), 1))
    return Detections(boxes, np.full(len(labels), 0.9, np.float32), np.arange(len(labels), dtype=np.int64), labels)


def result_of(job: Job, *labels: str, space: str = SPACE, dim: int = 8, vector: NDArray[np.float32] | None = None) -> PhotoResult:
    """What the job asks for; a dog unless told otherwise."""
    embedding = Embedding(space, unit(job.asset.id.int, dim) if vector is None else vector) if "embedding" in job.operations else None
    objects = detections(*(labels or ("dog",))) if "objects" in job.operations else None
    models = {Operation.OBJECTS: MODEL} if objects is not None else {}
    return PhotoResult(FACTS, job.asset.byte_size, job.asset.mtime_ns, job.asset.sha256, embedding, objects, models=models)
