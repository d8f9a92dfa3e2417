"""Bytes of stored originals. A local library is read below its roots only: no symlink, no race and no device leads out of it or blocks."""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kizu_fast.domain import Asset
from kizu_fast.errors import FileUnsettled, ImageTooLarge, PermanentError, SourceUnavailable

_CHUNK = 1024 * 1024
_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # opening a FIFO without a writer would wait for ever
_FOLDER = getattr(os, "O_DIRECTORY", 0)
# The drive or network behind the folder is gone, or this process is short of something: the photo is not to blame.
_OUTAGES = frozenset(
    {errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
)


@dataclass(frozen=True, slots=True)
class FileBytes:
    """A whole file as it was at one moment: size and modification time did not change while it was read."""

    data: bytes
    byte_size: int
    mtime_ns: int


class LibrarySource:
    """Reads assets from local folders. Symlinks inside the roots are followed, those that lead outside are refused."""

    def __init__(self, roots: Sequence[Path | bytes]) -> None:
        """Each root is a folder, as a path or as os.fsencode gives it. They need not exist yet: a drive may be mounted later."""
        self._roots = tuple(os.path.abspath(os.fsencode(root)) for root in roots)  # noqa: PTH100  # bytes, and links must stay as given
        self._devices = {root: _device(root) for root in self._roots}

    def inside(self, path: bytes) -> bool:
        """Whether a path, symlinks resolved, lies below a root. The file need not exist."""
        real = os.path.realpath(path)
        return any(below(real, os.path.realpath(root)) for root in self._roots)

    def read(self, asset: Asset, max_bytes: int) -> FileBytes:
        """Blocks. Raises PermanentError (gone, outside, no regular file), SourceUnavailable, ImageTooLarge, FileUnsettled (changed meanwhile)."""
        if not asset.path:
            raise PermanentError(f"asset {asset.id} has no path in the local library")
        with self.opened(asset.path) as descriptor:
            return _whole(descriptor, os.fsdecode(asset.path), max_bytes)

    @contextmanager
    def opened(self, path: bytes) -> Iterator[int]:
        """A descriptor of a regular file below the roots, closed at the end. Errors as in read()."""
        name = shown(path)
        try:
            real = os.path.realpath(path, strict=True)
            root = self._root_of(real)
            if root is None:
                raise PermanentError(f"{name}: lies outside LIBRARY_ROOT and is not read")
            descriptor = _open_below(os.path.realpath(root), real)
        except OSError as error:
            raise self._translated(error, path) from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise PermanentError(f"{name}: is no regular file")
            self._devices[root] = _device(root)
            yield descriptor
        except OSError as error:
            raise self._translated(error, path) from error
        finally:
            os.close(descriptor)

    def _root_of(self, path: bytes) -> bytes | None:
        """The root as configured that holds a path, which may be resolved or not."""
        return next((root for root in self._roots if below(path, root) or below(path, os.path.realpath(root))), None)

    def _translated(self, error: OSError, path: bytes) -> PermanentError | SourceUnavailable:
        name = shown(path)
        if error.errno in _OUTAGES:
            return SourceUnavailable(f"{name}: {error.strerror}")
        root = self._root_of(os.path.abspath(path))  # noqa: PTH100  # bytes
        if root is not None and self._is_gone(root):
            return SourceUnavailable(f"the library folder {shown(root)} is not there; is its drive mounted?")
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return PermanentError(f"{name}: the file is gone")
        return PermanentError(f"{name}: cannot be read ({error.strerror})")

    def _is_gone(self, root: bytes) -> bool:
        """No such folder, or an empty mount point: the folder lies on another device than when it was last read from."""
        device = _device(root)
        return device is None or self._devices[root] not in (None, device)


def shown(path: bytes) -> str:
    """A path in one printable line, whatever bytes it holds."""
    return "".join(letter if letter.isprintable() else "?" for letter in os.fsdecode(path))


def _device(folder: bytes) -> int | None:
    try:
        status = Path(os.fsdecode(folder)).stat()
    except OSError:
        return None
    return status.st_dev if stat.S_ISDIR(status.st_mode) else None


def below(path: bytes, root: bytes) -> bool:
    return path == root or path.startswith(root.rstrip(os.fsencode(os.sep)) + os.fsencode(os.sep))


def _open_below(root: bytes, real: bytes) -> int:
    """Opens a resolved path step by step without following links, so that swapping a folder for a link at this moment gains nothing."""
    if os.open not in os.supports_dir_fd or not _NO_FOLLOW:
        return os.open(real, _FLAGS)
    folder = os.open(root, _FLAGS | _FOLDER)
    try:
        *parents, name = os.path.relpath(real, root).split(os.fsencode(os.sep))
        for parent in parents:
            deeper = os.open(parent, _FLAGS | _FOLDER | _NO_FOLLOW, dir_fd=folder)
            os.close(folder)
            folder = deeper
        return os.open(name, _FLAGS | _NO_FOLLOW | _NO_WAIT, dir_fd=folder)
    finally:
        os.close(folder)


def _whole(descriptor: int, name: str, max_bytes: int) -> FileBytes:
    before = os.fstat(descriptor)
    if before.st_size > max_bytes:
        raise ImageTooLarge(f"{name}: the file has {before.st_size} bytes, more than KIZU_MAX_FILE_BYTES={max_bytes} allows")
    parts, left = [], before.st_size + 1  # one more than is said to be there, to notice growth
    while left and (part := os.read(descriptor, min(left, _CHUNK))):
        parts.append(part)
        left -= len(part)
    after = os.fstat(descriptor)
    if left != 1 or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise FileUnsettled(f"{name}: changed while it was read")
    return FileBytes(b"".join(parts), after.st_size, after.st_mtime_ns)
