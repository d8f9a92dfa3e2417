"""Thumbnails of faces as files: KIZU_DATA_DIR/thumbnails/<user>/<2 of asset>/<asset>/<digest>-<side>.webp, readable by their owner alone.

Blocks: call it in a thread. Which files are wanted, the database says; this module knows none of it.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

from kizu_fast.domain import Thumbnail
from kizu_fast.errors import ConfigError, DatabaseUnavailable
from kizu_fast.thumbnails import SIDES

FOLDER = "thumbnails"
_OWNER = "DATABASE"  # names the database whose faces these are
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def path_of(user: UUID, asset: UUID, digest: str) -> str:
    """What the database keeps of a thumbnail: its place below the folder, without size and ending."""
    return f"{user}/{asset.hex[:2]}/{asset}/{digest}"


class Portraits:
    """The thumbnails of one KIZU_DATA_DIR."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir.expanduser().absolute() / FOLDER

    def has(self, path: str) -> bool:
        """Whether both sizes are there and not empty (a machine that lost power may have left a name without content)."""
        try:
            return all(file.stat().st_size > 0 for file in self.files(path))
        except OSError:
            return False

    def files(self, path: str) -> tuple[Path, ...]:
        """Both sizes, the smaller first."""
        return tuple(self.folder / f"{path}-{side}.webp" for side in SIDES)

    def write(self, wanted: Mapping[str, Thumbnail]) -> None:
        """By path; what is there already stays. Raises DatabaseUnavailable when the disk is full or does not take them: no photo is at fault."""
        try:
            for path, thumbnail in wanted.items():
                if not self.has(path):
                    for file, content in zip(self.files(path), (thumbnail.small, thumbnail.large), strict=True):
                        self._write(file, content)
        except OSError as error:
            why = "the disk is full; free some space" if error.errno in _DISK_FULL else error.strerror or type(error).__name__
            raise DatabaseUnavailable(f"{self.folder}: thumbnails of faces cannot be written: {why}") from error

    def _write(self, file: Path, content: bytes) -> None:
        """Whole or not at all, for the owner's eyes only."""
        self._make(file.parent)
        descriptor, part = tempfile.mkstemp(prefix=".part-", dir=file.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
            Path(part).replace(file)
        except OSError:
            Path(part).unlink(missing_ok=True)
            raise

    def _make(self, folder: Path) -> None:
        if folder != self.folder.parent and not folder.is_dir():
            self._make(folder.parent)
            folder.mkdir(mode=0o700, exist_ok=True, parents=folder == self.folder)

    def of(self, user: UUID, asset: UUID) -> set[str]:
        """Every file of a photo's faces, as a path below the folder; half-written ones included. Raises ConfigError."""
        place = self._place(user, asset)
        with _deleting(self.folder), suppress(FileNotFoundError, NotADirectoryError):
            return {f"{place.relative_to(self.folder)}/{name}" for name in os.listdir(place)}  # noqa: PTH208  # names are enough
        return set()

    def superfluous(self, user: UUID, asset: UUID, wanted: Collection[str]) -> set[str]:
        """The files of a photo that belong to none of the wanted paths. Raises ConfigError."""
        kept = {f"{path}-{side}.webp" for path in wanted for side in SIDES}
        return self.of(user, asset) - kept

    def keep_only(self, user: UUID, asset: UUID, wanted: Collection[str]) -> int:
        """Delete a photo's files that belong to none of the wanted paths. How many went. Raises ConfigError."""
        gone = self.superfluous(user, asset, wanted)
        with _deleting(self.folder):
            for name in gone:
                (self.folder / name).unlink(missing_ok=True)
            if not wanted:
                self._forget_empty(self._place(user, asset))
        return len(gone)

    def forget(self, user: UUID, assets: Collection[UUID]) -> None:
        """Delete everything of these photos. Raises ConfigError."""
        with _deleting(self.folder):
            for place in (self._place(user, asset) for asset in assets):
                _remove(place)
                self._forget_empty(place)

    def clear(self) -> None:
        """Delete everything. Raises ConfigError."""
        with _deleting(self.folder):
            _remove(self.folder)

    def photos(self) -> Iterator[tuple[UUID, UUID]]:
        """(user, asset) of every photo that has files here. What has no such name is left alone."""
        for place in self.folder.glob("*/??/*"):
            with suppress(ValueError):
                yield UUID(place.parts[-3]), UUID(place.name)

    def claimed_by(self, database: str) -> bool:
        """Whether the files are those of that database, which the first to ask claims. Two libraries may share a folder, and one must not sweep the other's."""
        note = self.folder / _OWNER
        try:
            if not note.exists():
                self._write(note, database.encode())
            return note.read_text() == database
        except OSError:
            return False

    def _place(self, user: UUID, asset: UUID) -> Path:
        return (self.folder / path_of(user, asset, "x")).parent

    def _forget_empty(self, place: Path) -> None:
        """The folders above a photo's, as far as nothing is left in them."""
        with suppress(OSError):
            for folder in (place, *place.parents[:2]):
                folder.rmdir()


@contextmanager
def _deleting(folder: Path) -> Iterator[None]:
    """What the file system refuses to list or to delete becomes one line with the place. Raises ConfigError."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{error.filename or folder}: thumbnails cannot be deleted: {error.strerror}; delete them by hand") from error


def _remove(place: Path) -> None:
    """A folder with all that is in it; another process may be at it too."""
    with suppress(FileNotFoundError):
        shutil.rmtree(place)
