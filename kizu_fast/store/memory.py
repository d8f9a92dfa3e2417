"""The store in a process: for tests of whatever stands on it. It passes the contract suite that PostgreSQL passes, and shares its pure parts."""

from collections.abc import Iterator, Sequence
from uuid import UUID

from kizu_fast.domain import Job, PhotoResult
from kizu_fast.errors import ConfigError, KizuError, PermanentError
from kizu_fast.store import (
    UNRUN,
    KnownFile,
    QueueCounts,
    Settled,
    Space,
    is_outcome,
    reason_of,
)
from kizu_fast.store.checks import name_of
from kizu_fast.store.faces import StoredFaceRow, plan_faces
from kizu_fast.store.memory_state import MAX_ATTEMPTS, MemoryDatabase, StoredAsset, StoredJob, as_asset
from kizu_fast.store.rows import OutcomeRow, ResultRows, rows_of

_BACKOFF_S, _BACKOFF_CAP_S = 5.0, 3600.0


class MemoryQueue:
    """JobQueue in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._db = database

    async def claim(
        self,
        worker_id: str,  # noqa: ARG002
        limit: int,
        lease_s: float,
        operations: Sequence[str] | None = None,
        *,
        without: Sequence[str] = (),
    ) -> list[Job]:
        """Due jobs by priority, then due time."""
        now, allowed = self._db.clock(), None if operations is None else set(operations)
        due = [job for job in self._db.jobs.values() if job.status == "pending" and job.due <= now and (allowed is None or job.operations <= allowed)]
        due = [job for job in due if not job.operations <= set(without)]
        taken = sorted(due, key=lambda job: (job.priority, job.due, job.order))[:limit]
        for job in taken:
            job.status, job.error, job.lease_ends = "processing", None, now + lease_s
            job.attempts, job.lease_token = job.attempts + 1, job.lease_token + 1
        return [self._job(job) for job in taken]

    def _job(self, job: StoredJob) -> Job:
        asset = as_asset(self._db.assets[job.asset_id])
        return Job(job.id, asset, tuple(sorted(job.operations)), job.attempts, MAX_ATTEMPTS, job.lease_token)

    def owned(self, jobs: Sequence[Job]) -> Iterator[StoredJob]:
        """The rows that these claims still own."""
        for job in jobs:
            stored = self._db.jobs.get(job.id)
            if stored is not None and stored.status == "processing" and stored.lease_token == job.lease_token:
                yield stored

    async def heartbeat(self, jobs: Sequence[Job], lease_s: float) -> set[UUID]:
        """Prolongs leases."""
        owned = list(self.owned(jobs))
        for job in owned:
            job.lease_ends = self._db.clock() + lease_s
        return {job.id for job in owned}

    async def fail(self, jobs: Sequence[Job], errors: Sequence[KizuError | str], *, retry: bool) -> dict[UUID, str]:
        """Backoff, or failed."""
        error_of = {job.id: error for job, error in zip(jobs, errors, strict=True)}
        statuses = {}
        for job in list(self.owned(jobs)):
            error = error_of[job.id]
            if retry and job.attempts < MAX_ATTEMPTS:
                self._db.requeue(job, self._db.clock() + min(_BACKOFF_CAP_S, _BACKOFF_S * 2 ** (job.attempts - 1)), job.attempts, reason_of(error))
            else:
                job.status, job.error = "failed", reason_of(error)
                self._remember(job, error, retry=retry)
            statuses[job.id] = job.status
        return statuses

    def _remember(self, job: StoredJob, error: KizuError | str, *, retry: bool) -> None:
        asset = self._db.assets[job.asset_id]
        known = {operation for operation, _ in asset.outcomes}
        if is_outcome(error) and not retry:
            asset.outcomes |= {(o, UNRUN): OutcomeRow(o, UNRUN, "failed", error=reason_of(error)) for o in job.operations - known}

    async def release(self, jobs: Sequence[Job]) -> set[UUID]:
        """Attempt given back."""
        owned = list(self.owned(jobs))
        for job in owned:
            self._db.requeue(job, job.due, max(job.attempts - 1, 0), None)
        return {job.id for job in owned}

    async def defer(self, jobs: Sequence[Job], delay_s: float, reason: str) -> set[UUID]:
        """Attempt given back, due later."""
        owned = list(self.owned(jobs))
        for job in owned:
            self._db.requeue(job, self._db.clock() + delay_s, max(job.attempts - 1, 0), reason_of(reason))
        return {job.id for job in owned}

    async def reset_stale(self) -> int:
        """Leases that ended."""
        stale = [job for job in self._db.jobs.values() if job.status == "processing" and job.lease_ends < self._db.clock()]
        for job in stale:
            if job.attempts >= MAX_ATTEMPTS:
                job.status, job.error = "failed", f"lease expired (attempt {job.attempts})"
            else:
                self._db.requeue(
                    job, self._db.clock() + _BACKOFF_S * 2 ** (job.attempts - 1), job.attempts, f"lease expired (attempt {job.attempts})"
                )
        return len(stale)

    async def counts(self, user: UUID) -> QueueCounts:
        """Rows by status."""
        return self._db.counts(user)

    async def unfinished(self, operations: Sequence[str] | None = None) -> int:
        """Pending and processing rows."""
        jobs = [job for job in self._db.jobs.values() if job.status in ("pending", "processing")]
        return sum(operations is None or job.operations <= set(operations) for job in jobs)

    async def enqueue(self, user: UUID, asset_ids: Sequence[UUID], operations: Sequence[str], *, priority: int = 5) -> int:
        """Merges with pending jobs."""
        return sum(self._db.enqueue(asset.id, operations, priority) for asset in self._db.live(user) if asset.id in set(asset_ids))

    async def queue_missing(self, user: UUID | None, operation: str, model: str) -> int:
        """Assets without that outcome."""
        return sum(self._db.enqueue(asset.id, [operation]) for asset in self._db.live(user) if self._lacks(asset, operation, model))

    def _lacks(self, asset: StoredAsset, operation: str, model: str) -> bool:
        under_way = any(operation in job.operations for job in self._db.jobs_of(asset.id, "pending", "processing"))
        return not under_way and (operation, model) not in asset.outcomes and (operation, UNRUN) not in asset.outcomes

    async def purge(self) -> int:
        """Nothing is old in memory."""
        return 0


class MemorySpaces:
    """SpaceStore in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._db = database

    async def ensure_space(self, name: str, dim: int, kind: str = "image") -> int:
        """By name; ConfigError for another width or kind."""
        space, known_kind = self._db.spaces.setdefault(name, (Space(len(self._db.spaces) + 100, name, dim), kind))
        if (known_kind, space.dim) != (kind, dim):
            raise ConfigError(f"vector space {name} holds {known_kind} vectors of {space.dim} numbers, not {kind} vectors of {dim}")
        return space.id

    async def activate_if_whole(self, name: str) -> bool:
        """Nothing that search finds may be lost."""
        if name not in self._db.spaces:
            return False
        kind = self._db.spaces[name][1]
        old = self._db.active.get(kind, name)
        if old != name and self._lacks(kind, old, name):
            return False
        self._db.active[kind] = name
        return True

    def _lacks(self, kind: str, old: str, new: str) -> bool:
        if kind == "face":
            found = [asset for asset in self._db.live(None) if ("faces", old) in asset.outcomes]
            return not all({("faces", new), ("faces", UNRUN)} & asset.outcomes.keys() for asset in found)
        found = [asset for asset in self._db.live(None) if old in asset.embeddings]
        failed = [{model for (op, model), row in asset.outcomes.items() if op == "embedding" and row.outcome == "failed"} for asset in found]
        return not all(new in asset.embeddings or models & {new, UNRUN} for asset, models in zip(found, failed, strict=True))

    async def active_space(self, kind: str = "image") -> Space | None:
        """The one that search asks."""
        return self._db.spaces[self._db.active[kind]][0] if kind in self._db.active else None


class MemoryResults:
    """ResultStore in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._db, self._queue, self._spaces = database, MemoryQueue(database), MemorySpaces(database)

    async def settle(self, batch: Sequence[tuple[Job, PhotoResult]]) -> Settled:
        """One by one: nothing here can fail halfway."""
        completed, failed, lost = set(), dict[UUID, KizuError](), set()
        for job, result in batch:
            try:
                rows = rows_of(job, result)
                if next(self._queue.owned([job]), None) is None:
                    lost.add(job.id)
                    continue
                await self._write(rows)
            except PermanentError as error:
                failed[job.id] = error
                continue
            self._db.enqueue(job.asset.id, result.postponed)
            if rows.failure is None:
                self._db.jobs[job.id].status, self._db.jobs[job.id].error = "completed", None
                completed.add(job.id)
            else:
                failed[job.id] = rows.failure
        return Settled(frozenset(completed), failed, frozenset(lost))

    async def _write(self, rows: ResultRows) -> None:
        asset, result = self._db.assets[rows.job.asset.id], rows.result
        self._update_file(asset, rows)
        asset.facts = result.facts or asset.facts
        if result.embedding is not None:
            await self._spaces.ensure_space(result.embedding.space, len(result.embedding.vector))
            asset.embeddings[result.embedding.space] = result.embedding
        if rows.objects is not None:
            asset.objects = rows.objects
        asset.texts, asset.caption = rows.texts or asset.texts, rows.caption or asset.caption
        if rows.faces is not None and result.faces is not None:
            for face in rows.faces:
                await self._spaces.ensure_space(result.faces.space, len(face.vector), "face")
            stored = [StoredFaceRow(face_id, index, face.bbox) for index, (face_id, face) in enumerate(asset.faces.items())]
            plan = plan_faces(rows.faces, stored, ())
            asset.faces = {face.id: face.row for face in (*plan.updated, *plan.added)}
        replaced = {"objects": rows.objects, "ocr": rows.texts, "describe": rows.caption}
        asset.outcomes = {key: row for key, row in asset.outcomes.items() if replaced.get(key[0]) is None}
        done = {row.operation for row in rows.outcomes if row.outcome == "done"}
        asset.outcomes = {key: row for key, row in asset.outcomes.items() if not (key[0] in done and row.outcome == "failed")}
        asset.outcomes |= {(row.operation, row.model): row for row in rows.outcomes}

    def _update_file(self, asset: StoredAsset, rows: ResultRows) -> None:
        """Other bytes than were registered void what was found on the old ones."""
        result, path = rows.result, rows.job.asset.path
        if result.sha256 is not None and asset.sha256 is not None and result.sha256 != asset.sha256:
            if any(other.sha256 == result.sha256 for other in self._db.live(asset.user_id)):
                raise PermanentError(f"{name_of(rows.job)} changed: its bytes are now those of another photo of this library")
            rest = {operation for operation, _ in asset.outcomes} - set(rows.job.operations)
            asset.forget_results()
            self._db.enqueue(asset.id, rest)
        asset.sha256, asset.byte_size = result.sha256 or asset.sha256, result.byte_size or asset.byte_size
        if path in asset.paths:
            asset.paths[path] = KnownFile(asset.id, result.byte_size, result.mtime_ns, result.sha256 or asset.paths[path].sha256)
