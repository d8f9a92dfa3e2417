"""One photo's way: bytes, decoded once, through every operation asked for. Each await is one bounded stage."""

import asyncio
import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from kizu_fast.budget import ByteBudget
from kizu_fast.domain import APART, Asset, Job, Photo, PhotoFacts, PhotoResult
from kizu_fast.engine import Engine
from kizu_fast.errors import FileUnsettled, ImageUnreadable
from kizu_fast.imaging import SHORT_SIDE
from kizu_fast.sources import FileBytes
from kizu_fast.worker.report import Tally
from kizu_fast.worker.roots import LibraryRoots

SETTLE_S = 5.0  # a file written to this recently may still be growing
_SCALED = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"})
_UNKNOWN_PIXELS = 12_000_000


@dataclass(frozen=True, slots=True)
class PhotoProcess:
    """Callable: job in, result out. Raises PermanentError, TransientError (FileUnsettled, Outage)."""

    engine: Engine
    source: LibraryRoots
    budget: ByteBudget
    max_file_bytes: int
    tally: Tally

    async def __call__(self, job: Job) -> PhotoResult:
        """Read, decode, analyse. Operations that fail alone are in the result's failures."""
        async with self.budget.hold(bytes_needed(job.asset, self.engine.long_side(job.operations))):
            file = await self._fetch(job.asset)
            photo, facts = await self._decode(job, file)
            now, later = split(job.operations)
            analysis = await self.engine.analyse(photo, now)
        changed = (file.byte_size, file.mtime_ns) != (job.asset.byte_size, job.asset.mtime_ns) or job.asset.sha256 is None
        return PhotoResult(
            facts=facts,
            byte_size=file.byte_size,
            mtime_ns=file.mtime_ns,
            sha256=await asyncio.to_thread(_digest, file.data) if changed else job.asset.sha256,
            embedding=analysis.embedding,
            objects=analysis.objects,
            faces=analysis.faces,
            texts=analysis.texts,
            caption=analysis.caption,
            models=analysis.models,
            failures=analysis.failures,
            postponed=later,
        )

    async def _fetch(self, asset: Asset) -> FileBytes:
        started = time.perf_counter()
        file = await self.source.read(asset, self.max_file_bytes)
        self.tally.add_stage("fetch", time.perf_counter() - started, 1)
        return file

    async def _decode(self, job: Job, file: FileBytes) -> tuple[Photo, PhotoFacts]:
        try:
            return await self.engine.decode(file.data, job.operations)
        except ImageUnreadable as error:
            # Half a file is no broken picture while somebody is still writing it.
            age_s = time.time() - file.mtime_ns / 1e9
            if 0 <= age_s < SETTLE_S:
                raise FileUnsettled(f"{display(job.asset.path)} is still being written") from error
            raise


def split(operations: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What this job does, and what becomes a job of its own: slow operations, unless nothing else was asked for."""
    slow = tuple(str(operation) for operation in operations if operation in APART)
    return (tuple(operations), ()) if len(slow) == len(operations) else (tuple(o for o in operations if o not in APART), slow)


def bytes_needed(asset: Asset, long_side: int = 1) -> int:
    """What this photo takes in memory: the file, and its pixels at the scale that the decoder chooses (JPEG) or at full size.

    long_side: what the decoder keeps of the longer side, in pixels.
    """
    width, height = asset.width or 0, asset.height or 0
    pixels = width * height or _UNKNOWN_PIXELS
    if PurePath(os.fsdecode(asset.path)).suffix.lower() in _SCALED:
        while min(width, height) >= 2 * SHORT_SIDE and max(width, height) >= 2 * long_side:
            width, height, pixels = width // 2, height // 2, pixels // 4
    return pixels * 3 + (asset.byte_size or 0)


def display(path: bytes) -> str:
    """A path as text that a log and the database accept, whatever its bytes."""
    return path.decode("utf-8", "backslashreplace")


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
