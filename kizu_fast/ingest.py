"""Files of a library to assets and jobs: walk, compare with what is known, hash and read the headers of the rest, register in batches."""

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from uuid import UUID

from kizu_fast.domain import PhotoFacts
from kizu_fast.errors import PermanentError, SourceUnavailable
from kizu_fast.imaging import looks_like_picture, read_facts
from kizu_fast.sources import LibrarySource, below, shown
from kizu_fast.store import AssetStore, FoundFile, KnownFile, Registered
from kizu_fast.walk import Rejected, Seen, Walk, real_names

_BATCH = 500  # files a register call
_THREADS = 4  # disks answer faster when asked for several files at once; hashing and file reads release the GIL
_HEAD_BYTES = 64
_SINGLE_SCOPES = 8  # files of one folder that are asked for one by one
_CHUNK = 1024 * 1024
_LARGE_BYTES = 32 * 1024 * 1024  # files above this are held one at a time
_FRESH_NS = 2_000_000_000  # a file this young that cannot be read yet is probably still being copied

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class IngestOrder:
    """What is asked of one ingest. roots: LIBRARY_ROOT; empty: the folders given become roots and are remembered."""

    user: UUID
    operations: Sequence[str]
    roots: Sequence[Path]
    max_pixels: int
    max_file_bytes: int


@dataclass(frozen=True, slots=True)
class IngestReport:
    """registered + known + rejected = regular files seen, plus one rejection for each folder or path that could not be entered.

    missing counts known files that are not there any more; nothing is removed for that. changed and moved are parts of known.
    """

    registered: int = 0
    known: int = 0
    queued: int = 0
    rejected: tuple[Rejected, ...] = ()
    missing: int = 0
    changed: int = 0
    moved: int = 0

    def as_json(self) -> dict[str, object]:
        """The document of `ingest --json`."""
        return {
            "registered": self.registered,
            "known": self.known,
            "queued": self.queued,
            "rejected": [{"path": one.path, "reason": one.reason} for one in self.rejected],
            "missing": self.missing,
            "changed": self.changed,
            "moved": self.moved,
        }


@dataclass(slots=True)
class _Course:
    """What has come together so far."""

    known: Mapping[bytes, KnownFile]
    gone: frozenset[bytes]
    counts: Registered = field(default_factory=Registered)
    rejected: list[Rejected] = field(default_factory=list)
    done: int = 0


async def ingest(paths: Sequence[Path], *, store: AssetStore, order: IngestOrder, on_progress: Progress | None = None) -> IngestReport:
    """Registers every picture below the paths and queues what it lacks. Files are read in a few threads; DatabaseUnavailable passes through.

    A file that cannot be taken is reported and the walk goes on. on_progress(files so far, None) is called after each batch.
    """
    names = await asyncio.to_thread(real_names, paths)
    roots = await _roots(names, store, order)
    known = await _known(names, store, order.user)
    absent = await asyncio.to_thread(_missing, names)
    missing = await asyncio.to_thread(_missing, known)
    course = _Course(known, frozenset(path for path in missing if not _is_below(path, absent)))
    walk = Walk([name for name in names if name not in absent], roots).files()
    course.rejected.extend(_absent(name, known) for name in names if name in absent)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="ingest") as threads:
        reader = _Reader(LibrarySource(roots), order, threads)
        while batch := await asyncio.to_thread(_take, walk):
            await _register(batch, course, reader, store)
            if on_progress:
                on_progress(course.done, None)
    counts = course.counts
    return IngestReport(counts.registered, counts.known, counts.queued, tuple(course.rejected), len(missing), counts.changed, counts.moved)


async def _register(batch: Sequence[Seen | Rejected], course: _Course, reader: "_Reader", store: AssetStore) -> None:
    course.rejected.extend(one for one in batch if isinstance(one, Rejected))
    seen = [one for one in batch if isinstance(one, Seen)]
    outcomes = await asyncio.gather(*(reader.found(one, course.known.get(one.path)) for one in seen))
    course.rejected.extend(one for one in outcomes if isinstance(one, Rejected))
    files = [one for one in outcomes if isinstance(one, FoundFile)]
    if files:
        unexpected = {file.sha256 for file in files if file.path not in course.known or course.known[file.path].sha256 != file.sha256}
        copies = await store.copies(reader.order.user, unexpected) if unexpected else {}
        moved_away = await asyncio.to_thread(_missing, [path for paths in copies.values() for path in paths])
        course.counts += await store.register(reader.order.user, files, reader.order.operations, gone=course.gone | moved_away)
    course.done += len(batch)


class _Reader:
    """Turns a file that the walk saw into what the store registers."""

    def __init__(self, source: LibrarySource, order: IngestOrder, threads: ThreadPoolExecutor) -> None:
        self.order = order
        self._source, self._threads = source, threads
        self._large = threading.Lock()

    async def found(self, seen: Seen, known: KnownFile | None) -> FoundFile | Rejected:
        """An unchanged known file is not read again: size and time decide."""
        if known and known.sha256 and (known.byte_size, known.mtime_ns) == (seen.byte_size, seen.mtime_ns):
            return FoundFile(seen.path, seen.byte_size, seen.mtime_ns, known.sha256, None)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, seen)

    def _read(self, seen: Seen) -> FoundFile | Rejected:
        try:
            with self._source.opened(seen.path) as descriptor:
                head = os.read(descriptor, _HEAD_BYTES)
                if not looks_like_picture(head, os.fsdecode(os.path.basename(seen.path))):  # noqa: PTH119  # bytes
                    return Rejected(os.fsdecode(seen.path), "is no picture, neither by content nor by name")
                if seen.byte_size <= _LARGE_BYTES:
                    return self._examine(descriptor, seen.path)
                with self._large:
                    return self._examine(descriptor, seen.path)
        except (PermanentError, SourceUnavailable) as error:
            return Rejected(os.fsdecode(seen.path), str(error).removeprefix(f"{shown(seen.path)}: "))

    def _examine(self, descriptor: int, path: bytes) -> FoundFile:
        """Hash and header. A picture that cannot be read is registered all the same: its job then fails with the reason."""
        before = os.fstat(descriptor)
        os.lseek(descriptor, 0, os.SEEK_SET)
        digest, kept = hashlib.sha256(), []
        while part := os.read(descriptor, _CHUNK):
            digest.update(part)
            if before.st_size <= self.order.max_file_bytes:
                kept.append(part)
        facts = self._facts(b"".join(kept))
        after = os.fstat(descriptor)
        still = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
        fresh = time.time_ns() - after.st_mtime_ns < _FRESH_NS
        return FoundFile(path, after.st_size, after.st_mtime_ns, digest.digest(), facts, settled=still and not (facts is None and fresh))

    def _facts(self, content: bytes) -> PhotoFacts | None:
        try:
            return read_facts(content, max_pixels=self.order.max_pixels, max_bytes=self.order.max_file_bytes)
        except PermanentError:
            return None


async def _roots(names: Sequence[bytes], store: AssetStore, order: IngestOrder) -> list[bytes]:
    """LIBRARY_ROOT, or else the folders given and those given before."""
    if order.roots:
        return await asyncio.to_thread(real_names, order.roots)
    given = await asyncio.to_thread(_folders, names)
    await store.remember_roots(given)
    return list(dict.fromkeys([*given, *await store.roots()]))


async def _known(names: Sequence[bytes], store: AssetStore, user: UUID) -> dict[bytes, KnownFile]:
    """What is known at or below the paths."""
    known: dict[bytes, KnownFile] = {}
    for scope in await asyncio.to_thread(_scopes, names):
        known |= await store.known_paths(user, scope)
    wanted = frozenset(names)
    return {path: file for path, file in known.items() if _is_below(path, wanted)}


def _folders(names: Iterable[bytes]) -> list[bytes]:
    """The folders among the paths, and those of the files among them."""
    folders = (name if os.path.isdir(name) else os.path.dirname(name) for name in names if os.path.exists(name))  # noqa: PTH110, PTH112, PTH120  # bytes
    return list(dict.fromkeys(folders))


def _scopes(names: Iterable[bytes]) -> list[bytes]:
    """What to ask the store for: many files of one folder are asked for together, as `ingest *.jpg` names thousands."""
    files: dict[bytes, list[bytes]] = {}
    scopes: list[bytes] = []
    for name in names:
        if os.path.isfile(name):  # noqa: PTH113  # bytes
            files.setdefault(os.path.dirname(name), []).append(name)  # noqa: PTH120  # bytes
        else:
            scopes.append(name)
    for folder, members in files.items():
        scopes.extend(members if len(members) <= _SINGLE_SCOPES else [folder])
    return scopes


def _take(walk: Iterator[Seen | Rejected]) -> list[Seen | Rejected]:
    return list(islice(walk, _BATCH))


def _missing(paths: Iterable[bytes]) -> frozenset[bytes]:
    """Those of the paths that are certainly not there. A folder that may not be entered says nothing about its files."""
    return frozenset(path for path in paths if _is_gone(path))


def _is_gone(path: bytes) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _is_below(path: bytes, folders: Container[bytes]) -> bool:
    """Whether the path or a folder above it is among `folders`."""
    while path not in folders:
        above = os.path.dirname(path)  # noqa: PTH120  # bytes
        if above == path:
            return False
        path = above
    return True


def _absent(name: bytes, known: Iterable[bytes]) -> Rejected:
    """A path that is not there: a typing error, something deleted, or a drive that is not mounted. Nothing known is touched."""
    count = sum(below(path, name) for path in known)
    kept = f"; {count} known photo{'s' * (count != 1)} below it stay{'s' * (count == 1)} as they are" if count else ""
    return Rejected(os.fsdecode(name), f"does not exist{kept}")
