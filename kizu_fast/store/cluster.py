"""One PostgreSQL data directory: made, started, looked at, stopped. Callers hold the start lock of embedded.py."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from kizu_fast.errors import ConfigError, DatabaseUnavailable
from kizu_fast.store.installation import Account, Installation

_PORT = 5432
_LONGEST_SOCKET = 103  # bytes; Linux allows 107, macOS 103
_START_S = 300.0  # crash recovery: 6 s for 850 MB of log were measured, a slow disk takes longer
_STOP_S = 60.0
_FULL_BYTES = 1 << 20  # less free space than this, and the disk is the cause whatever the server says
_POLL_S = 0.02

# C.UTF-8 and not C: with LC_CTYPE=C pg_trgm drops every character that is not ASCII. Older macOS has only en_US.UTF-8.
_CTYPES = ("C.UTF-8", "en_US.UTF-8")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where a server's data lie and where its socket does."""

    data: Path
    run: Path  # short, 0700
    account: Account

    @property
    def socket(self) -> Path:
        return self.run / f".s.PGSQL.{_PORT}"

    @property
    def log(self) -> Path:
        return self.data / "server.log"

    def exists(self) -> bool:
        return (self.data / "PG_VERSION").is_file()

    def create(self, installation: Installation, major: int) -> None:
        """Runs initdb beside the final place, so that a kill leaves nothing half made. Raises DatabaseUnavailable (disk full), ConfigError."""
        partial = self.data.with_name(self.data.name + ".partial")
        output = ""
        for ctype in _CTYPES:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(mode=0o700)
            self.account.own(partial)
            done = self._run([installation.program("initdb"), "-D", partial, *_initdb_options(major, ctype)])
            if done.returncode == 0:
                partial.rename(self.data)
                return
            output = done.stdout
        full = self._disk_is_full(output)
        shutil.rmtree(partial, ignore_errors=True)
        if full:
            raise self._full()
        raise ConfigError(f"{self.data}: initdb failed: {_cause(output)}; set KIZU_DATA_DIR to another folder, or DATABASE_URL to a server")

    def start(self, installation: Installation) -> None:
        """Starts the server and waits until it takes connections. Only when pid() is None. Raises DatabaseUnavailable (disk full), ConfigError."""
        self._clear_stale_locks()
        self._prepare_run()
        deadline = time.monotonic() + _STOP_S
        while True:
            offset = self._trim_log()
            if self._launch(installation):
                return
            lines = self._logged(offset)
            if self._disk_is_full(lines):
                raise self._full()
            # a killed server's children end by themselves, but not before they look up from their work
            if "shared memory block" not in lines or time.monotonic() > deadline:
                raise ConfigError(f"{self.data}: the embedded server does not start: {_cause(lines)} ({self.log}); kizu-fast db reset begins anew")
            time.sleep(_POLL_S * 10)

    def _launch(self, installation: Installation) -> bool:
        """True when the server is ready, False when it ended before. Through a shell that ends at once, so that it is not our child.

        pg_ctl does the same, but cannot quote every path and looks only ten times a second.
        """
        script = 'log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!'
        program = installation.program("postgres")
        pid = int(self._run(["/bin/sh", "-c", script, "sh", self.log, program, "-D", self.data, *self._options()]).stdout)
        deadline = time.monotonic() + _START_S
        while self._status(pid) != "ready":
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(f"{self.data}: the embedded server is not ready after {_START_S:.0f} s ({self.log})")
            if not _is_alive(pid):
                return False
            time.sleep(_POLL_S)
        return True

    def _trim_log(self) -> int:
        """Where the next start's lines begin. A long log is begun anew."""
        size = self.log.stat().st_size if self.log.exists() else 0
        if size > _FULL_BYTES:
            self.log.unlink()
            return 0
        return size

    def stop(self) -> bool:
        """Fast shutdown, after a minute an immediate one. False if nothing ran."""
        pid = self.pid()
        if pid is None:
            return False
        for number, patience_s in ((signal.SIGINT, _STOP_S), (signal.SIGQUIT, _STOP_S), (signal.SIGKILL, _STOP_S)):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                return True
            except PermissionError:
                raise ConfigError(f"{self.data}: the embedded server was started by another account; stop it from there") from None
            if self._gone(pid, patience_s):
                with suppress(OSError):
                    self.run.rmdir()  # empty after an orderly end; else the next start clears it
                return True
        raise DatabaseUnavailable(f"{self.data}: the embedded server (process {pid}) does not end")

    def pid(self) -> int | None:
        """The living postmaster of this directory, None if there is none."""
        number = _first_line(self.data / "postmaster.pid")
        return number if number is not None and _is_postmaster(number, self.data) else None

    def end_orphan(self) -> None:
        """Ends a postmaster that still holds our socket although its data directory was deleted, perhaps made anew: it has nothing to save."""
        number = _first_line(self.run / f".s.PGSQL.{_PORT}.lock")
        if number is not None and number != self.pid() and _is_postmaster(number, self.data):
            os.kill(number, signal.SIGQUIT)
            self._gone(number, _STOP_S)

    def answers(self) -> bool:
        """True if somebody listens at the socket. Waits while the server starts up or shuts down."""
        deadline = time.monotonic() + _START_S
        while self.pid() is not None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.settimeout(5)
                try:
                    probe.connect(str(self.socket))
                except PermissionError:
                    raise ConfigError(
                        f"{self.data}: the embedded server was started by another account; use that account, or another KIZU_DATA_DIR"
                    ) from None
                except OSError:
                    pass
                else:
                    return True
            if self._status() == "ready" or time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return False

    def remove(self) -> None:
        """Deletes data and socket folder of a stopped server."""
        for folder in (self.data, self.data.with_name(self.data.name + ".partial"), self.run):
            if folder.exists():
                shutil.rmtree(folder)

    def _status(self, pid: int | None = None) -> str:
        """What the server says of itself: starting, ready, stopping. Empty while it says nothing, or is not the one with pid."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return lines[7].strip() if pid is None or int(lines[0]) == pid else ""
        except (OSError, IndexError, ValueError):
            return ""

    def _gone(self, pid: int, patience_s: float) -> bool:
        deadline = time.monotonic() + patience_s
        while _is_postmaster(pid, self.data):
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def _clear_stale_locks(self) -> None:
        """PostgreSQL refuses to start while the noted process id answers, be it a zombie or, after a reboot, somebody else."""
        for lock in (self.data / "postmaster.pid", self.run / f".s.PGSQL.{_PORT}.lock", self.socket):
            lock.unlink(missing_ok=True)

    def _prepare_run(self) -> None:
        if len(os.fsencode(self.socket)) > _LONGEST_SOCKET:
            raise ConfigError(f"{self.run}: too long for a socket; set TMPDIR to a shorter folder, or DATABASE_URL to a server")
        self.run.mkdir(mode=0o700, exist_ok=True)
        self.account.own(self.run)
        owner = self.run.lstat()
        if self.run.is_symlink() or owner.st_uid != (os.geteuid() if self.account.uid is None else self.account.uid) or owner.st_mode & 0o077:
            raise ConfigError(f"{self.run}: belongs to somebody else; remove it, or set DATABASE_URL to a server")

    def _options(self) -> list[str]:
        """Server options, for a laptop: a socket and no port, no JIT (it costs more than our queries take)."""
        # The log may grow to max_wal_size: a twentieth of the disk keeps a small one from filling up, 512 MB bound recovery to a few seconds.
        log_mb = max(64, min(512, shutil.disk_usage(self.data).total // 20 // (1 << 20)))
        settings = {
            "listen_addresses": "",
            "port": str(_PORT),
            "unix_socket_directories": str(self.run),
            "unix_socket_permissions": "0700",
            "shared_buffers": "256MB",
            "max_wal_size": f"{log_mb}MB",
            "min_wal_size": f"{min(80, log_mb // 2)}MB",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def _run(self, arguments: list[str | Path]) -> subprocess.CompletedProcess[str]:
        try:
            return self.account.run(arguments, timeout_s=_START_S + _STOP_S)
        except OSError as error:
            raise ConfigError(
                f"{arguments[0]}: cannot be run as {self.account.name or 'this account'}: {error.strerror}; set DATABASE_URL to a server"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise DatabaseUnavailable(f"{self.data}: the embedded server does not answer after {error.timeout:.0f} s") from error

    def _logged(self, offset: int) -> str:
        try:
            with self.log.open("rb") as log:
                log.seek(offset)
                return log.read().decode(errors="replace")
        except OSError:
            return ""

    def _disk_is_full(self, output: str) -> bool:
        return "No space left" in output or "Disk quota exceeded" in output or shutil.disk_usage(self.data.parent).free < _FULL_BYTES

    def _full(self) -> DatabaseUnavailable:
        return DatabaseUnavailable(f"{self.data}: the disk is full, the database cannot start; free some space")


def _initdb_options(major: int, ctype: str) -> list[str]:
    common = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-instructions"]
    if major < 17:  # noqa: PLR2004  # the builtin provider came with 17
        return [*common, f"--locale={ctype}"]
    return [*common, "--locale-provider=builtin", "--builtin-locale=C.UTF-8", f"--lc-ctype={ctype}", "--lc-collate=C"]


def _first_line(path: Path) -> int | None:
    try:
        return int(path.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def _is_postmaster(pid: int, data: Path) -> bool:
    """True if pid is a living server of exactly this data directory."""
    try:
        process = psutil.Process(pid)
        return _is_alive(pid) and "postgres" in str(process.name()) and str(data) in list(process.cmdline())
    except (psutil.NoSuchProcess, ValueError):  # ValueError: a number that no process can have
        return False
    except psutil.AccessDenied:
        return True  # we may not look: better to leave it in peace


def _is_alive(pid: int) -> bool:
    """A zombie is not: in a container without an init it stays for ever."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except (psutil.NoSuchProcess, ValueError):
        return False


def _cause(output: str) -> str:
    """The line that says why, of a program's output."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"FATAL|PANIC|error:|ERROR", line)]
    return re.sub(r"^.*?(FATAL|PANIC|ERROR|error):\s*", "", (telling or lines or ["no reason given"])[-1])
