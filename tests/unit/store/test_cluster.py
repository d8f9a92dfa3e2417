"""A data directory seen from outside: whose process is it, what does the server say, why did it not start."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kizu_fast.errors import ConfigError
from kizu_fast.store.cluster import Cluster, _cause, _initdb_options
from kizu_fast.store.installation import Account


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    (tmp_path / "data").mkdir()
    return Cluster(tmp_path / "data", tmp_path / "run", Account(""))


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A living process that is no database."""
    process = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    yield process
    process.communicate()


def write_pid(cluster: Cluster, first: str, status: str = "ready") -> None:
    (cluster.data / "postmaster.pid").write_text("\n".join([first, str(cluster.data), "1", "5432", str(cluster.run), "", "0 0", status]) + "\n")


@pytest.mark.parametrize("first", ["", "not a number", "-1", "0", "999999999999999999999", str(2**22 + 1)])
def test_a_pid_file_without_a_living_process_is_stale(cluster: Cluster, first: str) -> None:
    write_pid(cluster, first)
    assert cluster.pid() is None
    assert not cluster.answers()
    assert not cluster.stop()


def test_no_pid_file_is_no_server(cluster: Cluster) -> None:
    assert cluster.pid() is None
    assert not cluster.stop()


def test_another_living_process_is_not_taken_for_the_server_nor_touched(cluster: Cluster, sleeper: subprocess.Popen[bytes]) -> None:
    write_pid(cluster, str(sleeper.pid))
    assert cluster.pid() is None
    assert not cluster.stop()
    cluster.run.mkdir()
    (cluster.run / ".s.PGSQL.5432.lock").write_text(f"{sleeper.pid}\n")
    cluster.end_orphan()
    assert sleeper.poll() is None


def test_this_very_process_is_not_taken_for_the_server(cluster: Cluster) -> None:
    write_pid(cluster, str(os.getpid()))
    assert cluster.pid() is None


def test_removing_takes_data_and_socket_folder(cluster: Cluster) -> None:
    cluster.run.mkdir()
    cluster.data.with_name("data.partial").mkdir()
    cluster.remove()
    assert list(cluster.data.parent.iterdir()) == []
    cluster.remove()


def test_a_socket_folder_that_is_too_long_is_named(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, tmp_path / ("x" * 100), Account(""))
    with pytest.raises(ConfigError, match="too long for a socket"):
        cluster._prepare_run()


@pytest.mark.parametrize("kind", ["open to others", "a link"])
def test_a_socket_folder_that_somebody_else_prepared_is_not_used(kind: str, tmp_path: Path) -> None:
    run = Path("/tmp") / f"kizu-test-{os.getpid()}"  # noqa: S108  # short
    if kind == "a link":
        (tmp_path / "target").mkdir(mode=0o700)
        run.symlink_to(tmp_path / "target")
    else:
        run.mkdir()
        run.chmod(0o777)
    try:
        with pytest.raises(ConfigError, match="belongs to somebody else"):
            Cluster(tmp_path, run, Account(""))._prepare_run()
    finally:
        run.unlink() if kind == "a link" else run.rmdir()


def test_a_log_stays_short(cluster: Cluster) -> None:
    assert cluster._trim_log() == 0
    cluster.log.write_bytes(b"x" * 1000)
    assert cluster._trim_log() == 1000
    cluster.log.write_bytes(b"x" * (2 << 20))
    assert cluster._trim_log() == 0
    assert not cluster.log.exists()


def test_the_log_may_take_a_twentieth_of_the_disk_at_most(cluster: Cluster) -> None:
    options = dict(option.split("=", 1) for option in cluster._options() if "=" in option)
    most, least = (int(options[name].removesuffix("MB")) for name in ("max_wal_size", "min_wal_size"))
    assert 64 <= most <= 512
    assert least <= most / 2
    assert options["listen_addresses"] == ""
    assert options["jit"] == "off"


def test_characters_beyond_ascii_are_letters_to_every_version() -> None:
    assert "--lc-ctype=C.UTF-8" in _initdb_options(18, "C.UTF-8")
    assert "--locale-provider=builtin" in _initdb_options(17, "C.UTF-8")
    assert "--locale=C.UTF-8" in _initdb_options(16, "C.UTF-8")
    assert "--locale-provider=builtin" not in _initdb_options(16, "C.UTF-8")


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        ("2026-01-01 LOG:  starting\n2026-01-01 FATAL:  could not open file\n2026-01-01 LOG:  shut down\n", "could not open file"),
        ("initdb: error: invalid locale name\ninitdb: hint: if the locale exists\n", "invalid locale name"),
        ("something happened\n", "something happened"),
        ("\n \n", "no reason given"),
        ("", "no reason given"),
    ],
)
def test_the_cause_is_the_line_that_says_why(output: str, cause: str) -> None:
    assert _cause(output) == cause
