"""The command line of the benchmarks: what to run, where the numbers go, and the exit code."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from benchmarks import accelerators, compare, figures, machine, memory, models, pipeline, queues, rows, start, table, texts, triton
from benchmarks.bench import Bench
from benchmarks.figures import BenchmarkError, Results
from kizu_fast.errors import KizuError
from kizu_fast.settings import load_settings
from kizu_fast.worker.command import new_event_loop
from kizu_fast.worker.logs import set_up_logs

Suite = Callable[[Bench], Awaitable[None]]
SUITES: Mapping[str, Suite] = {
    "pipeline": pipeline.run,
    "models": models.run,
    "queue": queues.run,
    "store": rows.run,
    "start": start.run,
    "accelerators": accelerators.run,
    "triton": triton.run,
}
RESULTS = Path(__file__).parent / "results"
LAST = RESULTS / "last.json"  # of the newest full run here; not committed
_WRONG, _USAGE, _INTERRUPTED = 1, 2, 130

_EXAMPLES = """
examples:
  python -m benchmarks                                     all suites (5 to 6 minutes on 2 cores)
  python -m benchmarks pipeline                            end to end over the bare models
  python -m benchmarks pipeline --memory                   RSS of a worker at 500 and 2,000 photos
  python -m benchmarks accelerators                        other backends over --backend cpu, as far as they work here
  python -m benchmarks queue store --json mine.json        two suites, the numbers as JSON
  python -m benchmarks --compare benchmarks/results/2026-11-24-two-cores.json    exit 1 if a ratio got really worse
  python -m benchmarks --smoke                             everything once, small, under a minute: does it run?
  python -m benchmarks report [FILE]                       an earlier run as a table
  python -m benchmarks ocr --images DIR --photos DIR       accuracy and cost of both families of readers (about five minutes)

Only ratios of interleaved rounds are compared between runs: photos/s mean nothing on another machine.
exit codes: 0 done; 1 a regression, or it could not run; 2 wrong arguments; 130 interrupted
"""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for. before: the run to compare with."""

    suites: Sequence[str]
    json: Path | None = None  # "-" is standard output
    before: Results | None = None
    smoke: bool = False
    memory: bool = False
    rounds: int | None = None

    @property
    def to_stdout(self) -> bool:
        return self.json == Path("-")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code. Errors are one line."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["report"]:
            return _report(given[1:])
        if given[:1] == ["ocr"]:
            return texts.main(given[1:])
        return _measure(_parsed(given))
    except KizuError as error:
        sys.stderr.write(f"bench: {error}\n")
        return _WRONG
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.stderr.write("bench: interrupted; nothing is left running\n")
        return _INTERRUPTED
    except SystemExit as end:  # argparse has said why
        return end.code if isinstance(end.code, int) else _USAGE


def _parser() -> argparse.ArgumentParser:
    description = "Measure, as interleaved rounds; results as a table and as JSON."
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=description, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"{', '.join(SUITES)} (default: all), or: report")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help=f"write the results there, - for standard output (default: {LAST.relative_to(machine.ROOT)})"
    )
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="FILE",
        help=f"exit 1 if a ratio is more than {100 * compare.TOLERANCE:.0f} percent below that run and outside the spread of both",
    )
    parser.add_argument("--smoke", action="store_true", help="tiny work, only to see that everything runs; the numbers mean nothing")
    parser.add_argument("--memory", action="store_true", help="with pipeline alone: memory over 2,000 photos instead of speed")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds per figure (default: each suite chooses)")
    return parser


def _parsed(given: Sequence[str]) -> Request:
    parser = _parser()
    asked = parser.parse_args(given)
    unknown = [suite for suite in asked.suites if suite not in SUITES]
    if unknown:
        parser.error(f"unknown suite {unknown[0]!r}; known are {', '.join(SUITES)}")
    if asked.rounds is not None and asked.rounds < 1:
        parser.error("--rounds must be at least 1")
    if asked.memory and asked.suites != ["pipeline"]:
        parser.error("--memory goes with the suite pipeline alone")
    if asked.compare is not None and asked.smoke:
        parser.error("--compare needs a real run: the numbers of --smoke mean nothing")
    if asked.json is not None and not asked.json.absolute().parent.is_dir():
        parser.error(f"--json: {asked.json.absolute().parent} is no folder")
    if asked.compare is not None and not asked.compare.is_file():
        parser.error(f"--compare: {asked.compare} is no file")
    before = None if asked.compare is None else read(asked.compare)
    return Request(list(dict.fromkeys(asked.suites)) or list(SUITES), asked.json, before, asked.smoke, asked.memory, asked.rounds)


def read(path: Path) -> Results:
    """Raises BenchmarkError that names the file."""
    try:
        return figures.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, BenchmarkError) as error:
        raise BenchmarkError(f"{path}: {error}") from error


def _measure(request: Request) -> int:
    set_up_logs(debug=False)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))  # progress is ours to tell
    suites: dict[str, Suite] = {"pipeline": memory.run} if request.memory else {name: SUITES[name] for name in request.suites}
    with asyncio.Runner(loop_factory=new_event_loop()) as runner:
        results = runner.run(measured(request, suites))
    return conclude(request, results)


async def measured(request: Request, suites: Mapping[str, Suite]) -> Results:
    """Run the suites one after the other. SIGTERM cancels, so that the workspace is cleared. Raises KizuError."""
    task = asyncio.current_task()
    if task is not None:
        with suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    foreign: dict[str, float] = {}
    date = datetime.now(UTC).isoformat(timespec="seconds")
    async with Bench(load_settings(), request.smoke, request.rounds).opened() as bench:
        for name, suite in suites.items():
            meter = bench.meter()
            await suite(bench)
            foreign[name] = round(meter.share(), 4)
        settings = {"suites": list(suites), "rounds": request.rounds, "smoke": request.smoke, "memory": request.memory}
        return Results(date, machine.commit(), machine.facts(), settings, foreign, tuple(bench.figures), tuple(bench.skipped))


def conclude(request: Request, results: Results) -> int:
    """Write and show the results, compare them. The exit code."""
    text = figures.dumps(results)
    shown = sys.stderr if request.to_stdout else sys.stdout
    if request.to_stdout:
        sys.stdout.write(text)
    elif request.json is not None or not (request.smoke or request.memory):
        _write(request.json or LAST, text)
    shown.write("\n".join(table.lines(results)) + "\n")
    if request.before is None:
        return 0
    shown.write("\n" + "\n".join(compare.verdict(request.before, results)) + "\n")
    return _WRONG if compare.regressions(request.before, results) else 0


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BenchmarkError(f"{path}: {error.strerror}") from error


def _report(given: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks report", description="An earlier run as a table.")
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help="results (default: the last run here, else the newest that is committed)")
    path = parser.parse_args(given).file or newest(RESULTS)
    if path is None:
        raise BenchmarkError(f"{RESULTS} holds no results; run: python -m benchmarks")
    sys.stdout.write("\n".join(table.lines(read(path))) + "\n")
    return 0


def newest(folder: Path) -> Path | None:
    """last.json if it is there, else the last by name: names begin with the date."""
    last = folder / LAST.name
    return last if last.is_file() else max(folder.glob("*.json"), default=None)
