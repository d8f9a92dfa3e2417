"""The loop that the other tests trust."""

import asyncio

import pytest
from loop import Deadlock, run_in_no_time


def test_an_hour_passes_at_once() -> None:
    async def main() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert run_in_no_time(main) == pytest.approx(3600)


def test_sleepers_wake_in_order_of_their_time() -> None:
    async def main() -> list[int]:
        woken: list[int] = []

        async def sleeper(seconds: int) -> None:
            await asyncio.sleep(seconds)
            woken.append(seconds)

        await asyncio.gather(*(sleeper(seconds) for seconds in (5, 1, 3)))
        return woken

    assert run_in_no_time(main) == [1, 3, 5]


def test_waiting_for_what_never_comes_is_reported_instead_of_hanging() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        run_in_no_time(main)
