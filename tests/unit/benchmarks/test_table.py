"""The table: what a person reads of a run."""

from dataclasses import replace

from benchmarks.figures import RATIO, Figure, Results, Skipped
from benchmarks.table import LOUD, lines

MACHINE = {"cpu": "a processor", "cores": 2, "memory_gb": 24, "platform": "Linux x86_64", "python": "3.11.7"}
RESULTS = Results("2026-11-24T00:00:00+00:00", "0123456789abcdef", MACHINE, {"rounds": None, "smoke": False}, {"queue": 0.01})


def text(*figures: Figure, **changes: object) -> str:
    return "\n".join(lines(replace(RESULTS, figures=figures, **changes)))  # type: ignore[arg-type]


def test_it_begins_with_when_what_and_where() -> None:
    first, second = list(lines(RESULTS))[:2]
    assert first == "2026-11-24T00:00:00+00:00  0123456789ab  default rounds"
    assert second == "a processor, 2 cores, 24 GB, Linux x86_64, Python 3.11.7"


def test_changed_files_show_behind_the_shortened_commit() -> None:
    assert "0123456789ab+  " in text(commit="0123456789abcdef+")


def test_a_run_outside_a_checkout_is_said() -> None:
    assert "no commit" in text(commit=None)


def test_a_smoke_run_is_called_meaningless() -> None:
    assert "mean nothing" in text(settings={"smoke": True})


def test_the_number_of_rounds_is_shown_when_it_was_chosen() -> None:
    assert "7 rounds" in text(settings={"rounds": 7})


def test_a_figure_shows_median_unit_and_spread() -> None:
    shown = text(Figure("queue", "many over few", RATIO, (0.9, 1.1, 1.0)))
    assert "many over few" in shown
    assert "1.000 ratio" in shown
    assert "0.900 .. 1.100" in shown


def test_one_sample_has_no_spread() -> None:
    assert ".." not in text(Figure("queue", "one", "ms", (3.0,)))


def test_numbers_have_the_digits_that_matter() -> None:
    shown = text(*(Figure("queue", f"n{i}", "x", (value,)) for i, value in enumerate((12345.6, 123.4, 12.34, 1.2345))))
    assert [word for word in shown.split() if word in {"12,346", "123", "12.3", "1.234", "1.235"}][:3] == ["12,346", "123", "12.3"]


def test_a_bound_is_shown_with_its_outcome() -> None:
    assert ">= 0.800 holds" in text(Figure("queue", "one", RATIO, (0.9,), at_least=0.8))
    assert ">= 0.800 DOES NOT HOLD" in text(Figure("queue", "one", RATIO, (0.7,), at_least=0.8))
    assert "<= 1,200 holds" in text(Figure("pipeline", "memory", "MB", (900.0,), at_most=1200.0))


def test_a_disturbed_round_is_flagged_and_a_quiet_one_is_not() -> None:
    assert "disturbed: others took up to 30%" in text(Figure("queue", "one", "ms", (1.0, 1.0), foreign=(0.0, 0.3)))
    assert "disturbed" not in text(Figure("queue", "one", "ms", (1.0, 1.0), foreign=(0.0, LOUD)))


def test_a_note_stands_at_the_end() -> None:
    assert text(Figure("queue", "one", "ms", (1.0,), note="random weights")).endswith("random weights")


def test_columns_of_a_suite_are_aligned() -> None:
    shown = text(Figure("queue", "short", "ms", (1.0,)), Figure("queue", "a longer name", "ms", (22.0,))).splitlines()[-2:]
    assert shown[0].index(" ms") == shown[1].index(" ms")


def test_each_suite_says_how_much_others_took() -> None:
    assert "queue (other processes took 1% of the machine)" in text(Figure("queue", "one", "ms", (1.0,)))
    assert "\nstore\n" in text(Figure("store", "one", "ms", (1.0,)))


def test_what_was_not_measured_is_listed_with_its_reason() -> None:
    assert text(skipped=(Skipped("models", "all", "run: make export"),)).endswith("not measured\n  models: all: run: make export")
