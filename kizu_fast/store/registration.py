"""What registering a batch of files means, as a plan: pure, so that PostgreSQL and the fake in memory cannot disagree.

An asset is its bytes, a path is where they lie (docs/decisions/004-library-paths.md). Bytes decide before names: files whose bytes are known
are placed first, so that a renamed or swapped file keeps its id; only then do paths with unknown bytes become changed or new assets.
"""

import os
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from kizu_fast.store import FoundFile, Registered


@dataclass(slots=True)
class AssetState:
    """A live asset as the plan sees it; the plan works on it in place."""

    id: UUID
    sha256: bytes | None
    primary: bytes | None  # the path to show and to read
    paths: set[bytes]
    outcomes: frozenset[str] = frozenset()  # operations that ended, done or failed for good, by any model
    open: frozenset[str] = frozenset()  # operations of its pending and processing jobs


@dataclass(slots=True)
class Plan:
    """The writes. Every path of files is in placed once."""

    placed: dict[bytes, UUID] = field(default_factory=dict)
    new: dict[UUID, FoundFile] = field(default_factory=dict)
    changed: dict[UUID, FoundFile] = field(default_factory=dict)  # same asset, other bytes: what was found on it is void
    primary: dict[UUID, bytes] = field(default_factory=dict)  # assets whose path to show is another one now
    dropped: set[bytes] = field(default_factory=set)  # paths that are gone
    orphans: set[UUID] = field(default_factory=set)  # assets whose last file now holds other bytes
    wanted: dict[UUID, set[str]] = field(default_factory=dict)  # operations to queue
    delayed: set[UUID] = field(default_factory=set)  # their file is still being copied
    moved: int = 0

    def counts(self, queued: int) -> Registered:
        return Registered(len(self.new), len(self.placed) - len(self.new), queued, len(self.changed), self.moved)


class Planner:
    """One call of plan() per batch."""

    def __init__(self, states: Iterable[AssetState], operations: Sequence[str], gone: Collection[bytes]) -> None:
        self._assets: dict[UUID, AssetState] = {state.id: state for state in states}
        self._by_sha = {state.sha256: state for state in self._assets.values() if state.sha256 is not None}
        self._by_path = {path: state for state in self._assets.values() for path in state.paths}
        self._asked = frozenset(operations)
        self._gone = frozenset(gone)
        self._files: Mapping[bytes, FoundFile] = {}
        self._plan = Plan()
        self._touched: set[UUID] = set()

    def plan(self, files: Sequence[FoundFile]) -> Plan:
        """Bytes that are known first, in the order given, then the rest. The last file of a path counts."""
        self._files = {file.path: file for file in files}
        known = [file for file in self._files.values() if file.sha256 in self._by_sha]
        rest = [file for file in self._files.values() if file.sha256 not in self._by_sha]
        for file in (*known, *rest):
            self._place(file)
        for asset_id in self._touched:
            self._settle_paths(self._assets[asset_id])
        return self._plan

    def _place(self, file: FoundFile) -> None:
        here = self._by_path.get(file.path)
        same_bytes = self._by_sha.get(file.sha256)
        if same_bytes is not None:
            asset = self._attach(file, here, same_bytes)
        elif here is not None and not self._has_other_copy(here, file.path):
            asset = self._change(file, here)
        else:
            asset = self._create(file, here)
        self._plan.placed[file.path] = asset.id
        if not file.settled and asset.id in self._plan.wanted:
            self._plan.delayed.add(asset.id)

    def _attach(self, file: FoundFile, here: AssetState | None, asset: AssetState) -> AssetState:
        if here is not asset:
            vanished = asset.paths & self._gone - {file.path}
            self._plan.moved += bool(vanished)
            self._drop(asset, vanished)
            self._relink(file.path, here, asset)
        missing = self._asked - asset.outcomes - asset.open
        if missing and asset.id not in self._plan.changed and asset.id not in self._plan.new:
            self._plan.wanted.setdefault(asset.id, set()).update(missing)
        return asset

    def _change(self, file: FoundFile, asset: AssetState) -> AssetState:
        if asset.sha256 is not None:
            self._by_sha.pop(asset.sha256, None)
        asset.sha256 = file.sha256
        self._by_sha[file.sha256] = asset
        self._drop(asset, asset.paths & self._gone - {file.path})
        self._touched.add(asset.id)
        self._plan.changed[asset.id] = file
        self._plan.wanted[asset.id] = {*self._asked, *asset.outcomes, *asset.open}
        return asset

    def _create(self, file: FoundFile, here: AssetState | None) -> AssetState:
        asset = AssetState(time_ordered_id(), file.sha256, file.path, set())
        self._assets[asset.id] = asset
        self._by_sha[file.sha256] = asset
        self._relink(file.path, here, asset)
        self._plan.new[asset.id] = file
        self._plan.wanted[asset.id] = set(self._asked)
        return asset

    def _has_other_copy(self, asset: AssetState, path: bytes) -> bool:
        """Whether another file still carries the asset's bytes, as far as this batch and the caller know."""
        others = asset.paths - {path} - self._gone
        return any(other not in self._files or self._files[other].sha256 == asset.sha256 for other in others)

    def _relink(self, path: bytes, old: AssetState | None, new: AssetState) -> None:
        if old is not None:
            old.paths.discard(path)
            self._touched.add(old.id)
        new.paths.add(path)
        self._by_path[path] = new
        self._touched.add(new.id)

    def _drop(self, asset: AssetState, paths: set[bytes]) -> None:
        asset.paths -= paths
        self._plan.dropped |= paths
        for path in paths:
            self._by_path.pop(path, None)

    def _settle_paths(self, asset: AssetState) -> None:
        """The path to show must be one that is left; an asset without any file has lost its bytes."""
        if not asset.paths:
            self._plan.orphans.add(asset.id)
            self._plan.wanted.pop(asset.id, None)
        elif asset.primary not in asset.paths:
            asset.primary = min(asset.paths)
            self._plan.primary[asset.id] = asset.primary


def time_ordered_id() -> UUID:
    """UUID of version 7 (RFC 9562): 48 bits of milliseconds since 1970, the rest random. Photos that came together lie together in every index."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return UUID(int=value & ~(0xF << 76 | 0x3 << 62) | 0x7 << 76 | 0x2 << 62)
