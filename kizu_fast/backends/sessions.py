"""Ways to call an onnxruntime session: with free shapes, with tensors placed on a GPU, or one session per static shape."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kizu_fast.specs import ModelSpec, Tensors

Outputs = dict[str, NDArray[np.generic]]
Run = Callable[[ModelSpec, Tensors], Outputs]  # one batch; raises whatever onnxruntime raises


class Shape(NamedTuple):
    """A static shape: bucket (height, width), None where shapes are fixed, and rows."""

    bucket: tuple[int, int] | None
    batch: int

    def __str__(self) -> str:
        return f"{'' if self.bucket is None else f'{self.bucket[0]}x{self.bucket[1]} '}b{self.batch}"


def plain(session: Any) -> Run:
    """Tensors in the process's own memory. session.run() is thread-safe, so all lanes share one session and the weights exist once."""

    def run(spec: ModelSpec, inputs: Tensors) -> Outputs:
        names = [tensor.name for tensor in spec.outputs]
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return run


def bound(runtime: ModuleType, session: Any, device: str) -> Run:
    """Inputs are copied to the device once and outputs stay there until all are made: no copy in between. device: cuda, or cpu in tests."""

    def run(spec: ModelSpec, inputs: Tensors) -> Outputs:
        binding = session.io_binding()
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, runtime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value), device, 0))
        for tensor in spec.outputs:
            binding.bind_output(tensor.name, device)
        session.run_with_iobinding(binding)
        return {tensor.name: value.numpy() for tensor, value in zip(spec.outputs, binding.get_outputs(), strict=True)}

    return run


@dataclass(slots=True)
class StaticSessions:
    """One session per bucket and batch size, opened when it is first wanted and kept.

    open_one: the provider's own session for a shape; raises one of refusals when the provider does not take it.
    open_other: what stands in then (the CPU). Why a shape runs there is in fallen_back.
    """

    open_one: Callable[[Shape], Any]
    open_other: Callable[[Shape], Any]
    refusals: tuple[type[Exception], ...]
    sizes: Sequence[int]  # ascending batch sizes; a batch in between is filled up with copies of its last row
    fallen_back: dict[Shape, str] = field(default_factory=dict)
    _sessions: dict[Shape, Any] = field(default_factory=dict)
    _opening: threading.Lock = field(default_factory=threading.Lock)

    def run(self, spec: ModelSpec, inputs: Tensors) -> Outputs:
        """spec has one bucket, or none. A batch above the largest size is run in parts."""
        rows = len(next(iter(inputs.values())))
        parts = [self._part(spec, inputs, first) for first in range(0, rows, self.sizes[-1])]
        return parts[0] if len(parts) == 1 else {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def open(self, shape: Shape) -> Any:
        """The session for a shape. Another thread that wants one meanwhile waits."""
        with self._opening:
            if shape not in self._sessions:
                try:
                    self._sessions[shape] = self.open_one(shape)
                except self.refusals as error:
                    self.fallen_back[shape] = str(error)
                    self._sessions[shape] = self.open_other(shape)
            return self._sessions[shape]

    def _part(self, spec: ModelSpec, inputs: Tensors, first: int) -> Outputs:
        some = {name: value[first : first + self.sizes[-1]] for name, value in inputs.items()}
        rows = len(next(iter(some.values())))
        size = next(size for size in self.sizes if size >= rows)
        filled = {name: np.concatenate([value, np.repeat(value[-1:], size - rows, axis=0)]) for name, value in some.items()}
        session = self.open(Shape(spec.buckets[0] if spec.buckets else None, size))
        return {name: value[:rows] for name, value in plain(session)(spec, filled).items()}
