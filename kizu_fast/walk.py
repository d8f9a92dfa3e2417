"""The regular files below a library's folders, each once, under the names that the folders themselves list. Reads directories, never files."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kizu_fast.sources import below

# Folders and files that systems and programs keep beside photos, in lower case. Names that begin with a dot are passed over as well.
_SYSTEM = frozenset(
    [
        b"thumbs.db", b"ehthumbs.db", b"desktop.ini", b"icon\r", b"@eadir", b"#recycle", b"#snapshot", b"$recycle.bin", b"recycler",
        b"system volume information", b"lost+found", b"__macosx", b"picasa.ini",
    ]
)  # fmt: skip
_SEPARATOR = os.fsencode(os.sep)


@dataclass(frozen=True, slots=True)
class Seen:
    """A regular file inside the roots. path is absolute and free of links, as os.fsencode gives it."""

    path: bytes
    byte_size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """A file or folder that is not taken, with the cause in one line."""

    path: str
    reason: str


def real_names(paths: Iterable[Path]) -> list[bytes]:
    """Absolute, links resolved, each part spelled as its folder lists it, without repetitions. The paths need not exist.

    File systems that ignore case or normalise names open a file under spellings that no folder lists: one file would become several.
    """
    listings: dict[bytes, frozenset[bytes]] = {}
    return list(dict.fromkeys(_real_name(path, listings) for path in paths))


def _real_name(path: Path, listings: dict[bytes, frozenset[bytes]]) -> bytes:
    spelled, *parts = os.path.realpath(os.fsencode(path)).split(_SEPARATOR)
    for part in filter(None, parts):
        folder = spelled + _SEPARATOR
        if folder not in listings:
            listings[folder] = _listing(folder)
        spelled = folder + (part if part in listings[folder] else _as_listed(folder, part, listings[folder]))
    return spelled or _SEPARATOR


def _listing(folder: bytes) -> frozenset[bytes]:
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208  # bytes
    except OSError:
        return frozenset()


def _as_listed(folder: bytes, part: bytes, names: Iterable[bytes]) -> bytes:
    """The name of the same file in the listing; the part itself if there is none."""
    try:
        wanted = os.stat(folder + part)  # noqa: PTH116  # bytes
        return next((name for name in sorted(names) if os.path.samestat(wanted, os.lstat(folder + name))), part)
    except OSError:
        return part


class Walk:
    """One pass over files and folders. Links are followed inside the roots, loops end, folders without permission are reported and passed over."""

    def __init__(self, paths: Sequence[bytes], roots: Sequence[bytes]) -> None:
        """Both as real_names() gives them."""
        self._paths, self._roots = tuple(paths), tuple(roots)
        self._folders: set[tuple[int, int]] = set()  # device and inode of those listed, or about to be
        self._singles: set[bytes] = set()  # files reached by their own path or by a link, not by their folder

    def files(self) -> Iterator[Seen | Rejected]:
        """Blocks at every step. The order is that of names within a folder."""
        for path in self._paths:
            try:
                status = os.stat(path)  # noqa: PTH116  # bytes
            except OSError as error:
                yield _rejected(path, error)
                continue
            if stat.S_ISDIR(status.st_mode):
                yield from self._tree(path, status)
            elif stat.S_ISREG(status.st_mode):
                yield from self._single(path, status)
            else:
                yield Rejected(os.fsdecode(path), "is neither a file nor a folder")

    def _tree(self, top: bytes, status: os.stat_result) -> Iterator[Seen | Rejected]:
        waiting = [(top, status)]
        while waiting:
            folder, status = waiting.pop()
            if (status.st_dev, status.st_ino) in self._folders:
                continue
            self._folders.add((status.st_dev, status.st_ino))
            try:
                with os.scandir(folder) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except OSError as error:
                yield _rejected(folder, error)
                continue
            inside = self._inside(folder)
            deeper: list[tuple[bytes, os.stat_result]] = []
            for entry in entries:
                if not entry.name.startswith(b".") and entry.name.lower() not in _SYSTEM:
                    yield from self._entry(entry, inside, deeper)
            waiting.extend(reversed(deeper))

    def _entry(self, entry: os.DirEntry[bytes], inside: bool, deeper: list[tuple[bytes, os.stat_result]]) -> Iterator[Seen | Rejected]:
        """What one name in a folder comes to; folders are added to `deeper`."""
        try:
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                yield from self._link(entry.path, deeper)
            elif stat.S_ISDIR(status.st_mode):
                deeper.append((entry.path, os.stat(entry.path)))  # noqa: PTH116  # bytes
            elif stat.S_ISREG(status.st_mode) and entry.path not in self._singles:
                yield Seen(entry.path, status.st_size, status.st_mtime_ns) if inside else _outside(entry.path)
        except OSError as error:
            yield _rejected(entry.path, error)

    def _link(self, path: bytes, deeper: list[tuple[bytes, os.stat_result]]) -> Iterator[Seen | Rejected]:
        real = os.path.realpath(path, strict=True)
        if not self._inside(real):
            yield Rejected(os.fsdecode(path), "is a link that leads outside LIBRARY_ROOT")
            return
        status = os.stat(real)  # noqa: PTH116  # bytes
        if stat.S_ISDIR(status.st_mode):
            deeper.append((real, status))
        elif stat.S_ISREG(status.st_mode):
            yield from self._single(real, status)

    def _single(self, path: bytes, status: os.stat_result) -> Iterator[Seen | Rejected]:
        """A file that its own folder has not listed and will not list again."""
        folder = os.stat(os.path.dirname(path))  # noqa: PTH116, PTH120  # bytes
        if path in self._singles or (folder.st_dev, folder.st_ino) in self._folders:
            return
        self._singles.add(path)
        yield Seen(path, status.st_size, status.st_mtime_ns) if self._inside(path) else _outside(path)

    def _inside(self, path: bytes) -> bool:
        return any(below(path, root) for root in self._roots)


def _outside(path: bytes) -> Rejected:
    return Rejected(os.fsdecode(path), "lies outside LIBRARY_ROOT")


def _rejected(path: bytes, error: OSError) -> Rejected:
    return Rejected(os.fsdecode(path), f"cannot be read ({error.strerror})")
