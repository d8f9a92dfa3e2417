"""The database, its disk or the library go away in a run and come back: nothing is lost, no attempt is spent."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.rig import FEW, MANY, Rig, WorkerProcess, opened, pass_time, show, until


def paused_once(worker: WorkerProcess) -> None:
    """One line when it went, one when it was back."""
    assert len(worker.said("event=paused")) == 1, worker.said()
    assert len(worker.said("event=resumed")) == 1, worker.said()


def in_the_midst(rig: Rig, worker: WorkerProcess, done: int = 20) -> None:
    until(lambda: rig.done() > done and rig.held(worker), "a worker in the midst of its work")


def test_a_killed_server_comes_back_by_itself(rig: Rig, library: Path) -> None:
    rig.ingest(library / "few", FEW)
    crew = [rig.worker("--drain") for _ in range(2)]
    for done in (20, 60):
        until(lambda done=done: rig.done() > done and rig.held(), "workers in the midst of their work")
        for process in rig.servers():
            process.kill()
    assert [worker.ended() for worker in crew] == [0, 0]
    assert rig.servers()
    rig.sound(FEW)


def test_one_killed_backend_restarts_the_server_and_the_run_goes_on(rig: Rig, library: Path) -> None:
    rig.ingest(library / "few", FEW)
    worker = rig.worker("--drain")
    in_the_midst(rig, worker)
    os.kill(rig.value("select pid from pg_stat_activity where application_name = 'kizu_fast' limit 1"), signal.SIGKILL)
    assert worker.ended() == 0
    rig.sound(FEW)


def test_connections_thrown_out_again_and_again_cost_no_attempt(rig: Rig, library: Path) -> None:
    rig.ingest(library / "few", FEW)
    worker = rig.worker("--drain")
    in_the_midst(rig, worker)
    thrown = 0
    for _ in range(8):
        thrown += len(rig.rows("select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'kizu_fast%'"))
        pass_time(0.15)
    show(f"{thrown} connections thrown out, {rig.done()} photos done meanwhile")
    assert worker.ended() == 0
    rig.sound(FEW)


@pytest.fixture
def narrow(data_dir: Path, template: Path, library: Path, tmp_path: Path) -> Iterator[Rig]:
    """A server with room for twelve connections."""
    with opened(data_dir, template, library, tmp_path) as rig:
        for settings in data_dir.glob("pg*/postgresql.auto.conf"):
            with settings.open("a") as lines:
                lines.write("max_connections = 12\nmax_wal_senders = 0\n")
        rig.keep_server()
        assert rig.value("show max_connections") == "12"
        yield rig


def test_a_full_server_is_waited_for(narrow: Rig, library: Path) -> None:
    narrow.ingest(library / "many", MANY)  # a connection may get through now and then: there must be work left
    worker = narrow.worker("--drain")
    in_the_midst(narrow, worker)
    with narrow.crowd():
        until(lambda: worker.said("event=paused"), "the worker says that it waits")
        pass_time(2)
        assert worker.alive
    assert worker.ended() == 0
    narrow.sound(MANY)
    paused_once(worker)


def test_a_pool_whose_connections_all_wait_is_an_outage_and_no_failure(rig: Rig, library: Path) -> None:
    rig.ingest(library / "few", FEW)
    worker = rig.worker("--drain")
    in_the_midst(rig, worker)
    with rig.open_transaction("lock table assets, processing_queue in access exclusive mode"):
        pass_time(12)  # a connection is waited for for 10 s
        assert worker.alive
    assert worker.ended() == 0
    rig.sound(FEW)


def test_a_full_disk_pauses_the_worker_until_there_is_room(small_disk: Path, template: Path, library: Path, tmp_path: Path) -> None:
    with opened(small_disk, template, library, tmp_path) as rig:
        rig.keep_server()
        rig.ingest(library / "few", FEW)
        worker = rig.worker("--drain")
        in_the_midst(rig, worker)
        ballast = small_disk / "ballast"
        with suppress_full(), ballast.open("wb") as file:
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        until(lambda: worker.said("event=paused"), "the worker says that it waits")
        pass_time(3)
        done = worker.said()
        ballast.unlink()
        show(f"said: {worker.said('event=paused')}")
        assert worker.ended() == 0, done
        rig.sound(FEW)
        paused_once(worker)


class suppress_full:  # noqa: N801  # reads like contextlib.suppress
    """Swallows the error of a full disk."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _traceback: object) -> bool:
        return isinstance(error, OSError)


def test_a_library_that_is_unplugged_for_a_while_costs_no_attempt(rig: Rig, library: Path, tmp_path: Path) -> None:
    drive = tmp_path / "drive"
    shutil.copytree(library / "few", drive)
    rig.line.env["LIBRARY_ROOT"] = str(drive)
    rig.ingest(drive, FEW)
    worker = rig.worker("--drain")
    in_the_midst(rig, worker)
    drive.rename(tmp_path / "unplugged")
    until(lambda: worker.said("event=paused"), "the worker says that it waits")
    done, since = rig.done(), time.monotonic()
    pass_time(3)
    assert worker.alive
    assert rig.value("select count(*) from processing_queue where status = 'failed'") == 0
    (tmp_path / "unplugged").rename(drive)
    assert worker.ended() == 0
    show(f"{done} done before, the others {time.monotonic() - since:.1f} s later; {worker.said('event=paused')}")
    rig.sound(FEW)
    paused_once(worker)
