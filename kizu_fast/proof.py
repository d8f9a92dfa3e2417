"""Open a model as a worker does, prove it by an inference, and free it again: what really runs, what it costs, and that its memory comes back."""

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import psutil

from kizu_fast.backends import Running
from kizu_fast.backends.memory import give_back_freed_memory
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.engine import Engine, EngineConfig, open_engine
from kizu_fast.registry import Registry
from kizu_fast.specs import ModelSpec

_GRAPH = "graph"  # a type of its own: these stand beside the models of the settings, and load nothing else


@dataclass(frozen=True, slots=True)
class Proof:
    """One model, loaded and freed. Memory is this process' resident set in 10^6 bytes: before, with the model, and without it again."""

    name: str
    running: Running
    seconds: float  # until the first inference had its answer
    before_mb: float
    loaded_mb: float
    freed_mb: float

    @property
    def takes_mb(self) -> float:
        """What the model takes while it is loaded."""
        return self.loaded_mb - self.before_mb

    @property
    def returns_mb(self) -> float:
        """What came back when it was unloaded."""
        return self.loaded_mb - self.freed_mb


@dataclass(frozen=True, slots=True)
class _Graph:
    """All that loading asks of a model."""

    spec: ModelSpec


async def prove(config: EngineConfig, names: Sequence[str]) -> list[Proof]:
    """Each model of the repository by itself, in the order given. Raises ConfigError for the first that is missing, broken, or does not run."""
    repository, registry = ModelRepository(config.model_repository), Registry()
    for name in names:
        registry.register(_GRAPH, name, partial(_graph, repository, name))
    async with open_engine(replace(config, operations=()), registry=registry) as engine:
        return [await _prove(engine, name) for name in names]


def _graph(repository: ModelRepository, name: str) -> _Graph:
    return _Graph(repository.spec(name))


async def _prove(engine: Engine, name: str) -> Proof:
    before, started = _resident_mb(), time.perf_counter()
    await engine.load(_GRAPH, name)
    seconds, loaded = time.perf_counter() - started, _resident_mb()
    running = engine.running()[name]
    await engine.unload(_GRAPH, name)
    return Proof(name, running, seconds, before, loaded, _resident_mb())


def _resident_mb() -> float:
    gc.collect()
    give_back_freed_memory()
    return float(psutil.Process().memory_info().rss) / 1e6
