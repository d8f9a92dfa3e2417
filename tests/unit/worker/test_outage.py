"""kizu_fast/worker/outage.py: one line when a service goes, one when it is back, longer and longer waits between."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from structlog.testing import capture_logs

from kizu_fast.errors import SourceUnavailable
from kizu_fast.worker.outage import OutageGate

InNoTime = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]
GONE = SourceUnavailable("the drive is not there")


def test_a_pause_is_said_once_and_so_is_its_end(in_no_time: InNoTime) -> None:
    async def main() -> None:
        gate = OutageGate()
        for _ in range(5):
            gate.report(GONE)
            await gate.wait()
        gate.clear()
        gate.clear()

    with capture_logs() as said:
        in_no_time(main)
    assert [line["event"] for line in said] == ["paused", "resumed"]
    assert said[0]["reason"] == "the drive is not there"


def test_waits_grow_and_begin_anew_after_the_service_was_back(in_no_time: InNoTime) -> None:
    async def main() -> None:
        gate, loop, waits = OutageGate(), asyncio.get_running_loop(), []
        for _ in range(8):
            gate.report(GONE)
            before = loop.time()
            await gate.wait()
            waits.append(loop.time() - before)
        assert 0.25 <= waits[0] <= 0.75
        assert 7.5 <= waits[-1] <= 22.5
        gate.clear()
        gate.report(GONE)
        before = loop.time()
        await gate.wait()
        assert loop.time() - before <= 0.75

    in_no_time(main)


def test_what_was_asked_before_the_outage_does_not_open_the_gate(in_no_time: InNoTime) -> None:
    async def main() -> None:
        gate, loop = OutageGate(), asyncio.get_running_loop()
        early = loop.time()
        await asyncio.sleep(1)
        gate.report(GONE)
        gate.clear(early)
        assert gate.closed
        await gate.wait()
        gate.clear(loop.time())
        assert not gate.closed

    in_no_time(main)
