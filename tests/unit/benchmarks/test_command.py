"""The command line of the benchmarks: arguments, exit codes, where the numbers go."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import command
from benchmarks.bench import Bench
from benchmarks.command import SUITES, Request, conclude, main, measured, newest, read
from benchmarks.figures import RATIO, BenchmarkError, Figure, Results, dumps, loads

GOOD = Results("2026-11-24T00:00:00+00:00", None, {"cores": 2}, {"smoke": False}, {}, (Figure("queue", "many over few", RATIO, (0.99, 1.0, 1.01)),))
BAD = replace(GOOD, figures=(Figure("queue", "many over few", RATIO, (0.49, 0.5, 0.51)),))


def saved(path: Path, results: Results) -> Path:
    path.write_text(dumps(results))
    return path


def test_help_shows_examples_suites_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "examples:" in shown
    assert "python -m benchmarks pipeline --memory" in shown
    assert "exit codes: 0 done; 1 a regression" in shown
    assert all(suite in shown for suite in SUITES)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["pipelines"], "unknown suite 'pipelines'; known are pipeline, models, queue, store"),
        (["--rounds", "0"], "--rounds must be at least 1"),
        (["--rounds", "many"], "invalid int value"),
        (["--memory"], "--memory goes with the suite pipeline alone"),
        (["queue", "--memory"], "--memory goes with the suite pipeline alone"),
        (["--smoke", "--compare", "x.json"], "--compare needs a real run"),
        (["--json", "/nowhere/at/all/x.json"], "is no folder"),
        (["--compare", "/nowhere/x.json"], "is no file"),
        (["--frobnicate"], "unrecognized arguments"),
    ],
)
def test_wrong_arguments_are_named_before_anything_runs(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert named in capsys.readouterr().err


def test_a_file_to_compare_with_is_read_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "old.json"
    path.write_text("{")
    assert main(["--compare", str(path)]) == 1
    assert capsys.readouterr().err.startswith(f"bench: {path}: is no JSON")


def test_report_shows_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(saved(tmp_path / "run.json", GOOD))]) == 0
    assert "many over few  1.000 ratio" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, b"{", b"\xff\xfe"])
def test_report_on_a_file_that_cannot_be_read_is_one_line_and_exit_1(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results.json"
    if content is not None:
        path.write_bytes(content)
    assert main(["report", str(path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"bench: {path}: ")
    assert said.count("\n") == 1


def test_report_takes_one_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "a.json", "b.json"]) == 2
    assert "unrecognized arguments" in capsys.readouterr().err


def test_the_newest_results_are_the_last_run_else_the_latest_date(tmp_path: Path) -> None:
    assert newest(tmp_path) is None
    saved(tmp_path / "2026-11-01-two-cores.json", GOOD)
    later = saved(tmp_path / "2026-11-24-two-cores.json", GOOD)
    assert newest(tmp_path) == later
    last = saved(tmp_path / "last.json", GOOD)
    assert newest(tmp_path) == last


def test_committed_results_are_whole_and_name_no_place() -> None:
    for path in command.RESULTS.glob("[0-9]*.json"):
        results = read(path)
        assert results.figures, path.name
        assert not results.settings["smoke"], path.name
        assert "/home" not in path.read_text(), path.name


def test_results_are_written_where_they_were_asked_for_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.json"
    assert conclude(Request(["queue"], path), GOOD) == 0
    assert loads(path.read_text()) == GOOD
    assert "many over few" in capsys.readouterr().out


def test_a_dash_puts_exactly_one_document_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert conclude(Request(["queue"], Path("-")), GOOD) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["figures"][0]["median"] == 1.0
    assert "many over few" in shown.err


@pytest.mark.parametrize("request_", [Request(["queue"], smoke=True), Request(["pipeline"], memory=True)])
def test_a_smoke_run_and_a_memory_run_leave_the_last_results_alone(request_: Request) -> None:
    before = command.LAST.read_bytes() if command.LAST.exists() else None
    assert conclude(request_, GOOD) == 0
    assert (command.LAST.read_bytes() if command.LAST.exists() else None) == before


def test_a_regression_is_exit_1_and_the_results_are_written_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.json"
    assert conclude(Request(["queue"], path, before=GOOD), BAD) == 1
    assert loads(path.read_text()) == BAD
    assert "REGRESSED" in capsys.readouterr().out


def test_no_regression_is_exit_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert conclude(Request(["queue"], tmp_path / "mine.json", before=BAD), GOOD) == 0
    assert "ok" in capsys.readouterr().out


def test_a_bound_that_does_not_hold_is_shown_but_is_no_regression(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = replace(GOOD, figures=(Figure("queue", "claim + complete", "jobs/s", (10.0,), at_least=3000.0),))
    assert conclude(Request(["queue"], tmp_path / "mine.json"), short) == 0
    assert "DOES NOT HOLD" in capsys.readouterr().out


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=str(tmp_path)):
        conclude(Request(["queue"], tmp_path), GOOD)


async def test_a_run_carries_what_its_suites_recorded() -> None:
    async def first(bench: Bench) -> None:
        bench.record(Figure("first", "one", "ms", (1.0,)))

    async def second(bench: Bench) -> None:
        bench.skip("second", "all", "no models")

    results = await measured(Request(["first", "second"], rounds=4), {"first": first, "second": second})
    assert [figure.name for figure in results.figures] == ["one"]
    assert [skipped.reason for skipped in results.skipped] == ["no models"]
    assert set(results.foreign_cpu) == {"first", "second"}
    assert results.settings == {"suites": ["first", "second"], "rounds": 4, "smoke": False, "memory": False}
    assert loads(dumps(results)) == results


@pytest.mark.parametrize(("rounds", "smoke", "used"), [(None, False, 5), (None, True, 1), (3, False, 3), (3, True, 3)])
async def test_each_suite_chooses_its_rounds_unless_told(rounds: int | None, smoke: bool, used: int) -> None:
    seen: list[int] = []

    async def suite(bench: Bench) -> None:
        seen.append(bench.times(5))

    await measured(Request(["one"], smoke=smoke, rounds=rounds), {"one": suite})
    assert seen == [used]


async def test_an_error_of_a_suite_reaches_the_command_line() -> None:
    async def suite(_bench: Bench) -> None:
        raise BenchmarkError("7 of 8 photos completed")

    with pytest.raises(BenchmarkError, match="7 of 8"):
        await measured(Request(["one"]), {"one": suite})
