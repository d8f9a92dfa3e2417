"""Backend: who runs batches. One Protocol, no base class; each module beside this one is an implementation."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kizu_fast.specs import ModelSpec, Tensors


@dataclass(frozen=True, slots=True)
class Running:
    """What really runs a model, proved by an inference."""

    provider: str  # e.g. CPUExecutionProvider
    device: str  # e.g. cpu
    precision: str  # e.g. fp32
    threads: int  # per inference
    note: str | None = None  # what does not run there, and why


@dataclass(frozen=True, slots=True)
class Profile:
    """How a backend likes its work: the same batcher serves a CPU and a GPU with other numbers."""

    lanes: int  # inferences at once, over all models
    per_model: bool = False  # lanes counts batches of one model: a server divides its device between the models itself
    full_batches: bool = False  # batches grow to the spec's max_batch, as a GPU likes them, not only to its cpu_batch
    in_lanes: bool = True  # inferences compute on the CPU: they take turns with decode and preprocessing in the same lanes

    def largest_batch(self, spec: ModelSpec) -> int:
        """Rows of the largest batch that is worth making of a model."""
        return spec.max_batch if self.full_batches else min(spec.cpu_batch, spec.max_batch)


class Backend(Protocol):
    """Runs batches of the models that were loaded. infer() may be called from many tasks at once."""

    profile: Profile

    async def load(self, spec: ModelSpec) -> None:
        """Make spec ready. Raises ConfigError when its files are missing or do not fit the spec, Outage when the service is gone."""
        ...

    async def infer(self, spec: ModelSpec, inputs: Tensors) -> dict[str, NDArray[np.generic]]:
        """One batch in, its outputs out: (B, *shape) by name. Raises PermanentError, TransientError or Outage."""
        ...

    async def unload(self, spec: ModelSpec) -> None:
        """Free the model's memory. Unknown models are ignored."""
        ...

    async def close(self) -> None:
        """Release everything. No call may follow."""
        ...

    def describe(self, spec: ModelSpec) -> Running:
        """What really runs a loaded model. Raises ConfigError if it is not loaded."""
        ...
