"""The bare lanes: every batch once, each lane with sessions of its own."""

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.sessions import Bare, cpu_seconds


class Session:
    """Counts what it is given and says in which thread."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.threads: set[int] = set()

    def run(self, _names: None, inputs: dict[str, Any]) -> None:
        self.seen.append(int(inputs["x"][0]))
        self.threads.add(threading.get_ident())


class Broken:
    def run(self, _names: None, _inputs: dict[str, Any]) -> None:
        raise RuntimeError("the graph refuses its input")


def batches(count: int) -> list[tuple[str, dict[str, Any]]]:
    return [("model", {"x": np.array([number])}) for number in range(count)]


def test_every_batch_runs_exactly_once() -> None:
    sessions = [Session(), Session()]
    seconds = Bare({"model": Path("model.onnx")}, 2, [{"model": one} for one in sessions]).run(batches(50))
    assert Counter(number for one in sessions for number in one.seen) == Counter(range(50))
    assert seconds >= 0


def test_a_session_is_used_by_one_lane_only() -> None:
    sessions = [Session(), Session(), Session()]
    Bare({}, 3, [{"model": one} for one in sessions]).run(batches(30))
    assert all(len(one.threads) <= 1 for one in sessions)


def test_no_work_ends_at_once() -> None:
    assert Bare({}, 1, [{"model": Session()}]).run([]) < 5


def test_an_error_of_a_lane_reaches_the_caller() -> None:
    with pytest.raises(RuntimeError, match="refuses"):
        Bare({}, 1, [{"model": Broken()}]).run(batches(1))


def test_cpu_seconds_are_those_of_this_thread() -> None:
    assert cpu_seconds(lambda: None) < 0.1
    assert cpu_seconds(lambda: sum(range(2_000_000))) > 0
