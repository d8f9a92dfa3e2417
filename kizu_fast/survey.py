"""What the settings mean, without loading a model: under which names results would be filed, and which models are not there."""

from collections.abc import Mapping
from dataclasses import dataclass

from kizu_fast.domain import Operation
from kizu_fast.engine import TYPES, EngineConfig, registry_of
from kizu_fast.errors import ConfigError
from kizu_fast.registry import Chain, Registry

_SPACED = frozenset({Operation.EMBEDDING, Operation.FACES})  # their results are filed under a vector space


@dataclass(frozen=True, slots=True)
class Survey:
    """By operation. filed: the vector space or model's name that its results are filed under, as far as it is known.

    missing: why its models cannot be had, with the command that mends it; a name may be known all the same.
    """

    filed: Mapping[Operation, str]
    missing: Mapping[Operation, str]


def survey(config: EngineConfig) -> Survey:
    """Every operation of this version, whatever config.operations asks for. Reads manifests only; never raises for a model that is not there."""
    registry, filed, missing = registry_of(config), dict[Operation, str](), dict[Operation, str]()
    for operation in Operation:
        try:
            name = registry.default(TYPES[operation])
            if operation not in _SPACED:
                filed[operation] = name
            space = _space(registry, operation)
        except ConfigError as error:
            missing[operation] = str(error)
        else:
            filed[operation] = space if operation in _SPACED and space else name
    return Survey(filed, missing)


def _space(registry: Registry, operation: Operation) -> str | None:
    """Raises ConfigError when a model of the operation is not there."""
    model = registry.get(TYPES[operation])
    specs = [part.spec for part in model.parts] if isinstance(model, Chain) else [model.spec]
    return next((spec.space for spec in specs if spec.space is not None), None)
