"""Back-pressure in bytes: never too much at once, nobody starved, nobody forgotten."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loop import run_in_no_time

from kizu_fast.budget import ByteBudget


async def _hold(budget: ByteBudget, n_bytes: int, seconds: float, order: list[int]) -> None:
    async with budget.hold(n_bytes):
        order.append(n_bytes)
        await asyncio.sleep(seconds)


async def _let_others_run() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


@given(
    limit=st.integers(1, 100),
    holds=st.lists(st.tuples(st.integers(0, 150), st.floats(0, 3), st.floats(0, 3)), max_size=30),
)
@settings(deadline=None, max_examples=60)
def test_held_bytes_never_pass_the_limit_except_for_one_that_is_alone(limit: int, holds: list[tuple[int, float, float]]) -> None:
    async def main() -> tuple[int, int]:
        budget, inside, done = ByteBudget(limit), [], 0

        async def one(n_bytes: int, after_s: float, for_s: float) -> None:
            nonlocal done
            await asyncio.sleep(after_s)
            async with budget.hold(n_bytes):
                inside.append(n_bytes)
                assert sum(inside) <= budget.held_bytes  # whoever was granted but has not woken yet is counted too
                assert budget.held_bytes <= limit or sum(1 for held in inside if held) <= 1
                await asyncio.sleep(for_s)
                inside.remove(n_bytes)
            done += 1

        await asyncio.gather(*(one(*hold) for hold in holds))
        return done, budget.held_bytes

    assert run_in_no_time(main) == (len(holds), 0)


def test_whoever_came_first_goes_first_even_when_a_smaller_one_would_fit(in_no_time: Callable[..., Any]) -> None:
    async def main() -> list[int]:
        budget, order = ByteBudget(10), []
        await asyncio.gather(*(_hold(budget, n_bytes, 1, order) for n_bytes in (6, 8, 1, 2)))
        return order

    assert in_no_time(main) == [6, 8, 1, 2]


def test_more_than_the_limit_passes_alone(in_no_time: Callable[..., Any]) -> None:
    async def main() -> float:
        budget = ByteBudget(10)
        await asyncio.gather(*(_hold(budget, n_bytes, 1, []) for n_bytes in (3, 50, 3)))
        return asyncio.get_running_loop().time()

    assert in_no_time(main) == pytest.approx(3)


def test_a_cancelled_waiter_leaves_the_line_and_the_next_one_moves_up(in_no_time: Callable[..., Any]) -> None:
    async def main() -> tuple[list[int], int]:
        budget, order = ByteBudget(10), []
        first = asyncio.create_task(_hold(budget, 6, 5, order))
        large = asyncio.create_task(_hold(budget, 9, 5, order))
        small = asyncio.create_task(_hold(budget, 4, 1, order))
        await _let_others_run()
        large.cancel()
        await _let_others_run()
        assert order == [6, 4]
        await asyncio.gather(first, small)
        return order, budget.held_bytes

    assert in_no_time(main) == ([6, 4], 0)


def test_bytes_granted_to_a_task_cancelled_in_the_same_instant_are_given_back(in_no_time: Callable[..., Any]) -> None:
    async def main() -> int:
        budget = ByteBudget(10)
        release = asyncio.Event()

        async def holder() -> None:
            async with budget.hold(10):
                await release.wait()

        first = asyncio.create_task(holder())
        second = asyncio.create_task(_hold(budget, 10, 0, []))
        await _let_others_run()
        release.set()
        await first  # its bytes are granted to the second, which has not run yet
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        return budget.held_bytes

    assert in_no_time(main) == 0


def test_an_error_inside_the_block_gives_the_bytes_back(in_no_time: Callable[..., Any]) -> None:
    async def main() -> int:
        budget = ByteBudget(10)
        with pytest.raises(KeyError):
            async with budget.hold(4):
                raise KeyError
        return budget.held_bytes

    assert in_no_time(main) == 0


@pytest.mark.parametrize("limit", [0, -1])
def test_a_budget_of_nothing_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        ByteBudget(limit)


async def test_a_negative_number_of_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="-5"):
        async with ByteBudget(10).hold(-5):
            pass
