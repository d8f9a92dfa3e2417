"""Pausing while a service is gone: one line when it goes, one when it is back, longer and longer waits between."""

import asyncio
import math
import random

import structlog

from kizu_fast.errors import Outage

_FIRST_S, _LONGEST_S = 0.5, 15.0

log = structlog.get_logger()


class OutageGate:
    """Closed while a service is gone. Waiting is jittered, so that many workers do not come back at one instant."""

    def __init__(self) -> None:
        self._delay_s = _FIRST_S
        self._open_at = 0.0
        self._closed_at = 0.0
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def report(self, error: Outage) -> None:
        """A service did not answer: close, or stay closed for longer."""
        now = asyncio.get_running_loop().time()
        if self._closed and now < self._open_at:
            return  # another photo met the same outage
        if not self._closed:
            log.warning("paused", reason=str(error))
            self._closed_at = now
        self._closed = True
        self._open_at = now + self._delay_s * random.uniform(0.5, 1.5)  # noqa: S311  # jitter, not a secret
        self._delay_s = min(self._delay_s * 2, _LONGEST_S)

    def clear(self, asked_at: float = math.inf) -> None:
        """The service answered. What was asked before it went (loop's time) proves nothing."""
        if asked_at < self._closed_at:
            return
        if self._closed:
            log.info("resumed")
        self._closed, self._delay_s, self._open_at = False, _FIRST_S, 0.0

    async def wait(self) -> None:
        """Until the next try is due."""
        await asyncio.sleep(max(self._open_at - asyncio.get_running_loop().time(), 0))
