"""Where the embedded server of one KIZU_DATA_DIR keeps its things, and who else may need to know.

Usually everything lies in KIZU_DATA_DIR. As root the server runs as another account; what that account cannot reach (a folder
below a 0700 parent such as /root) goes to /var/lib/kizu_fast/<hash of KIZU_DATA_DIR>, and KIZU_DATA_DIR notes it.
"""

import hashlib
import json
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from kizu_fast.errors import ConfigError
from kizu_fast.store.cluster import Cluster
from kizu_fast.store.installation import Account, server_account

REFUGES = Path("/var/lib/kizu_fast")
_NOTE = "server.json"


@dataclass(frozen=True, slots=True)
class _Note:
    """What KIZU_DATA_DIR remembers. A folder that was deleted and made anew has no note, and so does not find its old rows again."""

    data: str
    run: str


@dataclass(frozen=True, slots=True)
class Home:
    """The places that belong to one KIZU_DATA_DIR. refuges is a parameter for tests only."""

    data_dir: Path
    refuges: Path = REFUGES

    @classmethod
    def of(cls, data_dir: Path, refuges: Path = REFUGES) -> "Home":
        return cls(data_dir.expanduser().absolute().resolve(), refuges)

    @property
    def digest(self) -> str:
        return hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:16]

    @property
    def refuge(self) -> Path:
        return self.refuges / self.digest

    @property
    def start_lock(self) -> Path:
        return self.data_dir / "server.start.lock"

    @property
    def use_lock(self) -> Path:
        return self.data_dir / "server.use.lock"

    @property
    def kept(self) -> Path:
        """Exists while `db url` wants the server to stay up."""
        return self.data_dir / "server.keep"

    def cluster(self) -> Cluster | None:
        """The cluster that the note names, to look at and to stop; None if there is no note."""
        note = self._note()
        return None if note is None else Cluster(Path(note.data), Path(note.run), Account(""))

    def settle(self, pg_user: str, major: int) -> Cluster:
        """The place of a cluster, chosen now if there is none yet. Call with the start lock held and no server running."""
        known = self.cluster()
        if known is not None and known.exists():
            _check_major(known.data, major)
            account = server_account(pg_user, known.data)
            cluster = Cluster(known.data, self._run_folder(account), account)
            self._write(_Note(str(cluster.data), str(cluster.run)))  # another process may have another TMPDIR
            return cluster
        account = server_account(pg_user, self.data_dir / f"pg{major}")
        self.forget_refuge()
        place = self.data_dir if account.reaches(self.data_dir) else self.make_refuge()
        cluster = Cluster(place / f"pg{major}", self._run_folder(account), account)
        self._write(_Note(str(cluster.data), str(cluster.run)))
        return cluster

    def make_refuge(self) -> Path:
        """The folder that any account can enter, marked as ours. Raises ConfigError."""
        try:
            for folder in (self.refuges, self.refuge):
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(0o755)
            (self.refuge / "KIZU_DATA_DIR").write_bytes(os.fsencode(self.data_dir))
        except OSError as error:
            raise ConfigError(
                f"{self.refuge}: cannot be made: {error.strerror}; set KIZU_DATA_DIR to a folder that the server's account can enter, or DATABASE_URL"
            ) from error
        return self.refuge

    def forget_refuge(self) -> None:
        """Removes what a deleted KIZU_DATA_DIR of the same name left behind, its server included."""
        for data in self.refuge.glob("pg[0-9]*"):
            Cluster(data, self.refuge / "run", Account("")).stop()
        if self.refuge.is_dir():
            shutil.rmtree(self.refuge)
            with suppress(OSError):
                self.refuges.rmdir()  # unless another data dir has its refuge there

    def remove_notes(self) -> None:
        """Removes everything but the locks, which others may be waiting for."""
        self.forget_refuge()
        for path in (self.kept, self.data_dir / _NOTE):
            path.unlink(missing_ok=True)

    def _run_folder(self, account: Account) -> Path:
        """Short, since a socket's path is limited to about 100 bytes; the name repeats for a data dir, so that leftovers are found."""
        system = Path("/run") if os.geteuid() == 0 else Path(f"/run/user/{os.geteuid()}")
        usable = system.is_dir() and os.access(system, os.W_OK) and account.reaches(system)
        return (system if usable else Path(tempfile.gettempdir())) / f"kizu-{self.digest}"

    def _note(self) -> _Note | None:
        """The note, unless it was copied here together with somebody else's data dir."""
        try:
            note = _Note(**json.loads((self.data_dir / _NOTE).read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return note if Path(note.data).parent in (self.data_dir, self.refuge) else None

    def _write(self, note: _Note) -> None:
        partial = self.data_dir / f"{_NOTE}.partial"
        partial.write_text(json.dumps(asdict(note)))
        partial.replace(self.data_dir / _NOTE)


def _check_major(data: Path, major: int) -> None:
    found = (data / "PG_VERSION").read_text().strip()
    if found != str(major):
        raise ConfigError(
            f"{data}: made by PostgreSQL {found}, installed is {major}; install the server of that version, or start anew with kizu-fast db reset"
        )
