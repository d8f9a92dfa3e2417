"""An event loop in which waiting takes no time: its selector adds the timeout to the clock instead of sleeping."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Deadlock(AssertionError):
    """Every task waits for something that nothing will bring about."""


class _NoWait(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if not events and timeout is None:
            raise Deadlock
        if not events and timeout is not None:
            self.now += max(timeout, 0)
        return events


class TimelessLoop(asyncio.SelectorEventLoop):
    """Threads do not fit in: the clock would not wait for them."""

    def __init__(self) -> None:
        self._no_wait = _NoWait()
        super().__init__(self._no_wait)

    def time(self) -> float:
        return self._no_wait.now


def run_in_no_time(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """asyncio.run() on a TimelessLoop. Raises Deadlock instead of hanging."""
    loop = TimelessLoop()
    try:
        return loop.run_until_complete(main())
    finally:
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        if pending:
            loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        loop.close()
