"""What was asked for to what is done: each operation once, in a fixed order, and a reason for what this version cannot do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kizu_fast.domain import Operation
from kizu_fast.errors import PermanentError


@dataclass(frozen=True, slots=True)
class Plan:
    """Operations in the order of the enumeration. refused: one error per word that is no operation."""

    operations: tuple[Operation, ...]
    refused: Mapping[str, PermanentError]


def plan(operations: Sequence[str]) -> Plan:
    """Each operation once, however often and in whatever order it was asked for."""
    wanted = tuple(operation for operation in Operation if operation in operations)
    return Plan(wanted, {str(word): _refusal(word) for word in operations if word not in wanted})


def _refusal(word: str) -> PermanentError:
    return PermanentError(f"{word!r} is no operation; this version does {', '.join(Operation)}")
