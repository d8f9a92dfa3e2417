"""The embedded PostgreSQL server of one KIZU_DATA_DIR, shared by every process that uses it.

Two locks of the kernel decide, since it drops them however a process ends: `start` is held around making, starting and stopping;
`use` is held shared for a user's life, and who can have it alone on leaving is the last one and stops the server.
Everything here blocks: call it in a thread.
"""

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from kizu_fast.errors import ConfigError, DatabaseUnavailable
from kizu_fast.store.cluster import Cluster
from kizu_fast.store.home import Home
from kizu_fast.store.installation import find_installation, reachable_installation

if sys.platform != "win32":
    import fcntl

_LOCK_S = 400.0  # longer than crash recovery may take in the process that holds the lock
_POLL_S = 0.02
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class EmbeddedServer:
    """A user's hold on the server. Not for use after a fork: the child's leave() does nothing."""

    def __init__(self, home: Home, cluster: Cluster, pg_user: str, use: int) -> None:
        self._home, self._cluster, self._pg_user, self._use, self._pid = home, cluster, pg_user, use, os.getpid()
        self._left = False

    @classmethod
    def start(cls, data_dir: Path, pg_user: str) -> "EmbeddedServer":
        """Joins the server of data_dir; makes and starts it if need be.

        Raises ConfigError (no binaries, no account, folder not usable), DatabaseUnavailable (disk full, no answer).
        """
        if sys.platform == "win32":
            raise ConfigError("the embedded server is not available on Windows; set DATABASE_URL to a server")
        home = Home.of(data_dir)
        with _starting(home, make=True):
            cluster = _joined(home) or _started(home, pg_user)
            use = _open(home.use_lock)
            fcntl.flock(use, fcntl.LOCK_SH)  # at once: it is only ever held exclusively with the start lock held
        return cls(home, cluster, pg_user, use)

    @property
    def dsn(self) -> str:
        """Without a password: the socket's folder lets nobody else in."""
        return f"postgresql://postgres@/postgres?host={quote(str(self._cluster.run), safe='')}&port=5432"

    def ensure_running(self) -> None:
        """Starts the server again if it was killed; of several processes one does. Raises DatabaseUnavailable."""
        try:
            with _starting(self._home):
                self._cluster = _joined(self._home) or _started(self._home, self._pg_user)
        except ConfigError as error:  # it worked before, so it is no matter of configuration
            raise DatabaseUnavailable(str(error)) from error

    def leave(self) -> None:
        """Lets go of the server. The last one stops it, unless `db url` asked to keep it up. A second call does nothing."""
        if self._left or self._pid != os.getpid():
            return
        self._left = True
        try:
            if not self._home.data_dir.is_dir():  # somebody deleted it: with the rows gone, the server goes too
                self._cluster.end_orphan()
                self._home.forget_refuge()
                self._cluster.remove()
                return
            with _starting(self._home):
                if _is_file(self._use, self._home.use_lock) and _take_alone(self._use) and not self._home.kept.exists():
                    self._cluster.stop()
        finally:
            os.close(self._use)


def keep(data_dir: Path) -> None:
    """Keeps a running server up when its last user leaves, until stop()."""
    Home.of(data_dir).kept.touch()


def stop(data_dir: Path) -> bool:
    """Stops the server, users or not: a process that still needs it starts it again. False if none ran."""
    home = Home.of(data_dir)
    if not home.data_dir.is_dir():
        return False
    with _starting(home):
        return _stop(home)


def reset(data_dir: Path) -> bool:
    """Stops the server and deletes its data, wherever they lie. False if there was nothing."""
    home = Home.of(data_dir)
    if not home.data_dir.is_dir():
        home.forget_refuge()
        return False
    with _starting(home):
        _stop(home)
        cluster = home.cluster()
        if cluster is not None:
            cluster.remove()
        home.remove_notes()
    return cluster is not None


def _joined(home: Home) -> Cluster | None:
    """The cluster of home if it runs, waiting for one that is just starting up."""
    cluster = home.cluster()
    return cluster if cluster is not None and cluster.answers() else None


def _started(home: Home, pg_user: str) -> Cluster:
    """The cluster of home, started, made if there is none. Call with the start lock held."""
    found = find_installation()
    known = home.cluster()
    if known is not None:
        known.stop()  # alive, but its socket is gone: a cleaner of temporary folders took it
    major = found.major()
    cluster = home.settle(pg_user, major)
    cluster.end_orphan()
    installation = reachable_installation(found, cluster.account, home.make_refuge)
    if not cluster.exists():
        cluster.create(installation, major)
    cluster.start(installation)
    return cluster


def _stop(home: Home) -> bool:
    home.kept.unlink(missing_ok=True)
    cluster = home.cluster()
    return cluster is not None and cluster.stop()


@contextmanager
def _starting(home: Home, *, make: bool = False) -> Iterator[None]:
    """Holds the start lock; make: makes KIZU_DATA_DIR first. What the file system refuses becomes an error of ours.

    Raises DatabaseUnavailable (disk full, another process does not let go of the lock), ConfigError.
    """
    try:
        if make:
            home.data_dir.mkdir(parents=True, exist_ok=True)
        with _locked(home):
            yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise DatabaseUnavailable(f"{home.data_dir}: the disk is full, the database cannot start; free some space") from error
        place = error.filename or home.data_dir
        raise ConfigError(f"{place}: {error.strerror}; set KIZU_DATA_DIR to a folder that you may write, or DATABASE_URL to a server") from error


@contextmanager
def _locked(home: Home) -> Iterator[None]:
    lock = _open(home.start_lock)
    try:
        deadline = time.monotonic() + _LOCK_S
        while not _take_alone(lock):
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(f"{home.start_lock}: another process has been starting the database for {_LOCK_S:.0f} s")
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(lock)


def _open(path: Path) -> int:
    """A descriptor to lock. Locking needs no right to write: the file may belong to another account."""
    return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _take_alone(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_file(descriptor: int, path: Path) -> bool:
    """False if KIZU_DATA_DIR was deleted and made anew since: the lock that we hold is then nobody's."""
    return path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())
