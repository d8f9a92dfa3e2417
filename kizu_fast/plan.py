"""Operations to models: what has to run for a photo, in which order, and what this version cannot do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kizu_fast.domain import Operation
from kizu_fast.errors import PermanentError
from kizu_fast.specs import Family


@dataclass(frozen=True, slots=True)
class Step:
    """One operation and the family of model that carries it out on the whole photo."""

    operation: Operation
    family: Family


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in the order in which their rows are made. refused: one error per operation that this version does not carry out."""

    steps: tuple[Step, ...]
    refused: Mapping[str, PermanentError]


# Faces, OCR and captions take their place here; their models then see crops that an earlier step found.
_FAMILIES: Mapping[Operation, Family] = {Operation.EMBEDDING: Family.CLIP_IMAGE, Operation.OBJECTS: Family.YOLO}


def plan(operations: Sequence[str]) -> Plan:
    """Each operation once, in the order of _FAMILIES, however often and in whatever order it was asked for."""
    steps = tuple(Step(operation, family) for operation, family in _FAMILIES.items() if operation in operations)
    carried_out = {step.operation for step in steps}
    return Plan(steps, {str(word): _refusal(word) for word in operations if word not in carried_out})


def _refusal(word: str) -> PermanentError:
    built = ", ".join(_FAMILIES)
    if word in set(Operation):
        return PermanentError(f"{Operation(word)}: this version does not carry it out yet; it does {built}")
    return PermanentError(f"{word!r} is no operation; this version does {built}")
