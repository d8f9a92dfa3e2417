"""The queue in PostgreSQL: batch claims with a lease and a fencing token. The rules are SQL functions (migrations); this speaks to them."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

import asyncpg

from kizu_fast.domain import Asset, Job
from kizu_fast.errors import KizuError
from kizu_fast.store import UNRUN, QueueCounts, is_outcome, reason_of
from kizu_fast.store.pool import Database
from kizu_fast.store.sql import statement

_MISSING_CHUNK = 5000  # assets per transaction of queue_missing: well below the statement timeout


class Queue:
    """JobQueue over PostgreSQL. Every call is one transaction; all raise DatabaseUnavailable in an outage."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(
        self, worker_id: str, limit: int, lease_s: float, operations: Sequence[str] | None = None, *, without: Sequence[str] = ()
    ) -> list[Job]:
        """Up to limit due jobs, best first, with the facts of their assets, in one round trip."""
        asked, spared = None if operations is None else list(map(str, operations)), list(map(str, without)) or None
        return [_job(row) for row in await self._database.fetch("claim", worker_id, limit, timedelta(seconds=lease_s), asked, spared)]

    async def heartbeat(self, jobs: Sequence[Job], lease_s: float) -> set[UUID]:
        """Prolongs the leases; the ids still owned. The worker drops the rest at once."""
        return _ids(await self._database.fetch("heartbeat", *_keys(jobs), timedelta(seconds=lease_s))) if jobs else set()

    async def fail(self, jobs: Sequence[Job], errors: Sequence[KizuError | str], *, retry: bool) -> dict[UUID, str]:
        """New status by job id. With retry a backoff until the attempts are spent; without, failed at once.

        Unreadable bytes are an outcome: ingest of the unchanged file does not ask again. A cap or a missing file is none.
        """
        if not jobs:
            return {}
        reasons = [reason_of(error) for error in errors]
        final = [job.id for job, error in zip(jobs, errors, strict=True) if not retry and is_outcome(error)]
        async with self._database.transaction() as connection:
            rows = await connection.fetch(statement("fail"), *_keys(jobs), reasons, retry)
            if final:
                await connection.execute(statement("fail_outcomes"), final, UNRUN)
        return {row["id"]: row["status"] for row in rows}

    async def release(self, jobs: Sequence[Job]) -> set[UUID]:
        """Back to pending, due at once, the attempt given back: shutdown or outage."""
        return _ids(await self._database.fetch("release", *_keys(jobs))) if jobs else set()

    async def defer(self, jobs: Sequence[Job], delay_s: float, reason: str) -> set[UUID]:
        """Back to pending, due delay_s later, the attempt given back, the reason kept in the row."""
        if not jobs:
            return set()
        reasons = [reason_of(reason)] * len(jobs)
        return _ids(await self._database.fetch("defer", *_keys(jobs), timedelta(seconds=delay_s), reasons))

    async def reset_stale(self) -> int:
        """Jobs whose lease ended: back to pending after a backoff, or failed after the last attempt. How many.

        Rows that a frozen process has locked come with a later call: the first thing here is to end its session, once it is frozen for 10 s.
        """
        await self._database.fetch("end_frozen")
        async with self._database.transaction() as connection:
            await connection.execute(statement("short_lock_wait"))
            try:
                async with connection.transaction():
                    return int(await connection.fetchval(statement("reset_stale")))
            except asyncpg.LockNotAvailableError:
                return 0

    async def counts(self, user: UUID) -> QueueCounts:
        """Rows of one user by status."""
        return queue_counts(await self._database.fetch("queue_counts", user))

    async def unfinished(self, operations: Sequence[str] | None = None) -> int:
        """Pending (backoff included) and processing jobs of all users; with operations only those that ask for nothing else."""
        asked = None if operations is None else [str(operation) for operation in operations]
        return int(await self._database.fetchval("unfinished", asked))

    async def enqueue(self, user: UUID, asset_ids: Sequence[UUID], operations: Sequence[str], *, priority: int = 5) -> int:
        """Merges into pending jobs; finished assets are queued again. How many assets got a new or larger job."""
        return len(await self._database.fetch("enqueue", user, *wanted(dict.fromkeys(asset_ids, operations)), priority))

    async def queue_missing(self, user: UUID | None, operation: str, model: str) -> int:
        """Queues all live assets that have no outcome of operation by model and no open job for it; None: of all users. How many."""
        total = 0
        while True:
            async with self._database.transaction() as connection:
                rows = await connection.fetch(statement("missing_assets"), user, str(operation), model, UNRUN, _MISSING_CHUNK)
                asked = {row["id"]: [operation] for row in rows}
                queued = await connection.fetch(statement("enqueue"), user, *wanted(asked), 5) if asked else []
            total += len(queued)
            if len(rows) < _MISSING_CHUNK or not queued:
                return total

    async def purge(self) -> int:
        """For the idle loop, every few minutes: retention of ended jobs, then a vacuum (not behind a transaction pooler). How many rows went."""
        gone = int(await self._database.fetchval("purge"))
        if self._database.listens:
            async with self._database.connection() as connection:
                await connection.execute(statement("vacuum_queue"))
        return gone


def wanted(operations_of: Mapping[UUID, Collection[str]]) -> tuple[list[UUID], str]:
    """The parameters $2 and $3 of enqueue.sql."""
    return list(operations_of), json.dumps({str(asset): sorted(map(str, operations)) for asset, operations in operations_of.items()})


def queue_counts(rows: Sequence[asyncpg.Record]) -> QueueCounts:
    """Rows of queue_counts.sql; a status without rows is 0."""
    return QueueCounts(**{row["status"]: row["jobs"] for row in rows})


def _keys(jobs: Sequence[Job]) -> tuple[list[UUID], list[int]]:
    return [job.id for job in jobs], [job.lease_token for job in jobs]


def _ids(rows: Sequence[asyncpg.Record]) -> set[UUID]:
    return {row["id"] for row in rows}


def _job(row: asyncpg.Record) -> Job:
    asset = Asset(
        id=row["asset_id"],
        user_id=row["user_id"],
        path=row["path"] or b"",
        byte_size=row["byte_size"],
        mtime_ns=row["mtime_ns"],
        sha256=row["content_sha256"],
        width=row["width"],
        height=row["height"],
    )
    return Job(row["id"], asset, tuple(row["operations"]), row["attempts"], row["max_attempts"], row["lease_token"])
