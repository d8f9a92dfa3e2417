"""A model on a backend of the run time, called like a session: for comparing what a worker computes with what was exported."""

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from kizu_fast.backends import Backend
from kizu_fast.specs import ModelSpec

T = TypeVar("T")


class OnBackend:
    """Opens models of one backend, each a graph.Runs. The backend lives on a loop of its own, since callers may be in one."""

    def __init__(self, backend: Backend) -> None:
        self._backend, self._loop = backend, asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="backend", daemon=True).start()

    def open(self, spec: ModelSpec) -> "Model":
        """Raises ConfigError when the backend does not take it."""
        self._wait(self._backend.load(spec))
        return Model(self, spec)

    def infer(self, spec: ModelSpec, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """One batch."""
        return self._wait(self._backend.infer(spec, dict(inputs)))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


class Model:
    """One opened model."""

    def __init__(self, on: OnBackend, spec: ModelSpec) -> None:
        self._on, self._spec = on, spec

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """One batch in, its outputs by name. The bucket is that of the pixels."""
        height, width = inputs[self._spec.inputs[0].name].shape[1:3] if self._spec.buckets else (0, 0)
        return self._on.infer(self._spec.at((height, width)) if self._spec.buckets else self._spec, inputs)
