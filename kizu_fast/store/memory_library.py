"""The library and its search in a process, over memory_state.py: the fakes beside assets.py and search.py."""

import os
from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from kizu_fast.domain import Asset, PhotoFacts
from kizu_fast.store import UNRUN, UNSETTLED_DELAY_S, Card, Forgotten, FoundFile, Hit, KnownFile, LibraryCounts, Outdated, Person, Registered
from kizu_fast.store.checks import check_unit
from kizu_fast.store.details import AssetDetails, JobState, StoredEmbedding, StoredFace, StoredObject, StoredText
from kizu_fast.store.fractions import points_to_pixels, to_pixels
from kizu_fast.store.memory_state import MemoryDatabase, StoredAsset, as_asset
from kizu_fast.store.registration import AssetState, Plan, Planner
from kizu_fast.store.rows import wall_time
from kizu_fast.store.texts import Read, best_read
from kizu_fast.wording import asked, folded


class MemoryAssets:
    """AssetStore in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._db = database

    async def register(self, user: UUID, files: Sequence[FoundFile], operations: Sequence[str], *, gone: Collection[bytes] = ()) -> Registered:
        """The same plan as in PostgreSQL."""
        if not operations:
            raise ValueError("register needs at least one operation")
        states = [self._state(asset) for asset in self._db.live(user)]
        plan = Planner(states, [str(operation) for operation in operations], gone).plan(files)
        return plan.counts(self._apply(user, plan, {file.path: file for file in files}))

    def _state(self, asset: StoredAsset) -> AssetState:
        open_ = {operation for job in self._db.jobs_of(asset.id, "pending", "processing") for operation in job.operations}
        outcomes = frozenset(operation for operation, _ in asset.outcomes)
        return AssetState(asset.id, asset.sha256, asset.primary, set(asset.paths), outcomes, frozenset(open_))

    def _apply(self, user: UUID, plan: Plan, files: dict[bytes, FoundFile]) -> int:
        self._put_assets(user, plan)
        self._put_paths(user, plan, files)
        self._retire(plan.orphans)
        queued = sum(self._db.enqueue(asset_id, operations) for asset_id, operations in plan.wanted.items())
        for job in [job for asset_id in plan.delayed for job in self._db.jobs_of(asset_id, "pending")]:
            job.due = self._db.clock() + UNSETTLED_DELAY_S
        return queued

    def _put_assets(self, user: UUID, plan: Plan) -> None:
        for asset_id, file in plan.new.items():
            self._db.assets[asset_id] = StoredAsset(asset_id, user, file.sha256, file.byte_size, file.facts, file.path)
        for asset_id, file in plan.changed.items():
            asset = self._db.assets[asset_id]
            asset.forget_results()
            asset.sha256, asset.byte_size, asset.facts = file.sha256, file.byte_size, file.facts or asset.facts

    def _put_paths(self, user: UUID, plan: Plan, files: dict[bytes, FoundFile]) -> None:
        for asset in self._db.live(user):
            for path in plan.dropped | plan.placed.keys():
                asset.paths.pop(path, None)
        for path, asset_id in plan.placed.items():
            self._db.assets[asset_id].paths[path] = KnownFile(asset_id, files[path].byte_size, files[path].mtime_ns, files[path].sha256)
        for asset_id, path in plan.primary.items():
            self._db.assets[asset_id].primary = path

    def _retire(self, orphans: Collection[UUID]) -> None:
        for asset_id in orphans:
            self._db.assets[asset_id].deleted = True
            for job in self._db.jobs_of(asset_id, "pending"):
                del self._db.jobs[job.id]

    async def known_paths(self, user: UUID, below: bytes) -> dict[bytes, KnownFile]:
        """At or below."""
        return {path: known for asset in self._db.live(user) for path, known in asset.paths.items() if is_below(path, below)}

    async def copies(self, user: UUID, sha256s: Collection[bytes]) -> dict[bytes, list[bytes]]:
        """Paths by hash."""
        wanted = set(sha256s)
        return {
            asset.sha256: sorted(asset.paths) for asset in self._db.live(user) if asset.sha256 is not None and asset.sha256 in wanted and asset.paths
        }

    async def by_id(self, user: UUID, asset_id: UUID) -> Asset | None:
        """A live asset."""
        return next((as_asset(asset) for asset in self._db.live(user) if asset.id == asset_id), None)

    async def by_path(self, user: UUID, path: bytes) -> Asset | None:
        """By any of its paths."""
        return next((as_asset(asset, path) for asset in self._db.live(user) if path in asset.paths), None)

    async def by_sha256(self, user: UUID, sha256: bytes) -> Asset | None:
        """By its bytes."""
        return next((as_asset(asset) for asset in self._db.live(user) if asset.sha256 == sha256), None)

    async def details(self, user: UUID, asset_id: UUID, *, vectors: bool = False) -> AssetDetails | None:
        """As `show` prints it."""
        asset = next((asset for asset in self._db.live(user) if asset.id == asset_id), None)
        return None if asset is None else details_of(self._db, asset, vectors=vectors)

    async def counts(self, user: UUID) -> LibraryCounts:
        """As `status` prints it."""
        live, active = self._db.live(user), self._db.active.get("image")
        embeddings = sum(active in asset.embeddings for asset in live)
        faces, objects = sum(len(asset.faces) for asset in live), sum(len(asset.objects) for asset in live)
        texts, captions = sum(_lines(asset) for asset in live), sum(_captioned(asset) for asset in live)
        return LibraryCounts(self._db.counts(user), len(live), embeddings, faces, objects, texts, captions)

    async def forget(self, user: UUID, asset_ids: Sequence[UUID]) -> Forgotten:
        """Assets with all their rows."""
        total = Forgotten()
        for asset in [self._db.assets[i] for i in asset_ids if i in self._db.assets and self._db.assets[i].user_id == user]:
            jobs = [job.id for job in self._db.jobs.values() if job.asset_id == asset.id]
            found = len(asset.embeddings), len(asset.objects), len(asset.faces), int(_lines(asset) > 0), int(_captioned(asset))
            total += Forgotten(1, len(asset.paths), len(jobs), *found)
            del self._db.assets[asset.id]
            for job_id in jobs:
                del self._db.jobs[job_id]
        return total

    async def forget_below(self, user: UUID, folder: bytes) -> Forgotten:
        """An asset with a file elsewhere stays."""
        below = {asset.id: {path for path in asset.paths if is_below(path, folder)} for asset in self._db.live(user)}
        total = await self.forget(user, [asset_id for asset_id, paths in below.items() if paths and paths == self._db.assets[asset_id].paths.keys()])
        for asset in [asset for asset in self._db.live(user) if below[asset.id]]:
            for path in below[asset.id]:
                del asset.paths[path]
            asset.primary = asset.primary if asset.primary in asset.paths else min(asset.paths)
            total += Forgotten(paths=len(below[asset.id]))
        return total

    async def forget_user(self, user: UUID) -> Forgotten:
        """Everything of one user."""
        return await self.forget(user, [asset.id for asset in self._db.assets.values() if asset.user_id == user])

    async def remember_roots(self, roots: Sequence[bytes]) -> None:
        """Once each."""
        self._db.roots = sorted({*self._db.roots, *roots})

    async def roots(self) -> list[bytes]:
        """In order."""
        return list(self._db.roots)


class MemoryCoverage:
    """CoverageStore in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._db = database

    async def stored_models(self, user: UUID | None) -> dict[str, tuple[str, ...]]:
        """Of done outcomes, and of faces."""
        live = self._db.live(user)
        pairs = {key for asset in live for key, row in asset.outcomes.items() if row.outcome == "done"}
        pairs |= {("packs", face.detector) for asset in live for face in asset.faces.values()}
        return {operation: tuple(sorted(model for other, model in pairs if other == operation)) for operation, _ in pairs}

    async def outdated(self, user: UUID | None, current: Mapping[str, str]) -> list[Outdated]:
        """Counted one by one."""
        found = []
        for operation, model in sorted(current.items()):
            done = [_done_by(asset, operation) for asset in self._outdated(user, operation, model)]
            if done:
                found.append(Outdated(str(operation), tuple(sorted(set().union(*done))), len(done)))
        return found

    async def queue_outdated(self, user: UUID | None, operation: str, model: str) -> int:
        """As counted."""
        return sum(self._db.enqueue(asset.id, [operation]) for asset in self._outdated(user, operation, model))

    def _outdated(self, user: UUID | None, operation: str, model: str) -> list[StoredAsset]:
        return [asset for asset in self._db.live(user) if _done_by(asset, operation) and not self._excused(asset, operation, model)]

    def _excused(self, asset: StoredAsset, operation: str, model: str) -> bool:
        waits = any(operation in job.operations for job in self._db.jobs_of(asset.id, "pending", "processing"))
        failed = asset.outcomes.get((operation, UNRUN))
        return waits or (operation, model) in asset.outcomes or (failed is not None and failed.outcome == "failed")


def _done_by(asset: StoredAsset, operation: str) -> set[str]:
    return {model for (done, model), row in asset.outcomes.items() if done == operation and row.outcome == "done"}


class MemorySearch:
    """SearchStore in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._db = database

    async def by_vector(self, user: UUID, space: str, vector: NDArray[np.float32], limit: int) -> list[Hit]:
        """Exact."""
        check_unit(vector, "the query vector")
        hits = [Hit(a.id, float(a.embeddings[space].vector @ vector)) for a in self._db.live(user) if space in a.embeddings]
        return sorted(hits, key=lambda hit: (-hit.score, hit.asset_id))[:limit]

    async def by_objects(self, user: UUID, labels: Sequence[str], limit: int) -> list[Hit]:
        """Sum of confidences."""
        hits = [
            Hit(a.id, sum(o.confidence for o in a.objects if o.label in labels))
            for a in self._db.live(user)
            if {o.label for o in a.objects} & {*labels}
        ]
        return sorted(hits, key=lambda hit: (-hit.score, hit.asset_id))[:limit]

    async def by_text(self, user: UUID, question: str, limit: int) -> list[Hit]:
        """Every text of the user, looked at closely."""
        texts = {a.id: a.texts.full_text for a in self._db.live(user) if a.texts is not None}
        return _best(question, texts, limit, inflected=False)

    async def by_caption(self, user: UUID, question: str, limit: int) -> list[Hit]:
        """Every caption of the user."""
        captions = {a.id: a.caption.caption for a in self._db.live(user) if a.caption is not None}
        return _best(question, captions, limit, inflected=True)

    async def cards(self, user: UUID, asset_ids: Sequence[UUID]) -> dict[UUID, Card]:
        """As `search` prints them."""
        cards = {}
        for asset in [asset for asset in self._db.live(user) if asset.id in asset_ids]:
            details = details_of(self._db, asset, vectors=False)
            labels = tuple(dict.fromkeys(found.label for found in details.objects))
            cards[asset.id] = Card(asset.id, details.path, details.taken_at, labels, tuple(Person(face.cluster) for face in details.faces))
        return cards


def _best(question: str, texts: dict[UUID, str], limit: int, *, inflected: bool) -> list[Hit]:
    what = asked(folded(question))
    return best_read(what, (Read(asset_id, text, folded(text)) for asset_id, text in texts.items()), limit, inflected=inflected)


def _lines(asset: StoredAsset) -> int:
    return 0 if asset.texts is None else len(asset.texts.lines)


def _captioned(asset: StoredAsset) -> bool:
    return asset.caption is not None and bool(asset.caption.caption)


def is_below(path: bytes, folder: bytes) -> bool:
    """The path itself, or anything in it."""
    separator = os.fsencode(os.sep)
    bare = folder.rstrip(separator)
    return path == bare or path.startswith(bare + separator)


def details_of(database: MemoryDatabase, asset: StoredAsset, *, vectors: bool) -> AssetDetails:
    """The newest job; the size unknown until a header was read."""
    jobs = sorted(database.jobs_of(asset.id, "pending", "processing", "completed", "failed"), key=lambda job: job.order)
    facts = asset.facts or PhotoFacts(0, 0)
    gps = None if facts.latitude is None or facts.longitude is None else (facts.latitude, facts.longitude)
    found = sorted(asset.objects, key=lambda row: -row.confidence)
    return AssetDetails(
        asset_id=asset.id,
        path=None if asset.primary is None else os.fsdecode(asset.primary),
        width=facts.width or None,
        height=facts.height or None,
        orientation=None if asset.facts is None else facts.orientation,
        taken_at=wall_time(facts.taken_at_local, facts.utc_offset_minutes),
        gps=gps,
        job=JobState(jobs[-1].status, jobs[-1].attempts, jobs[-1].error) if jobs else None,
        embedding=_shown_embedding(asset, database.active.get("image"), vectors=vectors),
        objects=tuple(StoredObject(row.label, row.confidence, to_pixels(row.bbox, facts.width, facts.height)) for row in found),
        faces=_faces(asset, facts, vectors=vectors),
        texts=_texts(asset, facts),
        caption=asset.caption.caption if asset.caption is not None and asset.caption.caption else None,
    )


def _shown_embedding(asset: StoredAsset, active: str | None, *, vectors: bool) -> StoredEmbedding | None:
    """That of the active space if there is one, else the newest."""
    if not asset.embeddings:
        return None
    space = active if active in asset.embeddings else next(reversed(asset.embeddings))
    vector = asset.embeddings[space or ""].vector
    return StoredEmbedding(space or "", len(vector), tuple(vector.tolist()) if vectors else None)


def _faces(asset: StoredAsset, facts: PhotoFacts, *, vectors: bool) -> tuple[StoredFace, ...]:
    """Best first."""
    width, height = facts.width, facts.height
    return tuple(
        StoredFace(
            to_pixels(row.bbox, width, height),
            row.det_score,
            points_to_pixels(row.landmarks, width, height),
            vector=tuple(row.vector.tolist()) if vectors else None,
        )
        for row in sorted(asset.faces.values(), key=lambda row: -row.det_score)
    )


def _texts(asset: StoredAsset, facts: PhotoFacts) -> tuple[StoredText, ...]:
    """Reading order."""
    lines = () if asset.texts is None else asset.texts.lines
    return tuple(StoredText(line.text, line.confidence, points_to_pixels(line.box, facts.width, facts.height)) for line in lines)
