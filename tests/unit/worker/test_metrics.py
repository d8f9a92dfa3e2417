"""kizu_fast/worker/metrics.py: what is told before anything happened, during an outage, and where the port cannot be had."""

import socket
from pathlib import Path
from typing import Any

import pytest

from kizu_fast.backends.fake import FakeBackend
from kizu_fast.engine import EngineConfig, open_engine
from kizu_fast.errors import ConfigError, DatabaseUnavailable
from kizu_fast.lanes import StageTime
from kizu_fast.store.overview import Backlog
from kizu_fast.worker.metrics import Metrics, served
from kizu_fast.worker.report import Tally


class Idle:
    """A worker that has nothing to do; outages as given."""

    in_flight = 0

    def __init__(self, *outages: str) -> None:
        self.outages = frozenset(outages)


def values(metrics: Metrics) -> dict[tuple[str, ...], float]:
    return {(sample.name, *sample.labels.values()): sample.value for family in metrics.collect() for sample in family.samples}


async def collected(tally: Tally, worker: Any, backlog: Any = None) -> dict[tuple[str, ...], float]:
    async with open_engine(EngineConfig(model_repository=Path("/nowhere"), backend="fake"), backend=FakeBackend()) as engine:
        metrics = Metrics("fake", engine, tally, worker)
        if backlog is not None:
            with pytest.raises(StopWatching):
                await metrics.watch(backlog, 0)
        return values(metrics)


class StopWatching(Exception):
    """Ends a watch that would go on for ever."""


async def test_every_ending_is_there_from_the_start_with_nought() -> None:
    found = await collected(Tally(), Idle())

    assert {
        ending: found["kizu_attempts_total", ending] for ending in ("completed", "failed", "pending", "released", "deferred", "lost")
    } == dict.fromkeys(("completed", "failed", "pending", "released", "deferred", "lost"), 0)
    assert found["kizu_claim_seconds_count",] == 0


async def test_an_unknown_queue_is_not_told_as_empty() -> None:
    found = await collected(Tally(), Idle("database"))

    assert ("kizu_queue_jobs", "pending") not in found
    assert (found["kizu_up", "database"], found["kizu_up", "services"]) == (0, 1)


async def test_the_queue_is_told_once_the_database_has_answered() -> None:
    asked = 0

    async def backlog() -> Backlog:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise DatabaseUnavailable("gone")
        if asked == 3:
            raise StopWatching
        return Backlog(7, 2, 33.5)

    found = await collected(Tally(), Idle(), backlog)

    assert (found["kizu_queue_jobs", "pending"], found["kizu_queue_jobs", "processing"]) == (7, 2)
    assert found["kizu_queue_oldest_seconds",] == 33.5


async def test_claims_and_stages_carry_count_and_seconds() -> None:
    tally = Tally(claims=StageTime(1.5, 3))
    tally.add_stage("store", 0.25, 5)
    tally.endings["lost"] += 2

    found = await collected(tally, Idle())

    assert (found["kizu_claim_seconds_sum",], found["kizu_claim_seconds_count",]) == (1.5, 3)
    assert (found["kizu_stage_seconds_sum", "store"], found["kizu_stage_seconds_count", "store"]) == (0.25, 5)
    assert found["kizu_attempts_total", "lost"] == 2


async def test_a_taken_port_names_itself_and_the_option() -> None:
    async with open_engine(EngineConfig(model_repository=Path("/nowhere"), backend="fake"), backend=FakeBackend()) as engine:
        metrics = Metrics("fake", engine, Tally(), Idle())  # type: ignore[arg-type]  # only what metrics read
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(ConfigError, match=f"127.0.0.1:{port}: .*choose another --metrics-port"), served(metrics, "127.0.0.1", port):
                pass
