"""Interleaved rounds: every side once per round, so that whatever slows the machine for a while slows all sides alike."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.machine import Meter

Side = Callable[[], Awaitable[float]]


@dataclass(slots=True)
class Rounds:
    """samples by side, one per round, in order; foreign: what others took of the machine in each round."""

    samples: dict[str, list[float]] = field(default_factory=dict)
    foreign: list[float] = field(default_factory=list)

    def of(self, side: str) -> tuple[float, ...]:
        return tuple(self.samples[side])


async def interleaved(sides: Mapping[str, Side], rounds: int, meter: Meter | None = None, *, warm_up: bool = True) -> Rounds:
    """Run the sides round by round; every other round backwards, so that no side always comes first. warm_up: one more round before, not counted."""
    if warm_up:
        for side in sides.values():
            await side()
    done = Rounds({name: [] for name in sides})
    for number in range(rounds):
        if meter is not None:
            meter.share()
        for name in list(sides) if number % 2 == 0 else reversed(list(sides)):
            done.samples[name].append(await sides[name]())
        if meter is not None:
            done.foreign.append(round(meter.share(), 4))
    return done
