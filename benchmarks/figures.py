"""What a run of the benchmarks says: figures with their samples, the machine they were taken on, and the JSON of both.

Ratios of interleaved rounds are what may be compared between runs; everything else is true of one machine on one day.
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from kizu_fast.errors import KizuError

SCHEMA = 1
RATIO = "ratio"  # the unit of figures that may be compared; more is better in all of them


class BenchmarkError(KizuError):
    """A benchmark could not be run, or a results file could not be read. One line."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured quantity. samples: one per round. foreign: share of all cores that other processes took, per round, 0..1."""

    suite: str
    name: str
    unit: str
    samples: tuple[float, ...]
    at_least: float | None = None
    at_most: float | None = None
    foreign: tuple[float, ...] = ()
    note: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.suite, self.name

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def is_ratio(self) -> bool:
        return self.unit == RATIO

    @property
    def holds(self) -> bool | None:
        """Whether the median keeps its bound; None without a bound."""
        if self.at_least is not None:
            return self.median >= self.at_least
        return None if self.at_most is None else self.median <= self.at_most


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that was not measured, and why."""

    suite: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Results:
    """One run. machine and settings are JSON values; commit is None outside a checkout."""

    date: str
    commit: str | None
    machine: Mapping[str, Any]
    settings: Mapping[str, Any]
    foreign_cpu: Mapping[str, float]  # by suite: share of all cores that other processes took, 0..1
    figures: tuple[Figure, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    schema: int = field(default=SCHEMA)


def ratios(upper: Sequence[float], lower: Sequence[float]) -> tuple[float, ...]:
    """Round by round, upper over lower: what disturbed a whole round cancels out. Raises ValueError for unequal lengths."""
    return tuple(a / b for a, b in zip(upper, lower, strict=True))


def dumps(results: Results) -> str:
    """JSON, keys in the order of the classes; every figure also with its median."""
    document = asdict(results)
    document["figures"] = [_figure_out(figure) for figure in results.figures]
    return json.dumps({"schema": document.pop("schema"), **document}, indent=1) + "\n"


def loads(text: str) -> Results:
    """Raises BenchmarkError that names the field at fault."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise BenchmarkError(f"is no JSON: {error}") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise BenchmarkError(f"is no results file of schema {SCHEMA}")
    try:
        return Results(
            date=document["date"],
            commit=document["commit"],
            machine=dict(document["machine"]),
            settings=dict(document["settings"]),
            foreign_cpu=dict(document["foreign_cpu"]),
            figures=tuple(_figure_in(figure) for figure in document["figures"]),
            skipped=tuple(Skipped(**skipped) for skipped in document["skipped"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BenchmarkError(f"a field is missing or wrong: {error}") from error


def _figure_out(figure: Figure) -> dict[str, Any]:
    document = asdict(figure)
    for name in ("samples", "foreign"):
        document[name] = [round(value, 6) for value in document[name]]
    return {**document, "median": round(figure.median, 6)}


def _figure_in(document: Mapping[str, Any]) -> Figure:
    known = {name: value for name, value in document.items() if name != "median"}
    samples = tuple(float(value) for value in known.pop("samples"))
    if not samples:
        raise ValueError(f"{known.get('name')} has no samples")
    return Figure(**known | {"samples": samples, "foreign": tuple(float(value) for value in known.get("foreign", ()))})
