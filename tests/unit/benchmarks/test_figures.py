"""Figures: what is taken from the rounds, and the JSON that carries it from one run to the next."""

import json
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.figures import RATIO, SCHEMA, BenchmarkError, Figure, Results, Skipped, dumps, loads, ratios

RESULTS = Results(
    date="2026-11-24T00:00:00+00:00",
    commit="0123456789abcdef",
    machine={"cpu": "a processor", "cores": 2, "memory_gb": 24, "platform": "Linux x86_64", "python": "3.11.7", "packages": {"numpy": "2.4.6"}},
    settings={"suites": ["queue"], "rounds": None, "smoke": False},
    foreign_cpu={"queue": 0.0125},
    figures=(
        Figure("queue", "many over few", RATIO, (0.9, 1.1, 1.0), at_least=0.8, foreign=(0.0, 0.5, 0.01), note="a note"),
        Figure("queue", "claim + complete", "jobs/s", (4000.0, 5000.0)),
    ),
    skipped=(Skipped("models", "all", "no models"),),
)


def document(**changes: Any) -> str:
    return json.dumps({**json.loads(dumps(RESULTS)), **changes})


def figure(**changes: Any) -> dict[str, Any]:
    return {"suite": "queue", "name": "one", "unit": "ms", "samples": [1.0], **changes}


def test_the_median_round_stands_for_all() -> None:
    assert Figure("queue", "one", "ms", (9.0, 1.0, 2.0)).median == 2.0
    assert Figure("queue", "one", "ms", (1.0, 2.0)).median == 1.5


def test_a_ratio_is_taken_round_by_round_so_that_a_slow_round_cancels_out() -> None:
    whole, bare = (9.0, 0.9, 9.0), (10.0, 1.0, 10.0)  # something took nine tenths of the machine in the second round
    assert ratios(whole, bare) == pytest.approx((0.9, 0.9, 0.9))


def test_sides_of_unequal_length_are_no_rounds() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratios((1.0, 2.0), (1.0,))


@pytest.mark.parametrize(
    ("bounds", "holds"),
    [({}, None), ({"at_least": 2.0}, True), ({"at_least": 2.1}, False), ({"at_most": 2.0}, True), ({"at_most": 1.9}, False)],
)
def test_a_bound_is_held_by_the_median(bounds: dict[str, float], holds: bool | None) -> None:
    assert Figure("queue", "one", "ms", (1.0, 2.0, 30.0), **bounds).holds is holds


def test_only_ratios_may_be_compared_between_machines() -> None:
    assert [one.is_ratio for one in RESULTS.figures] == [True, False]


def test_what_is_written_is_read_back() -> None:
    assert loads(dumps(RESULTS)) == RESULTS


def test_the_document_has_the_keys_that_readers_rely_on() -> None:
    written = json.loads(dumps(RESULTS))
    assert list(written) == ["schema", "date", "commit", "machine", "settings", "foreign_cpu", "figures", "skipped"]
    assert written["schema"] == SCHEMA
    assert set(written["figures"][0]) == {"suite", "name", "unit", "samples", "at_least", "at_most", "foreign", "note", "median"}
    assert written["figures"][0]["median"] == 1.0
    assert written["skipped"] == [{"suite": "models", "name": "all", "reason": "no models"}]


def test_samples_are_rounded_to_what_a_clock_can_tell() -> None:
    rounded = json.loads(dumps(replace(RESULTS, figures=(Figure("queue", "one", "ms", (1 / 3,)),))))
    assert rounded["figures"][0]["samples"] == [0.333333]


def test_a_run_outside_a_checkout_has_no_commit() -> None:
    assert loads(dumps(replace(RESULTS, commit=None))).commit is None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "no JSON"),
        ("[]", "schema"),
        ("{}", "schema"),
        (document(schema=SCHEMA + 1), "schema"),
        (json.dumps({"schema": SCHEMA}), "date"),
        (document(machine=1), "int"),
        (document(figures=[figure(samples=[])]), "no samples"),
        (document(figures=[figure(samples=["fast"])]), "fast"),
        (document(figures=[figure(colour="blue")]), "colour"),
        (document(figures=[{"suite": "queue"}]), "samples"),
        (document(skipped=[{"suite": "queue"}]), "reason"),
    ],
)
def test_a_file_that_is_no_results_says_what_is_wrong_with_it(text: str, named: str) -> None:
    with pytest.raises(BenchmarkError, match=named):
        loads(text)
