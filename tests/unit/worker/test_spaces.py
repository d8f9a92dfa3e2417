"""kizu_fast/worker/spaces.py: a new model fills its own space, and search switches when it is whole."""

import asyncio
import hashlib

import numpy as np

from kizu_fast.domain import LIBRARY_OWNER, Embedding, Operation, PhotoFacts, PhotoResult
from kizu_fast.store import FoundFile
from kizu_fast.store.memory import MemoryQueue, MemoryResults, MemorySpaces
from kizu_fast.store.memory_library import MemoryAssets
from kizu_fast.store.memory_state import MemoryDatabase
from kizu_fast.worker.spaces import SpaceKeeper

RANDOM, REAL = "open_clip/ViT-B-32/random/p1/11111111", "open_clip/ViT-B-32/openai/p1/40d36571"


class Shelf:
    """A library of photos and whoever embeds them."""

    def __init__(self) -> None:
        database = MemoryDatabase()
        self.queue, self.results, self.spaces = MemoryQueue(database), MemoryResults(database), MemorySpaces(database)
        self.assets = MemoryAssets(database)

    async def add(self, count: int) -> None:
        files = [FoundFile(b"/p/%d.jpg" % n, 1, 1, hashlib.sha256(b"%d" % n).digest(), PhotoFacts(4, 3)) for n in range(count)]
        await self.assets.register(LIBRARY_OWNER, files, ["embedding"])

    async def embed(self, space: str, count: int = 100) -> int:
        jobs = await self.queue.claim("w", count, 60)
        vector = np.zeros(4, np.float32)
        vector[0] = 1
        done = [(job, PhotoResult(None, None, None, None, embedding=Embedding(space, vector), models={Operation.EMBEDDING: "m"})) for job in jobs]
        await self.results.settle(done)
        return len(jobs)

    def keeper(self, space: str) -> SpaceKeeper:
        return SpaceKeeper(self.spaces, self.queue, space)

    async def active(self) -> str | None:
        space = await self.spaces.active_space()
        return None if space is None else space.name


def test_the_first_space_is_active_as_soon_as_it_has_a_row() -> None:
    async def main() -> None:
        shelf = Shelf()
        keeper = shelf.keeper(RANDOM)
        await keeper.prepare()
        await shelf.add(3)
        await shelf.embed(RANDOM, 1)
        await keeper.switch()
        assert await shelf.active() == RANDOM

    asyncio.run(main())


def test_official_weights_that_arrive_later_are_filled_in_and_switched_to_when_whole() -> None:
    async def main() -> None:
        shelf = Shelf()
        await shelf.add(5)
        await shelf.embed(RANDOM)
        await shelf.keeper(RANDOM).switch()
        keeper = shelf.keeper(REAL)
        await keeper.prepare()
        assert (await shelf.queue.counts(LIBRARY_OWNER)).pending == 5
        assert await shelf.embed(REAL, 3) == 3
        await keeper.switch()
        assert await shelf.active() == RANDOM
        assert await shelf.embed(REAL) == 2
        await keeper.switch()
        assert await shelf.active() == REAL

    asyncio.run(main())


def test_a_start_with_nothing_new_queues_nothing() -> None:
    async def main() -> None:
        shelf = Shelf()
        await shelf.add(2)
        await shelf.embed(REAL)
        await shelf.keeper(REAL).switch()
        await shelf.keeper(REAL).prepare()
        assert (await shelf.queue.counts(LIBRARY_OWNER)).pending == 0

    asyncio.run(main())


def test_vectors_of_random_weights_never_replace_real_ones() -> None:
    async def main() -> None:
        shelf = Shelf()
        await shelf.add(2)
        await shelf.embed(REAL)
        await shelf.keeper(REAL).switch()
        keeper = shelf.keeper(RANDOM)
        await keeper.prepare()
        await keeper.switch()
        assert (await shelf.queue.counts(LIBRARY_OWNER)).pending == 0
        assert await shelf.active() == REAL

    asyncio.run(main())


def test_without_an_embedder_nothing_is_kept() -> None:
    async def main() -> None:
        shelf = Shelf()
        keeper = SpaceKeeper(shelf.spaces, shelf.queue, None)
        await keeper.prepare()
        await keeper.switch()
        assert await shelf.active() is None

    asyncio.run(main())
