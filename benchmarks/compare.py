"""Whether a run is worse than an earlier one. Only ratios of interleaved rounds decide: they mean the same on every machine."""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.figures import Figure, Results

TOLERANCE = 0.10  # a median ratio may be this much lower before it counts: more than the scatter of a quiet shared machine


@dataclass(frozen=True, slots=True)
class Comparison:
    """One ratio in both runs. change: new median over old median, minus 1."""

    old: Figure
    new: Figure

    @property
    def change(self) -> float:
        return self.new.median / self.old.median - 1

    @property
    def regressed(self) -> bool:
        """Lower by more than the tolerance, and outside the spread of both runs: no old round was so low, no new one as high as the old median."""
        return (
            self.new.median < self.old.median * (1 - TOLERANCE)
            and self.new.median < min(self.old.samples)
            and max(self.new.samples) < self.old.median
        )


def comparisons(old: Results, new: Results) -> list[Comparison]:
    """Ratios that both runs have, in the order of the new run."""
    before = {figure.key: figure for figure in old.figures if figure.is_ratio}
    return [Comparison(before[figure.key], figure) for figure in new.figures if figure.is_ratio and figure.key in before]


def verdict(old: Results, new: Results) -> Iterator[str]:
    """Lines for a person: each ratio before and after, then what is missing."""
    found = comparisons(old, new)
    for one in found:
        word = "REGRESSED" if one.regressed else "ok"
        yield f"{one.new.suite}: {one.new.name}: {one.old.median:.3f} -> {one.new.median:.3f} ({one.change:+.1%}) {word}"
    measured = {figure.suite for figure in new.figures}
    both = {one.new.key for one in found}
    for figure in old.figures:
        if figure.is_ratio and figure.suite in measured and figure.key not in both:
            yield f"{figure.suite}: {figure.name}: not measured this time"
    if not found:
        yield "nothing to compare: the runs have no ratio in common"


def regressions(old: Results, new: Results) -> list[Comparison]:
    """The ratios that are really worse."""
    return [one for one in comparisons(old, new) if one.regressed]
