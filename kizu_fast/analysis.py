"""A photo and a plan to results. Operations fail singly: one that fails leaves the others' results whole."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from kizu_fast.domain import Caption, Detections, Embedding, Faces, Operation, Photo, Result, Texts
from kizu_fast.errors import KizuError, PermanentError
from kizu_fast.plan import Plan

R = TypeVar("R", Embedding, Detections, Faces, Texts, Caption)


@dataclass(frozen=True, slots=True)
class Analysis:
    """What was found in one photo. failures holds PermanentErrors only, by operation as it was asked for."""

    embedding: Embedding | None = None
    objects: Detections | None = None
    faces: Faces | None = None
    texts: Texts | None = None
    caption: Caption | None = None
    models: Mapping[Operation, str] = field(default_factory=dict)  # what ran, per operation that succeeded
    failures: Mapping[str, KizuError] = field(default_factory=dict)


class Runner(Protocol):
    """What analysis asks of the engine: one photo through the model of one operation, batched with other photos on the way."""

    async def see(self, operation: Operation, photo: Photo) -> tuple[str, Result]:
        """(name of the model that ran, its result). Raises PermanentError, TransientError or ConfigError."""
        ...


@dataclass(frozen=True, slots=True)
class _Outcome:
    operation: Operation
    model: str
    value: Result | PermanentError


async def analyse(photo: Photo, work: Plan, runner: Runner) -> Analysis:
    """Every operation of the plan at the same time.

    Raises TransientError (Outage) and ConfigError: the photo is not at fault, and it is tried again as a whole.
    """
    outcomes = await asyncio.gather(*(_attempt(operation, photo, runner) for operation in work.operations))
    found = [outcome for outcome in outcomes if not isinstance(outcome.value, PermanentError)]
    failures: dict[str, KizuError] = dict(work.refused)
    failures.update({outcome.operation: outcome.value for outcome in outcomes if isinstance(outcome.value, PermanentError)})
    results = [outcome.value for outcome in found]
    return Analysis(
        embedding=_the(Embedding, results),
        objects=_the(Detections, results),
        faces=_the(Faces, results),
        texts=_the(Texts, results),
        caption=_the(Caption, results),
        models={outcome.operation: outcome.model for outcome in found},
        failures=failures,
    )


def _the(kind: type[R], results: list[Result | PermanentError]) -> R | None:
    return next((result for result in results if isinstance(result, kind)), None)


async def _attempt(operation: Operation, photo: Photo, runner: Runner) -> _Outcome:
    try:
        model, value = await runner.see(operation, photo)
    except PermanentError as error:
        return _Outcome(operation, "", error)
    return _Outcome(operation, model, value)
