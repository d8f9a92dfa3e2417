"""Workers that are killed, frozen, doubled or asked to leave."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
from faults.rig import FEW, MANY, Rig, WorkerProcess, pass_time, show, until

SHORT = {"KIZU_LEASE_S": "3"}


def let_in(rig: Rig, photos: int) -> None:
    """Of the jobs that were put off, so many become due."""
    rig.rows(
        "update processing_queue set not_before = now() where id in"
        " (select id from processing_queue where status = 'pending' and not_before > now() + interval '10 min' limit $1)",
        photos,
    )


@pytest.mark.parametrize(("kills", "part", "photos"), [(3, "few", FEW), pytest.param(20, "many", MANY, marks=pytest.mark.slow)])
def test_killed_workers_lose_nothing_and_double_nothing(rig: Rig, library: Path, kills: int, part: str, photos: int) -> None:
    seed = int.from_bytes(os.urandom(4))
    show(f"seed {seed}")
    chance = random.Random(seed)
    rig.ingest(library / part, photos)
    rig.rows("update processing_queue set not_before = now() + interval '1 h'")
    sweeper = rig.worker("--operations", "embedding", **SHORT)  # claims nothing of these, lives all the time
    crew = [rig.worker(**SHORT) for _ in range(2)]

    def busy() -> WorkerProcess | None:
        rig.no_lease_is_forgotten()
        return next((worker for worker in crew if rig.held(worker)), None)

    for _ in range(kills):
        let_in(rig, photos // kills)
        victim = until(busy, "a worker with jobs in hand")
        pass_time(chance.uniform(0, 0.1))
        victim.process.kill()
        crew.remove(victim)
        crew.append(rig.worker(**SHORT))
    rig.finish([sweeper, *crew])
    attempts = rig.rows("select attempts, status, count(*) as photos from processing_queue group by 1, 2 order by 1")
    show(f"{kills} kills: {[tuple(row) for row in attempts]} (attempts, end, photos)")
    lost_three_times = sum(row["photos"] for row in attempts if row["attempts"] == 3)
    rig.sound(photos, may_fail=lost_three_times, attempts=frozenset({1, 2, 3}))


def test_a_worker_frozen_past_its_lease_writes_nothing_late(rig: Rig, library: Path) -> None:
    rig.ingest(library / "few", FEW)
    frozen = rig.worker("--drain", **SHORT)
    rig.stopped_with_jobs(frozen)
    live = rig.worker("--drain", **SHORT)
    until(lambda: rig.held(live), "the live worker is at work")  # until then nobody looks after leases
    until(lambda: not rig.held(frozen), "the frozen worker's jobs go back", 30)
    until(lambda: rig.no_lease_is_forgotten() or not live.alive, "the live worker has done everything")
    assert live.ended() == 0
    ended = rig.rows("select id, completed_at from processing_queue order by id")
    frozen.send(signal.SIGCONT)
    late, timely = frozen.report(), live.report()
    assert rig.rows("select id, completed_at from processing_queue order by id") == ended
    assert late["completed"] + timely["completed"] == FEW
    assert rig.value("select count(*) from processing_queue where attempts = 2") > 0
    rig.sound(FEW, attempts=frozenset({1, 2}))


def test_a_worker_frozen_while_it_writes_holds_up_nobody_for_long(rig: Rig, library: Path) -> None:
    rig.ingest(library / "few", FEW)
    with rig.open_transaction("lock table image_embeddings in share row exclusive mode"):
        frozen = rig.worker("--drain", **SHORT)
        waiting = "select pid from pg_stat_activity where application_name = 'kizu_fast' and wait_event_type = 'Lock'"
        writer = until(lambda: rig.rows(waiting), "results being written")[0]["pid"]
        frozen.send(signal.SIGSTOP)
    waits = "select state from pg_stat_activity where pid = $1 and wait_event = 'ClientRead' and xact_start is not null"
    frozen_state = until(lambda: rig.value(waits, writer) if rig.rows(waits, writer) else None, "a transaction that nobody goes on with")
    since = time.monotonic()
    live = rig.worker("--drain", **SHORT)
    until(lambda: not rig.rows("select from pg_stat_activity where pid = $1", writer), "the server throws the frozen writer out", 30)
    show(f"thrown out of {frozen_state!r} after {time.monotonic() - since:.1f} s")
    assert live.ended() == 0
    frozen.send(signal.SIGCONT)
    assert frozen.report()["completed"] + live.report()["completed"] == FEW
    rig.sound(FEW, attempts=frozenset({1, 2}))


def test_two_workers_with_one_name_share_the_work(rig: Rig, library: Path) -> None:
    rig.ingest(library / "few", FEW)
    twins = [rig.worker("--drain", name="twin") for _ in range(2)]
    assert sum(twin.report()["completed"] for twin in twins) == FEW
    rig.sound(FEW)


def test_three_workers_complete_two_thousand_jobs_once_each(rig: Rig, library: Path) -> None:
    rig.ingest(library, 2000)
    started = time.monotonic()
    crew = [rig.worker("--drain") for _ in range(3)]
    shares = [worker.report()["completed"] for worker in crew]
    show(f"2,000 jobs in {time.monotonic() - started:.1f} s, shares {shares}")
    assert sum(shares) == 2000
    assert rig.value("select count(*) from processing_queue where lease_token <> 1") == 0
    rig.sound(2000)


def test_photos_forgotten_while_in_process_leave_no_row(rig: Rig, library: Path) -> None:
    rig.ingest(library / "few", FEW)
    worker = rig.worker("--drain")
    rig.stopped_with_jobs(worker)
    paths = "select convert_from(p.path, 'UTF8') as path from asset_paths p join processing_queue q using (asset_id) where q.status = 'processing'"
    doomed = [row["path"] for row in rig.rows(paths)][:3]
    assert [rig.line.json("forget", path)["assets"] for path in doomed] == [1] * len(doomed)
    worker.send(signal.SIGCONT)
    until(lambda: rig.done() > 50, "the worker goes on")
    more = [row["path"] for row in rig.rows(paths)][:3]
    gone = sum(rig.line.json("forget", path)["assets"] for path in more)
    show(f"forgotten in process: {len(doomed)}, then {gone}")
    assert worker.ended() == 0
    rig.sound(FEW - len(doomed) - gone)
    assert rig.value("select count(*) from assets") == FEW - len(doomed) - gone


def test_a_worker_asked_to_leave_gives_back_what_it_has_not_finished(rig: Rig, library: Path) -> None:
    rig.ingest(library / "few", FEW)
    worker = rig.worker()
    until(lambda: rig.done() > 20, "the worker is in the midst of it")
    worker.send(signal.SIGTERM)
    report = worker.report()
    rows = rig.rows("select status, min(attempts) as fewest, max(attempts) as most, count(*) as jobs from processing_queue group by 1")
    found = {row["status"]: (row["fewest"], row["most"]) for row in rows}
    assert found == {"completed": (1, 1), "pending": (0, 0)}
    assert {row["status"]: row["jobs"] for row in rows}["completed"] == report["completed"]
    assert worker.said("stopping")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_the_last_worker_to_leave_stops_the_server(rig: Rig, library: Path, number: signal.Signals, code: int) -> None:
    rig.ingest(library / "few", FEW)
    rig.line.run("db", "stop")
    worker = rig.worker()
    until(lambda: worker.log.exists() and rig.servers() and rig.held(worker), "a worker at work")
    worker.send(number)
    assert worker.ended() == code
    assert rig.servers() == []
    rig.keep_server()
    assert rig.held() == 0
    assert rig.value("select count(*) from processing_queue where attempts <> (status = 'completed')::int") == 0


def test_a_second_signal_ends_a_worker_at_once_and_its_jobs_come_back(rig: Rig, library: Path) -> None:
    rig.ingest(library / "few", FEW)
    with rig.open_transaction("lock table image_embeddings in share row exclusive mode"):  # so that it cannot finish
        worker = rig.worker(**SHORT)
        until(lambda: rig.held(worker), "a worker at work")
        worker.send(signal.SIGTERM)
        until(lambda: worker.said("stopping"), "the worker has heard")
        worker.send(signal.SIGTERM)
        assert worker.ended(5) == 130
    assert worker.said("left at once")
    assert rig.worker("--drain", **SHORT).report()["completed"] == FEW
    rig.sound(FEW, attempts=frozenset({1, 2}))


def test_a_photo_wakes_an_idle_worker(rig: Rig, library: Path) -> None:
    worker = rig.worker("--poll-interval", "60")
    listening = "select count(*) from pg_stat_activity where application_name = 'kizu_fast listen' and state = 'idle'"
    until(lambda: rig.value(listening), "the worker listens")
    pass_time(8)  # polls come at 1, 3, 7 seconds, then a long while not
    rig.ingest(library / "few" / "0000.jpg", 1)
    since = time.monotonic()
    until(lambda: rig.done() == 1, "the photo is done", 30)
    took = time.monotonic() - since
    show(f"done {took:.2f} s after it was queued")
    assert took < 2
    rig.finish([worker])
    rig.sound(1)
