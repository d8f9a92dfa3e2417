"""The embedded server with real processes: first start, races, kills, foreign pids, long paths, root, the last one out."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import psutil
import pytest

from kizu_fast.errors import ConfigError, DatabaseUnavailable
from kizu_fast.store.embedded import EmbeddedServer, keep, reset, stop
from kizu_fast.store.home import REFUGES, Home
from kizu_fast.store.pool import Database, open_database

USER = Path(__file__).with_name("embedded_user.py")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another account")


class User:
    """A process of its own that uses the server."""

    def __init__(self, data_dir: Path, pg_user: str, **environment: str) -> None:
        command = [sys.executable, str(USER), str(data_dir), pg_user]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(USER.parents[2]), **environment},
        )

    def wait_ready(self) -> None:
        line = self.read()
        assert line == "ready", f"{line!r} {self.process.stderr and self.process.stderr.read()}"

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, command: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.read()

    def leave(self) -> None:
        assert self.ask("leave") == "left"
        self.close()

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def close(self) -> None:
        self.process.communicate(timeout=60)


@pytest.fixture
def user(data_dir: Path, pg_user: str) -> Iterator[Callable[..., User]]:
    """Starts user processes; those that a failed test leaves behind are killed."""
    started: list[User] = []

    def start(**environment: str) -> User:
        started.append(User(data_dir, pg_user, **environment))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.kill()


def postmaster(data_dir: Path) -> int | None:
    cluster = Home.of(data_dir).cluster()
    return None if cluster is None else cluster.pid()


def wait_gone(pid: int) -> None:
    """A killed server's process may linger as a zombie where nobody reaps it."""
    deadline = time.monotonic() + 30
    with_name = [p for p in psutil.process_iter(["pid"]) if p.pid == pid]
    while with_name and with_name[0].is_running() and with_name[0].status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline


def query(dsn: str, *statements: str) -> object:
    """Runs the statements one by one; the first value of the last one's first row."""

    async def run() -> object:
        connection = await asyncpg.connect(dsn)
        try:
            return [await connection.fetchval(sql) for sql in statements][-1]
        finally:
            await connection.close()

    return asyncio.run(run())


# ---------------------------------------------------------------- first start, settings
def test_the_first_start_makes_a_database_that_speaks_unicode_and_no_tcp(data_dir: Path, pg_user: str) -> None:
    server = EmbeddedServer.start(data_dir, pg_user)
    try:
        assert query(server.dsn, "create extension vector", "create extension pg_trgm", "select show_trgm('東京')") != []
        assert query(server.dsn, "select show_trgm('café')") != query(server.dsn, "select show_trgm('caf')")
        assert query(server.dsn, "show listen_addresses") == ""
        assert query(server.dsn, "show jit") == "off"
        assert query(server.dsn, "show fsync") == "on"
        assert query(server.dsn, "select inet_server_port()") is None
        cluster = Home.of(data_dir).cluster()
        assert cluster is not None
        assert cluster.run.stat().st_mode & 0o777 == 0o700
        assert cluster.data.stat().st_mode & 0o077 == 0
    finally:
        server.leave()


def test_rows_survive_a_stop_and_a_warm_start_takes_under_a_second(data_dir: Path, pg_user: str) -> None:
    server = EmbeddedServer.start(data_dir, pg_user)
    query(server.dsn, "create table kept as select 42 as answer")
    server.leave()
    assert postmaster(data_dir) is None
    seconds = []
    for _ in range(3):
        before = time.perf_counter()
        server = EmbeddedServer.start(data_dir, pg_user)
        seconds.append(time.perf_counter() - before)
        assert query(server.dsn, "select answer from kept") == 42
        server.leave()
    assert min(seconds) < 1


def test_variables_of_postgres_in_the_environment_change_nothing(user: Callable[..., User]) -> None:
    one = user(
        PGDATA="/nonexistent", PGPORT="1", PGHOST="nowhere", PGUSER="nobody", LC_ALL="nowhere", TZ="Nowhere/Land", TMPDIR=tempfile.gettempdir()
    )
    one.wait_ready()
    assert query(one.ask("dsn"), "show timezone") == "UTC"
    one.leave()


def test_a_process_with_another_temporary_folder_finds_the_same_server(user: Callable[..., User], tmp_path: Path) -> None:
    first, second = user(), user(TMPDIR=str(tmp_path), XDG_RUNTIME_DIR=str(tmp_path))
    first.wait_ready()
    second.wait_ready()
    assert first.ask("dsn") == second.ask("dsn")
    first.leave()
    second.leave()


# ---------------------------------------------------------------- several processes
def test_four_processes_race_to_the_first_start_and_the_last_one_stops_the_server(user: Callable[..., User], data_dir: Path) -> None:
    users = [user() for _ in range(4)]
    for one in users:
        one.wait_ready()
    pid = postmaster(data_dir)
    assert pid is not None
    assert len({one.ask("dsn") for one in users}) == 1
    users[0].kill()
    users[1].leave()
    users[2].leave()
    assert postmaster(data_dir) == pid
    users[3].leave()
    assert postmaster(data_dir) is None


def test_a_killed_user_leaves_the_server_to_the_next_one_out(user: Callable[..., User], data_dir: Path) -> None:
    first = user()
    first.wait_ready()
    pid = postmaster(data_dir)
    first.kill()
    assert postmaster(data_dir) == pid
    second = user()
    second.wait_ready()
    assert postmaster(data_dir) == pid
    second.leave()
    assert postmaster(data_dir) is None


def test_a_forked_child_does_not_let_go_for_its_parent(user: Callable[..., User], data_dir: Path) -> None:
    one = user()
    one.wait_ready()
    assert one.ask("fork") == "forked"
    assert postmaster(data_dir) is not None
    one.leave()
    assert postmaster(data_dir) is None


def test_a_ctrl_c_in_the_terminal_does_not_reach_the_server(user: Callable[..., User], data_dir: Path) -> None:
    one = user()
    one.wait_ready()
    keep(data_dir)
    pid = postmaster(data_dir)
    os.killpg(one.process.pid, signal.SIGINT)
    one.close()
    assert postmaster(data_dir) == pid


def test_a_ctrl_c_still_stops_the_server_of_the_last_user(user: Callable[..., User], data_dir: Path) -> None:
    one = user()
    one.wait_ready()
    pid = postmaster(data_dir)
    assert pid is not None
    os.killpg(one.process.pid, signal.SIGINT)
    one.close()
    wait_gone(pid)


# ---------------------------------------------------------------- kills and stale files
def test_a_killed_server_comes_back_once_with_every_committed_row(user: Callable[..., User], data_dir: Path) -> None:
    first, second = user(), user()
    first.wait_ready()
    second.wait_ready()
    query(first.ask("dsn"), "create table kept as select generate_series(1, 1000) as n")
    pid = postmaster(data_dir)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_gone(pid)
    with ThreadPoolExecutor() as threads:
        assert list(threads.map(lambda one: one.ask("ensure"), (first, second))) == ["running", "running"]
    again = postmaster(data_dir)
    assert again not in (None, pid)
    assert query(first.ask("dsn"), "select count(*) from kept") == 1000
    first.leave()
    assert postmaster(data_dir) == again
    second.leave()


def leave_a_crashed_server(data_dir: Path, pg_user: str) -> Path:
    """A data directory as after a power failure, with its lock files still there. Returns that directory."""
    server = EmbeddedServer.start(data_dir, pg_user)
    cluster = Home.of(data_dir).cluster()
    pid = postmaster(data_dir)
    assert cluster is not None
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_gone(pid)
    server.leave()
    assert (cluster.data / "postmaster.pid").exists()
    return cluster.data


def replace_pid(data: Path, pid: int) -> None:
    lines = (data / "postmaster.pid").read_text().splitlines()
    (data / "postmaster.pid").write_text("\n".join([str(pid), *lines[1:]]) + "\n")


def test_a_stale_pid_that_belongs_to_somebody_else_by_now_is_no_obstacle(data_dir: Path, pg_user: str) -> None:
    data = leave_a_crashed_server(data_dir, pg_user)
    bystander = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    replace_pid(data, bystander.pid)
    server = EmbeddedServer.start(data_dir, pg_user)
    try:
        assert query(server.dsn, "select 1") == 1
        assert bystander.poll() is None
    finally:
        server.leave()
        bystander.communicate()


def test_a_zombie_with_the_noted_pid_is_no_obstacle(data_dir: Path, pg_user: str) -> None:
    data = leave_a_crashed_server(data_dir, pg_user)
    zombie = subprocess.Popen(["/bin/true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)  # ended, not reaped
    replace_pid(data, zombie.pid)
    server = EmbeddedServer.start(data_dir, pg_user)
    try:
        assert query(server.dsn, "select 1") == 1
    finally:
        server.leave()
        zombie.wait()


def test_a_socket_that_a_cleaner_took_away_is_made_again(data_dir: Path, pg_user: str) -> None:
    server = EmbeddedServer.start(data_dir, pg_user)
    cluster = Home.of(data_dir).cluster()
    assert cluster is not None
    shutil.rmtree(cluster.run)
    server.ensure_running()
    try:
        assert query(server.dsn, "select 1") == 1
    finally:
        server.leave()


def test_an_interrupted_first_start_is_begun_anew(data_dir: Path, pg_user: str) -> None:
    (data_dir / "pg18.partial").mkdir()
    (data_dir / "pg18.partial" / "PG_VERSION").write_text("18\n")
    server = EmbeddedServer.start(data_dir, pg_user)
    server.leave()
    assert not (data_dir / "pg18.partial").exists()


# ---------------------------------------------------------------- keep, stop, reset
def test_a_kept_server_outlives_its_users_until_it_is_stopped(data_dir: Path, pg_user: str) -> None:
    server = EmbeddedServer.start(data_dir, pg_user)
    keep(data_dir)
    server.leave()
    assert postmaster(data_dir) is not None
    assert stop(data_dir)
    assert postmaster(data_dir) is None
    assert not stop(data_dir)
    server = EmbeddedServer.start(data_dir, pg_user)
    server.leave()
    assert postmaster(data_dir) is None


def test_leaving_twice_is_leaving_once(data_dir: Path, pg_user: str) -> None:
    first, second = EmbeddedServer.start(data_dir, pg_user), EmbeddedServer.start(data_dir, pg_user)
    first.leave()
    first.leave()
    assert postmaster(data_dir) is not None
    second.leave()
    assert postmaster(data_dir) is None


def test_a_server_stopped_under_its_user_is_started_again_on_demand(data_dir: Path, pg_user: str) -> None:
    server = EmbeddedServer.start(data_dir, pg_user)
    assert stop(data_dir)
    server.ensure_running()
    assert query(server.dsn, "select 1") == 1
    server.leave()
    assert postmaster(data_dir) is None


def test_reset_leaves_nothing_but_the_locks(data_dir: Path, pg_user: str) -> None:
    server = EmbeddedServer.start(data_dir, pg_user)
    cluster = Home.of(data_dir).cluster()
    assert cluster is not None
    assert reset(data_dir)
    server.leave()
    assert sorted(path.name for path in data_dir.iterdir()) == ["server.start.lock", "server.use.lock"]
    assert not cluster.run.exists()
    assert not Home.of(data_dir).refuge.exists()
    assert not reset(data_dir)


def test_stop_and_reset_of_a_folder_that_is_not_there_do_nothing(tmp_path: Path) -> None:
    assert not stop(tmp_path / "absent")
    assert not reset(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


# ---------------------------------------------------------------- places
def test_a_data_path_of_150_characters_works(data_dir: Path, pg_user: str) -> None:
    deep = data_dir / ("long " * 12) / ("ünïcode'\"$" * 6) / ("x" * 30)
    assert len(str(deep)) >= 150
    server = EmbeddedServer.start(deep, pg_user)
    try:
        assert query(server.dsn, "select 1") == 1
    finally:
        server.leave()
        reset(deep)


def test_two_data_dirs_do_not_touch_each_other(data_dir: Path, pg_user: str) -> None:
    one, other = EmbeddedServer.start(data_dir / "a", pg_user), EmbeddedServer.start(data_dir / "b", pg_user)
    assert one.dsn != other.dsn
    reset(data_dir / "a")
    assert query(other.dsn, "select 1") == 1
    one.leave()
    other.leave()
    reset(data_dir / "b")


def test_a_copied_data_dir_never_reaches_the_rows_of_the_original(data_dir: Path, pg_user: str) -> None:
    server = EmbeddedServer.start(data_dir / "a", pg_user)
    (data_dir / "b").mkdir()
    for note in (data_dir / "a").glob("server.*"):
        shutil.copy(note, data_dir / "b")
    other = EmbeddedServer.start(data_dir / "b", pg_user)
    assert server.dsn != other.dsn
    other.leave()
    assert query(server.dsn, "select 1") == 1
    server.leave()
    reset(data_dir / "a")
    reset(data_dir / "b")


def test_a_data_dir_deleted_under_its_server_begins_empty(data_dir: Path, pg_user: str) -> None:
    first = EmbeddedServer.start(data_dir / "a", pg_user)
    query(first.dsn, "create table old as select 1")
    shutil.rmtree(data_dir / "a")
    second = EmbeddedServer.start(data_dir / "a", pg_user)
    assert query(second.dsn, "select to_regclass('old')") is None
    first.leave()  # holds a lock that is nobody's any more
    assert query(second.dsn, "select 1") == 1
    second.leave()
    reset(data_dir / "a")


def test_the_last_user_of_a_deleted_data_dir_ends_its_server(data_dir: Path, pg_user: str) -> None:
    server = EmbeddedServer.start(data_dir / "a", pg_user)
    pid = postmaster(data_dir / "a")
    shutil.rmtree(data_dir / "a")
    server.leave()
    assert pid is not None
    wait_gone(pid)
    assert not Home.of(data_dir / "a").refuge.exists()


def test_a_folder_that_cannot_be_made_is_a_matter_of_configuration(data_dir: Path, pg_user: str) -> None:
    (data_dir / "file").write_text("")
    with pytest.raises(ConfigError, match="KIZU_DATA_DIR") as caught:
        EmbeddedServer.start(data_dir / "file" / "below", pg_user)
    assert "\n" not in str(caught.value)


def test_data_of_another_major_version_are_named_and_not_touched(data_dir: Path, pg_user: str) -> None:
    EmbeddedServer.start(data_dir, pg_user).leave()
    cluster = Home.of(data_dir).cluster()
    assert cluster is not None
    (cluster.data / "PG_VERSION").write_text("16\n")
    with pytest.raises(ConfigError, match="PostgreSQL 16, installed is 18"):
        EmbeddedServer.start(data_dir, pg_user)


# ---------------------------------------------------------------- root
@as_root
def test_root_runs_the_server_as_another_account(data_dir: Path, pg_user: str) -> None:
    server = EmbeddedServer.start(data_dir, pg_user)
    pid = postmaster(data_dir)
    assert pid is not None
    assert psutil.Process(pid).username() == pg_user
    server.leave()


@as_root
def test_a_data_dir_below_a_closed_folder_moves_to_a_refuge_and_reset_removes_it(data_dir: Path, pg_user: str) -> None:
    data_dir.chmod(0o700)
    closed = data_dir / "kizu"
    server = EmbeddedServer.start(closed, pg_user)
    cluster = Home.of(closed).cluster()
    assert cluster is not None
    assert cluster.data.is_relative_to(REFUGES)
    query(server.dsn, "create table kept as select 42 as answer")
    server.leave()
    server = EmbeddedServer.start(closed, pg_user)
    assert query(server.dsn, "select answer from kept") == 42
    server.leave()
    assert data_dir.stat().st_mode & 0o777 == 0o700
    assert reset(closed)
    assert not Home.of(closed).refuge.exists()


@as_root
def test_a_deleted_data_dir_does_not_find_its_old_rows_in_the_refuge(data_dir: Path, pg_user: str) -> None:
    data_dir.chmod(0o700)
    closed = data_dir / "kizu"
    server = EmbeddedServer.start(closed, pg_user)
    query(server.dsn, "create table old as select 1")
    keep(closed)
    server.leave()
    shutil.rmtree(closed)
    server = EmbeddedServer.start(closed, pg_user)
    assert query(server.dsn, "select to_regclass('old')") is None
    server.leave()
    reset(closed)


@as_root
@pytest.mark.parametrize("account", ["root", "no-such-account"])
def test_an_account_that_cannot_run_the_server_is_named(data_dir: Path, account: str) -> None:
    with pytest.raises(ConfigError, match="KIZU_PG_USER") as caught:
        EmbeddedServer.start(data_dir, account)
    assert account in str(caught.value)


# ---------------------------------------------------------------- a full disk
@pytest.fixture
def small_disk(data_dir: Path) -> Iterator[Path]:
    """A file system of 120 MB."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=120m,mode=755", "kizu", str(data_dir)], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield data_dir
    stop(data_dir)
    reset(data_dir)
    subprocess.run(["umount", str(data_dir)], check=True)


def fill(folder: Path) -> Path:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 65536)
        except OSError:
            return filler


@as_root
def test_a_full_disk_at_the_first_start_is_an_outage_in_one_line(small_disk: Path, pg_user: str) -> None:
    filler = fill(small_disk)
    with pytest.raises(DatabaseUnavailable, match="disk is full") as caught:
        EmbeddedServer.start(small_disk, pg_user)
    assert "\n" not in str(caught.value)
    filler.unlink()
    EmbeddedServer.start(small_disk, pg_user).leave()


@as_root
def test_a_server_that_a_full_disk_stopped_comes_back_when_there_is_space(small_disk: Path, pg_user: str) -> None:
    server = EmbeddedServer.start(small_disk, pg_user)
    assert stop(small_disk)
    filler = fill(small_disk)
    with pytest.raises(DatabaseUnavailable, match="disk is full"):
        server.ensure_running()
    filler.unlink()
    server.ensure_running()
    assert query(server.dsn, "select 1") == 1
    server.leave()


@as_root
def test_a_disk_that_fills_up_at_work_is_an_outage_and_every_committed_row_is_there_afterwards(small_disk: Path, pg_user: str) -> None:
    async def write(database: Database) -> int:
        """Commits rows until the disk is full. Returns how many were committed."""
        for committed in range(100_000):
            try:
                async with database.transaction() as connection:
                    await connection.execute(
                        "insert into auth.users (email) select repeat(gen_random_uuid()::text, 20) from generate_series(1, 1000)"
                    )
            except DatabaseUnavailable:
                return committed * 1000
        raise AssertionError("the disk never filled up")

    async def count(database: Database) -> int:
        for _ in range(600):
            try:
                async with database.connection() as connection:
                    return int(await connection.fetchval("select count(*) from auth.users"))
            except DatabaseUnavailable:
                await asyncio.sleep(0.05)
        raise AssertionError("the server did not come back")

    async def run() -> None:
        spare = small_disk / "spare"
        spare.write_bytes(b"\0" * (24 << 20))
        async with open_database(None, small_disk, pg_user) as database:
            committed = await write(database)
            committed += await write(database)  # still full: refused, or the last few rows that fit
            spare.unlink()
            assert await count(database) >= committed > 0

    asyncio.run(run())
