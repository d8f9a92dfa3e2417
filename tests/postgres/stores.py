"""The store over a test's database, and the one in memory, for fixtures of several modules."""

from samples import Stores

from kizu_fast.store.assets import Assets
from kizu_fast.store.coverage import Coverage
from kizu_fast.store.memory import MemoryQueue, MemoryResults, MemorySpaces
from kizu_fast.store.memory_library import MemoryAssets, MemoryCoverage, MemorySearch
from kizu_fast.store.memory_state import MemoryDatabase
from kizu_fast.store.pool import Database
from kizu_fast.store.queue import Queue
from kizu_fast.store.results import Results
from kizu_fast.store.search import Search
from kizu_fast.store.spaces import Spaces


def postgres_stores(database: Database) -> Stores:
    """All parts over one database; time passes by moving due times and leases back."""

    async def pass_time(seconds: float) -> None:
        async with database.connection() as connection:
            await connection.execute(
                "update processing_queue set not_before = not_before - make_interval(secs => $1), lease_expires_at = lease_expires_at - make_interval(secs => $1)",
                seconds,
            )

    parts = Queue(database), Results(database), Spaces(database), Assets(database), Search(database), Coverage(database)
    return Stores(*parts, pass_time)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def pass_time(self, seconds: float) -> None:
        self.now += seconds


def memory_stores() -> Stores:
    """All parts over one state; time passes when told to."""
    clock = Clock()
    state = MemoryDatabase(clock)
    parts = MemoryQueue(state), MemoryResults(state), MemorySpaces(state), MemoryAssets(state), MemorySearch(state), MemoryCoverage(state)
    return Stores(*parts, clock.pass_time)
