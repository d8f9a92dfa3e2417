"""Results as a table for a person."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.figures import Figure, Results

LOUD = 0.06  # share of the machine taken by others above which a wall-clock figure is flagged


def lines(results: Results) -> Iterator[str]:
    """Machine, then each suite with its figures, then what was skipped."""
    yield from _heading(results)
    for suite in dict.fromkeys([figure.suite for figure in results.figures]):
        foreign = results.foreign_cpu.get(suite)
        yield ""
        yield suite if foreign is None else f"{suite} (other processes took {foreign:.0%} of the machine)"
        rows = [_row(figure) for figure in results.figures if figure.suite == suite]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        yield from ("  " + _aligned(row, widths) for row in rows)
    if results.skipped:
        yield ""
        yield "not measured"
        yield from (f"  {skipped.suite}: {skipped.name}: {skipped.reason}" for skipped in results.skipped)


def _heading(results: Results) -> Iterator[str]:
    machine: Mapping[str, Any] = results.machine
    commit = "no commit" if results.commit is None else results.commit[:12] + ("+" if results.commit.endswith("+") else "")
    kind = "smoke run: these numbers mean nothing" if results.settings.get("smoke") else f"{results.settings.get('rounds') or 'default'} rounds"
    yield f"{results.date}  {commit}  {kind}"
    yield f"{machine.get('cpu')}, {machine.get('cores')} cores, {machine.get('memory_gb')} GB, {machine.get('platform')}, Python {machine.get('python')}"


def _row(figure: Figure) -> tuple[str, str, str, str, str]:
    spread = f"{_number(min(figure.samples))} .. {_number(max(figure.samples))}" if len(figure.samples) > 1 else ""
    return figure.name, _number(figure.median), figure.unit, spread, "; ".join(_remarks(figure))


def _remarks(figure: Figure) -> Iterator[str]:
    if figure.holds is not None:
        bound = f">= {_number(figure.at_least)}" if figure.at_least is not None else f"<= {_number(figure.at_most or 0)}"
        yield f"{bound} {'holds' if figure.holds else 'DOES NOT HOLD'}"
    if figure.foreign and max(figure.foreign) > LOUD:
        yield f"disturbed: others took up to {max(figure.foreign):.0%}"
    if figure.note:
        yield figure.note


def _number(value: float) -> str:
    if abs(value) >= 1000:  # noqa: PLR2004
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 100 else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"  # noqa: PLR2004


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    name, median, unit, spread, remarks = row
    cells = f"{name:<{widths[0]}}  {median:>{widths[1]}} {unit:<{widths[2]}}  {spread:<{widths[3]}}  {remarks}"
    return cells.rstrip()
