"""A regression is a ratio that is really worse: by more than the tolerance, and outside the spread of both runs."""

from dataclasses import replace

import pytest

from benchmarks.compare import TOLERANCE, comparisons, regressions, verdict
from benchmarks.figures import RATIO, Figure, Results

EMPTY = Results("2026-11-24T00:00:00+00:00", None, {}, {}, {})


def run(*samples: float, unit: str = RATIO, name: str = "end to end over bare models", suite: str = "pipeline") -> Results:
    return replace(EMPTY, figures=(Figure(suite, name, unit, samples),))


def test_the_same_run_twice_is_no_regression() -> None:
    assert regressions(run(0.95, 0.96, 0.97), run(0.95, 0.96, 0.97)) == []


def test_a_clear_drop_is_one() -> None:
    [found] = regressions(run(0.95, 0.96, 0.97), run(0.79, 0.80, 0.81))
    assert found.change == pytest.approx(0.80 / 0.96 - 1)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((0.95, 0.96, 0.97), (0.88, 0.89, 0.90)),  # less than the tolerance
        ((0.70, 0.96, 0.97), (0.79, 0.80, 0.81)),  # an old round was lower still
        ((0.95, 0.96, 0.97), (0.79, 0.80, 0.96)),  # a new round was as good as the old median
        ((0.95, 0.96, 0.97), (1.20, 1.21, 1.22)),  # better
    ],
)
def test_what_may_be_scatter_is_none(old: tuple[float, ...], new: tuple[float, ...]) -> None:
    assert regressions(run(*old), run(*new)) == []


def test_the_tolerance_itself_is_still_tolerated() -> None:
    assert regressions(run(1.0, 1.0, 1.0), run(1 - TOLERANCE, 1 - TOLERANCE)) == []
    assert len(regressions(run(1.0, 1.0, 1.0), run(0.999 - TOLERANCE, 0.999 - TOLERANCE))) == 1


def test_single_samples_are_judged_by_the_tolerance_alone() -> None:
    assert len(regressions(run(1.0), run(0.85))) == 1


@pytest.mark.parametrize("unit", ["photos/s", "jobs/s", "ms", "MB"])
def test_bare_rates_are_never_compared(unit: str) -> None:
    assert comparisons(run(100.0, 101.0, unit=unit), run(1.0, 1.0, unit=unit)) == []


def test_a_figure_is_known_by_suite_and_name() -> None:
    assert comparisons(run(1.0, name="one"), run(0.1, name="another")) == []
    assert comparisons(run(1.0, suite="queue"), run(0.1, suite="store")) == []


def test_the_verdict_shows_both_medians_and_marks_the_regression() -> None:
    [line] = verdict(run(0.95, 0.96, 0.97), run(0.79, 0.80, 0.81))
    assert line == "pipeline: end to end over bare models: 0.960 -> 0.800 (-16.7%) REGRESSED"


def test_the_verdict_says_ok_of_what_held() -> None:
    [line] = verdict(run(0.9), run(0.99))
    assert line.endswith("0.900 -> 0.990 (+10.0%) ok")


def test_a_ratio_that_is_missing_now_is_said() -> None:
    now = replace(EMPTY, figures=(Figure("pipeline", "another", RATIO, (1.0,)),))
    assert "pipeline: end to end over bare models: not measured this time" in list(verdict(run(0.9), now))


def test_a_suite_that_was_not_asked_for_is_not_missed() -> None:
    before = replace(EMPTY, figures=(*run(0.9).figures, *run(0.8, suite="queue", name="many over few").figures))
    assert list(verdict(before, run(0.9))) == ["pipeline: end to end over bare models: 0.900 -> 0.900 (+0.0%) ok"]


def test_runs_without_a_common_ratio_say_so() -> None:
    assert list(verdict(run(1.0, unit="ms"), run(2.0, unit="ms"))) == ["nothing to compare: the runs have no ratio in common"]
