"""Real workers on a real embedded server, and what has to be true of the rows whatever happened to them."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import psutil
from processes import ROOT, Line

from kizu_fast.domain import Operation
from kizu_fast.settings import parse_operations
from kizu_fast.store.portraits import FOLDER
from kizu_fast.thumbnails import SIDES

T = TypeVar("T")

PATIENCE_S = 90.0  # for anything that must happen; a loaded machine is slow, not wrong
LOOK_S = 0.05
FEW, MANY = 120, 300  # photos in the library's folders of these names: enough for something to happen in a run, and what a series of kills wants
# What fault tests ask for unless they say otherwise: the one place to add another.
OPERATIONS = (Operation.EMBEDDING, Operation.OBJECTS, Operation.FACES, Operation.OCR)
DERIVED = (
    "processing_queue",
    "asset_operations",
    "image_embeddings",
    "detected_objects",
    "face_embeddings",
    "face_vectors",
    "ocr_texts",
    "captions",
    "asset_paths",
)
COUNTED = {  # how many rows of a photo its outcome speaks of
    Operation.OBJECTS: "select count(*) from detected_objects d where d.asset_id = o.asset_id",
    Operation.FACES: "select count(*) from face_embeddings f where f.asset_id = o.asset_id",
    Operation.OCR: "select coalesce(sum(jsonb_array_length(t.lines)), 0) from ocr_texts t where t.asset_id = o.asset_id",
}
TIME = re.compile(r"timestamp=\S+ ")


def until(condition: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
    """The first true answer of condition. Fails naming what was waited for."""
    never, deadline = threading.Event(), time.monotonic() + patience_s
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {patience_s:.0f} s: {what}"
        never.wait(LOOK_S)
    return answer


def pass_time(seconds: float) -> None:
    """Let the other processes go on for a while."""
    threading.Event().wait(seconds)


def show(figure: str) -> None:
    """A figure for who reads the output; nothing is asserted about it."""
    sys.stdout.write(figure + "\n")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def health(port: int) -> tuple[int, dict[str, Any]]:
    """What a worker's /health answers: status and document; 0 and nothing while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except urllib.error.URLError:
        return 0, {}


def new_folder() -> Path:
    """A folder that any account can enter, in memory if there is plenty: these tests are about processes, not about the disk."""
    memory = Path("/dev/shm")  # noqa: S108
    roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 1 << 30
    folder = Path(tempfile.mkdtemp(prefix="kizu-faults-", dir=memory if roomy else None))
    folder.chmod(0o755)
    return folder


@dataclass
class WorkerProcess:
    """One worker. What it writes goes to files, so that it never waits for a reader."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    report_file: Path

    def said(self, event: str = "") -> list[str]:
        """Lines of its log that contain event, without their times."""
        return [TIME.sub("", line) for line in self.log.read_text(errors="replace").splitlines() if event in line]

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def ended(self, patience_s: float = PATIENCE_S) -> int:
        """Its exit code, once it has ended. No traceback was shown."""
        until(lambda: not self.alive, f"the end of {self.name}: {self.said()[-3:]}", patience_s)
        assert not self.said("Traceback"), self.said()
        return int(self.process.returncode)

    def report(self) -> dict[str, Any]:
        """The report of an orderly end."""
        assert self.ended() == 0, self.said()
        document: dict[str, Any] = json.loads(self.report_file.read_text())
        return document


@dataclass
class Rig:
    """A library, a server, workers. Rows are read over a connection of the test's own, which comes back when the server does."""

    line: Line
    python: str = sys.executable
    workers: list[WorkerProcess] = field(default_factory=list)
    _loop: asyncio.Runner = field(default_factory=asyncio.Runner)
    _connection: asyncpg.Connection | None = None

    # ---------------------------------------------------------------- the library and its server
    def keep_server(self) -> None:
        """Let the server stay up between workers."""
        self.line.run("db", "url")

    @property
    def data_dir(self) -> Path:
        return Path(self.line.env["KIZU_DATA_DIR"])

    @property
    def dsn(self) -> str:
        note = json.loads((self.data_dir / "server.json").read_text())
        return f"postgresql://postgres@/postgres?host={note['run']}"

    @property
    def operations(self) -> tuple[Operation, ...]:
        return parse_operations(self.line.env["KIZU_OPERATIONS"])

    def servers(self) -> list[psutil.Process]:
        """The postmaster of this data dir with its children, if it lives."""
        found = [p for p in psutil.process_iter(["name", "cmdline"]) if self._is_postmaster(p)]
        return [process for one in found for process in (one, *one.children(recursive=True))]

    def _is_postmaster(self, process: psutil.Process) -> bool:
        words = process.info["cmdline"] or []
        return "postgres" in (process.info["name"] or "") and any(word.startswith(str(self.data_dir)) for word in words)

    def ingest(self, folder: Path, photos: int) -> None:
        assert self.line.json("ingest", folder)["queued"] == photos

    # ---------------------------------------------------------------- rows
    def rows(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """One statement, again on a new connection while the server is away."""

        def tried() -> list[list[asyncpg.Record]]:
            with suppress(asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.OperatorInterventionError, OSError):
                return [self._loop.run(self._fetch(sql, *arguments))]
            self._drop_connection()
            return []

        return until(tried, f"the database's answer to {sql}")[0]

    async def _fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self.dsn, timeout=10, server_settings={"application_name": "test"})
        return await self._connection.fetch(sql, *arguments, timeout=60)

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def value(self, sql: str, *arguments: object) -> Any:
        return self.rows(sql, *arguments)[0][0]

    @contextmanager
    def open_transaction(self, *statements: str) -> Iterator[None]:
        """Holds what the statements lock, on a connection apart."""

        async def begin() -> asyncpg.Connection:
            connection = await asyncpg.connect(self.dsn, server_settings={"application_name": "test"})
            for statement in ("begin", *statements):
                await connection.execute(statement)
            return connection

        connection = self._loop.run(begin())
        try:
            yield
        finally:
            self._loop.run(connection.close())

    @contextmanager
    def crowd(self) -> Iterator[None]:
        """Connections until the server refuses more; the workers' own are thrown out on the way."""

        async def fill() -> list[asyncpg.Connection]:
            crowd = []
            while True:
                try:
                    crowd.append(await asyncpg.connect(self.dsn, server_settings={"application_name": "test"}))
                except asyncpg.TooManyConnectionsError:
                    thrown = await crowd[0].fetch("select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'kizu%'")
                    if not thrown:
                        return crowd

        async def leave(crowd: list[asyncpg.Connection]) -> None:
            for connection in crowd:
                connection.terminate()

        self._drop_connection()
        crowd = self._loop.run(fill())
        try:
            yield
        finally:
            self._loop.run(leave(crowd))

    def held(self, worker: WorkerProcess | None = None) -> int:
        """Jobs in process, of one worker or of all."""
        name = None if worker is None else worker.name
        return int(self.value("select count(*) from processing_queue where status = 'processing' and ($1::text is null or worker_id = $1)", name))

    def done(self) -> int:
        return int(self.value("select count(*) from processing_queue where status in ('completed', 'failed')"))

    def unfinished(self) -> int:
        return int(self.value("select count(*) from processing_queue where status in ('pending', 'processing')"))

    def no_lease_is_forgotten(self) -> None:
        """To be asked while a worker lives."""
        late = self.rows(
            "select worker_id, clock_timestamp() - lease_expires_at as by from processing_queue"
            " where status = 'processing' and lease_expires_at < clock_timestamp() - interval '5 s'"
        )
        assert late == []

    # ---------------------------------------------------------------- workers
    def worker(self, *arguments: object, name: str | None = None, **more: str) -> WorkerProcess:
        """A new worker process. Its id in the queue is its name."""
        number = len(self.workers)
        name = name or f"worker-{number}"
        log, report = self.line.cwd / f"{number}.log", self.line.cwd / f"{number}.json"
        command = [self.python, "-m", "kizu_fast.worker", "--worker-id", name, "--poll-interval", "0.5", "--report", report, *arguments]
        env = {"PYTHONPATH": str(ROOT), **self.line.env, **more}
        with log.open("wb") as lines:
            process = subprocess.Popen(list(map(str, command)), env=env, cwd=self.line.cwd, stdout=lines, stderr=lines, stdin=subprocess.DEVNULL)
        self.workers.append(WorkerProcess(name, process, log, report))
        return self.workers[-1]

    def stopped_with_jobs(self, worker: WorkerProcess) -> None:
        """SIGSTOP at an instant at which the worker has jobs in hand, and what it had sent to the server has been dealt with."""

        def frozen() -> bool:
            until(lambda: self.held(worker), f"{worker.name} has claimed")
            worker.send(signal.SIGSTOP)
            until(lambda: self._stopped(worker), "the stop")
            if self.held(worker) > 1:
                return True
            worker.send(signal.SIGCONT)
            return False

        until(frozen, f"{worker.name} stopped with jobs in hand")

    @staticmethod
    def _stopped(worker: WorkerProcess) -> bool:
        return psutil.Process(worker.process.pid).status() == psutil.STATUS_STOPPED

    def finish(self, workers: Sequence[WorkerProcess]) -> None:
        """Until no job is left, looking after the leases; then all workers end in good order."""

        def over() -> bool:
            self.no_lease_is_forgotten()
            return self.unfinished() == 0

        until(over, "no job pending or in process")
        for worker in workers:
            worker.send(signal.SIGTERM)
        assert [worker.ended() for worker in workers] == [0] * len(workers)

    # ---------------------------------------------------------------- what has to be true at the end
    def sound(self, photos: int, *, may_fail: int = 0, attempts: frozenset[int] | None = frozenset({1})) -> None:
        """Every job ended exactly once, completed or failed with a reason; no row twice, no row without its photo."""
        jobs = self.rows("select asset_id, status, attempts, error from processing_queue")
        assert len(jobs) == len({job["asset_id"] for job in jobs}) == photos
        assert {job["status"] for job in jobs} <= {"completed", "failed"}
        failed = {job["asset_id"]: job["error"] for job in jobs if job["status"] == "failed"}
        assert len(failed) <= may_fail, failed
        assert all(failed.values())
        if attempts is not None:
            assert {job["attempts"] for job in jobs} <= attempts
        completed = {job["asset_id"] for job in jobs} - failed.keys()
        for operation in self.operations:
            outcomes = self.rows("select asset_id from asset_operations where operation = $1 and outcome = 'done'", str(operation))
            assert sorted(row["asset_id"] for row in outcomes) == sorted(completed)
        assert sorted(row["asset_id"] for row in self.rows("select asset_id from image_embeddings")) == sorted(completed)
        for operation in set(self.operations) & COUNTED.keys():
            miscounted = f"select count(*) from asset_operations o where operation = $1 and items <> ({COUNTED[operation]})"
            assert self.value(miscounted, str(operation)) == 0
        self._whole_faces()
        self.no_orphan()

    def _whole_faces(self) -> None:
        """Every face has one vector and both files of its thumbnail, and no file is there without a face."""
        vectors = "select count(*) from face_embeddings f where (select count(*) from face_vectors v where v.face_id = f.id) <> 1"
        assert self.value(vectors) == 0
        named = {row["thumbnail_path"] for row in self.rows("select thumbnail_path from face_embeddings")}
        wanted = {f"{path}-{side}.webp" for path in named for side in SIDES}
        folder = self.data_dir / FOLDER
        assert {str(path.relative_to(folder)) for path in folder.rglob("*.webp")} == wanted
        assert list(folder.rglob(".part-*")) == []

    def no_orphan(self) -> None:
        for table in DERIVED:
            asset = "(select f.asset_id from face_embeddings f where f.id = t.face_id)" if table == "face_vectors" else "t.asset_id"
            lonely = f"select count(*) from {table} t where not exists (select from assets a where a.id = {asset} and a.deleted_at is null)"
            assert self.value(lonely) == 0, table

    def close(self) -> None:
        """Nothing of the test outlives it."""
        for worker in self.workers:
            if worker.alive:
                worker.process.kill()
            worker.process.wait()
        self._drop_connection()
        self._loop.close()
        self.line.run("db", "reset", "--yes", check=False)


@contextmanager
def opened(folder: Path, template: Path | None, library: Path, cwd: Path) -> Iterator[Rig]:
    """A rig whose data dir is folder, begun with the database of the template."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KIZU_")}
    env = {
        **kept,
        "KIZU_DATA_DIR": str(folder),
        "KIZU_BACKEND": "fake",
        "KIZU_OPERATIONS": ",".join(OPERATIONS),
        "KIZU_ALLOW_RANDOM": "true",
        "LIBRARY_ROOT": str(library),
        "KIZU_MODEL_REPOSITORY": str(ROOT / "model_repository"),
    }
    for server in template.glob("pg*") if template else ():
        subprocess.run(["cp", "-a", server, folder], check=True)
    rig = Rig(Line(env, library, cwd))
    try:
        yield rig
    finally:
        rig.close()
