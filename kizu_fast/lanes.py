"""Lanes: one shared pool of CPU threads for everything that computes, one lane per core.

Decode, preprocess and infer take turns in the same lanes, so that a machine with two cores never runs three of them
at once. docs/decisions/007-lanes.md holds the measurements.
"""

import asyncio
import heapq
import itertools
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar

import cv2

P = ParamSpec("P")
T = TypeVar("T")

FEEDING = float("-inf")  # work that feeds a batch goes before any batch: else lanes run half-full batches while photos wait


def available_cores() -> int:
    """CPU cores that this process may use: a container or taskset may allow fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


class Turns:
    """A semaphore whose free places go to whoever has waited longest, by the time the caller states.

    A batcher states the arrival of its oldest row, so that a model with one photo per batch and a model with eight
    share the lanes by age, not batch for batch. Equal times are served in order of asking.
    """

    def __init__(self, places: int) -> None:
        if places < 1:
            raise ValueError(f"there must be at least one lane, got {places}")
        self._free = places
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []

    async def acquire(self, since: float = FEEDING) -> None:
        """Wait for a place; it must be given back by release()."""
        if self._free and not self._waiting:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (since, next(self._order), turn))
        try:
            await turn  # release() has passed its place on to us
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()  # granted and cancelled in the same turn of the loop
            raise

    def release(self) -> None:
        """Give a place back: the next in line has it at once, nobody can slip in between."""
        while self._waiting:
            turn = heapq.heappop(self._waiting)[2]
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


@dataclass(frozen=True, slots=True)
class StageTime:
    """What a stage has cost so far: seconds of execution (waiting left out) for so many items."""

    seconds: float = 0.0
    items: int = 0

    def plus(self, seconds: float, items: int) -> "StageTime":
        return StageTime(self.seconds + seconds, self.items + items)


class Lanes:
    """The pool. One more thread than places: work of under a millisecond need not wait for a lane."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.turns = Turns(count)
        self.executor = ThreadPoolExecutor(count + 1, thread_name_prefix="lane")
        self.stages: dict[str, StageTime] = {}
        cv2.setNumThreads(1)  # OpenCV would start a pool of its own beside ours

    async def run(self, stage: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work in a lane, before any waiting batch. A cancelled caller leaves the lane busy until the thread is done."""
        await self.turns.acquire()
        running = self._submit(stage, partial(work, *args, **kwargs))
        running.add_done_callback(lambda _: self.turns.release())
        return await asyncio.shield(running)

    async def run_now(self, stage: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work of under a millisecond beside the lanes: behind a queue of inferences its photo would be held for seconds."""
        return await asyncio.shield(self._submit(stage, partial(work, *args, **kwargs)))

    def note(self, stage: str, seconds: float, items: int = 1) -> None:
        """Add to the time of a stage. Loop thread only."""
        self.stages[stage] = self.stages.get(stage, StageTime()).plus(seconds, items)

    async def close(self) -> None:
        """Wait until the threads are idle and end them."""
        await asyncio.to_thread(self.executor.shutdown, wait=True, cancel_futures=True)

    def _submit(self, stage: str, work: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()

        def timed() -> T:
            started = time.perf_counter()
            try:
                return work()
            finally:
                seconds = time.perf_counter() - started
                loop.call_soon_threadsafe(self.note, stage, seconds)

        return loop.run_in_executor(self.executor, timed)
