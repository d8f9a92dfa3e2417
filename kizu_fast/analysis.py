"""A photo and a plan to results. Operations fail singly: one that fails leaves the others' results whole."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from kizu_fast.domain import Detections, Embedding, Operation, Photo
from kizu_fast.errors import KizuError, PermanentError
from kizu_fast.plan import Plan, Step
from kizu_fast.specs import Family

Result = Embedding | Detections


@dataclass(frozen=True, slots=True)
class Analysis:
    """What was found in one photo. failures holds PermanentErrors only, by operation as it was asked for."""

    embedding: Embedding | None = None
    objects: Detections | None = None
    models: Mapping[Operation, str] = field(default_factory=dict)  # what ran, per operation that succeeded
    failures: Mapping[str, KizuError] = field(default_factory=dict)


class Runner(Protocol):
    """What analysis asks of the engine: one photo through one model, batched with other photos on the way."""

    async def see(self, family: Family, photo: Photo) -> tuple[str, Result]:
        """(name of the model that ran, its result). Raises PermanentError, TransientError or ConfigError."""
        ...


@dataclass(frozen=True, slots=True)
class _Outcome:
    operation: Operation
    model: str
    value: Result | PermanentError


async def analyse(photo: Photo, work: Plan, runner: Runner) -> Analysis:
    """Every step of the plan at the same time.

    Raises TransientError (Outage) and ConfigError: the photo is not at fault, and it is tried again as a whole.
    """
    outcomes = await asyncio.gather(*(_attempt(step, photo, runner) for step in work.steps))
    found = [outcome for outcome in outcomes if not isinstance(outcome.value, PermanentError)]
    failures: dict[str, KizuError] = dict(work.refused)
    failures.update({outcome.operation: outcome.value for outcome in outcomes if isinstance(outcome.value, PermanentError)})
    return Analysis(
        embedding=next((outcome.value for outcome in found if isinstance(outcome.value, Embedding)), None),
        objects=next((outcome.value for outcome in found if isinstance(outcome.value, Detections)), None),
        models={outcome.operation: outcome.model for outcome in found},
        failures=failures,
    )


async def _attempt(step: Step, photo: Photo, runner: Runner) -> _Outcome:
    try:
        model, value = await runner.see(step.family, photo)
    except PermanentError as error:
        return _Outcome(step.operation, "", error)
    return _Outcome(step.operation, model, value)
