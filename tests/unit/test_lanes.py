"""Turns and lanes: the oldest goes first, places are never lost, threads never outnumber the lanes."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import cv2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loop import run_in_no_time

from kizu_fast.errors import ImageUnreadable
from kizu_fast.lanes import FEEDING, Lanes, StageTime, Turns, available_cores


@pytest.fixture
async def lanes() -> AsyncIterator[Lanes]:
    opened = Lanes(2)
    yield opened
    await opened.close()


async def _take(turns: Turns, since: float, order: list[float]) -> None:
    await turns.acquire(since)
    order.append(since)
    await asyncio.sleep(1)
    turns.release()


async def _let_others_run() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def test_the_oldest_row_goes_first_whoever_asked_first(in_no_time: Callable[..., Any]) -> None:
    async def main() -> list[float]:
        turns, order = Turns(1), []
        await asyncio.gather(*(_take(turns, since, order) for since in (0, 30, 10, 20)))
        return order

    assert in_no_time(main) == [0, 10, 20, 30]


def test_feeding_work_goes_before_any_batch(in_no_time: Callable[..., Any]) -> None:
    async def main() -> list[float]:
        turns, order = Turns(1), []
        await asyncio.gather(*(_take(turns, since, order) for since in (0, 1, 2, FEEDING, FEEDING)))
        return order

    assert in_no_time(main) == [0, FEEDING, FEEDING, 1, 2]


def test_a_free_place_is_taken_at_once(in_no_time: Callable[..., Any]) -> None:
    async def main() -> float:
        turns = Turns(3)
        await asyncio.gather(*(_take(turns, 0, []) for _ in range(3)))
        return asyncio.get_running_loop().time()

    assert in_no_time(main) == pytest.approx(1)


@given(
    places=st.integers(1, 4),
    asks=st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5), st.none() | st.floats(0, 5)), max_size=30),
)
@settings(deadline=None, max_examples=60)
def test_places_are_neither_lost_nor_doubled_however_callers_are_cancelled(places: int, asks: list[tuple[float, float, float | None]]) -> None:
    async def main() -> None:
        turns, inside = Turns(places), 0

        async def one(after_s: float, for_s: float) -> None:
            nonlocal inside
            await asyncio.sleep(after_s)
            await turns.acquire(after_s)
            inside += 1
            assert inside <= places
            try:
                await asyncio.sleep(for_s)
            finally:
                inside -= 1
                turns.release()

        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(one(after_s, for_s)) for after_s, for_s, _ in asks]
        for task, (_, _, cancel_s) in zip(tasks, asks, strict=True):
            if cancel_s is not None:
                loop.call_later(cancel_s, task.cancel)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results)
        await asyncio.gather(*(turns.acquire() for _ in range(places)))  # every place is there again

    run_in_no_time(main)


def test_a_place_granted_to_a_task_cancelled_in_the_same_instant_passes_on(in_no_time: Callable[..., Any]) -> None:
    async def main() -> list[float]:
        turns, order = Turns(1), []
        await turns.acquire()
        unlucky = asyncio.create_task(_take(turns, 1, order))
        lucky = asyncio.create_task(_take(turns, 2, order))
        await _let_others_run()
        turns.release()
        unlucky.cancel()
        await asyncio.gather(unlucky, lucky, return_exceptions=True)
        return order

    assert in_no_time(main) == [2]


def test_there_must_be_a_lane() -> None:
    with pytest.raises(ValueError, match="at least one lane"):
        Turns(0)


def test_a_process_may_use_at_least_one_core() -> None:
    assert available_cores() >= 1


async def test_no_more_work_runs_at_once_than_there_are_lanes(lanes: Lanes) -> None:
    lock, running, most = threading.Lock(), 0, 0
    together = threading.Barrier(2)

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait(timeout=10)  # returns only when two run at the same time
        with lock:
            running -= 1

    await asyncio.gather(*(lanes.run("decode", work) for _ in range(8)))

    assert most == 2
    assert lanes.stages["decode"].items == 8


async def test_work_of_under_a_millisecond_does_not_wait_for_a_lane(lanes: Lanes) -> None:
    release = threading.Event()
    busy = [asyncio.create_task(lanes.run("decode", release.wait, 10)) for _ in range(2)]
    await _let_others_run()

    answer = await lanes.run_now("postprocess", lambda: 42)
    release.set()
    await asyncio.gather(*busy)

    assert answer == 42


async def test_an_error_reaches_the_caller_and_frees_the_lane(lanes: Lanes) -> None:
    def broken() -> None:
        raise ImageUnreadable("no picture")

    for _ in range(3):  # once per lane, and once more
        with pytest.raises(ImageUnreadable):
            await lanes.run("decode", broken)

    assert await lanes.run("decode", lambda: "fine") == "fine"
    assert lanes.stages["decode"].items == 4


async def test_a_cancelled_caller_keeps_its_lane_until_the_thread_is_done(lanes: Lanes) -> None:
    release = threading.Event()
    busy = [asyncio.create_task(lanes.run("decode", release.wait, 10)) for _ in range(2)]
    await _let_others_run()
    for task in busy:
        task.cancel()
    await asyncio.gather(*busy, return_exceptions=True)

    waiting = asyncio.create_task(lanes.run("decode", lambda: "done"))
    await _let_others_run()
    assert not waiting.done()
    release.set()

    assert await waiting == "done"


def test_time_of_a_stage_adds_up() -> None:
    assert StageTime(1.0, 2).plus(0.5, 1) == StageTime(1.5, 3)


async def test_opencv_starts_no_threads_of_its_own(lanes: Lanes) -> None:
    assert lanes.count == 2
    assert cv2.getNumThreads() == 1
