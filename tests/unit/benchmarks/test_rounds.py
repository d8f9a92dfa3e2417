"""Interleaved rounds: every side once per round, in turns."""

from collections.abc import Callable
from itertools import count

from benchmarks.machine import Meter
from benchmarks.rounds import Side, interleaved


def recorder(calls: list[str]) -> Callable[[str], Side]:
    numbers = count()

    def side(name: str) -> Side:
        async def run() -> float:
            calls.append(name)
            return float(next(numbers))

        return run

    return side


async def test_every_side_runs_once_per_round_and_no_side_is_always_first() -> None:
    calls: list[str] = []
    side = recorder(calls)
    await interleaved({"a": side("a"), "b": side("b")}, 3, warm_up=False)
    assert calls == ["a", "b", "b", "a", "a", "b"]


async def test_samples_stand_in_the_order_of_the_rounds() -> None:
    side = recorder([])
    done = await interleaved({"a": side("a"), "b": side("b")}, 3, warm_up=False)
    assert done.of("a") == (0.0, 3.0, 4.0)
    assert done.of("b") == (1.0, 2.0, 5.0)


async def test_the_warm_up_round_is_not_counted() -> None:
    calls: list[str] = []
    side = recorder(calls)
    done = await interleaved({"a": side("a"), "b": side("b")}, 1)
    assert calls == ["a", "b", "a", "b"]
    assert done.of("a") == (2.0,)


async def test_what_others_took_is_read_once_per_round() -> None:
    readings = iter([(0.0, 0.0), (5.0, 10.0), (5.0, 20.0), (25.0, 40.0), (26.0, 50.0)])  # made; then before and after each of two rounds
    meter = Meter(lambda: 0.0, busy_cpu_s=lambda: next(readings))
    done = await interleaved({"a": recorder([])("a")}, 2, meter, warm_up=False)
    assert done.foreign == [0.0, 0.1]


async def test_without_a_meter_nothing_is_read() -> None:
    assert (await interleaved({"a": recorder([])("a")}, 2)).foreign == []
