"""What every local backend proves before a model serves photos: its tensors are those of the spec, and an inference gives sane numbers."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kizu_fast.backends.repository import export_command
from kizu_fast.backends.sessions import Run
from kizu_fast.errors import ConfigError, PermanentError, TransientError
from kizu_fast.specs import DTYPES, ModelSpec, Tensors, TensorSpec

_GREY = 114


class Found(NamedTuple):
    """A tensor as a graph declares it, batch axis first. A dimension that is no int varies."""

    dtype: str  # a key of specs.DTYPES
    shape: Sequence[object]


def compare(spec: ModelSpec, role: str, wanted: Sequence[TensorSpec], found: Mapping[str, Found]) -> None:
    """Raises ConfigError naming model and field unless the graph's tensors are those of the spec, the batch axis free. role: input or output."""
    if set(found) != {tensor.name for tensor in wanted}:
        names = ", ".join(tensor.name for tensor in wanted)
        raise ConfigError(f"{spec.name}: {role}s are {', '.join(found)}, expected {names}; run: {export_command(spec.name)}")
    for tensor in wanted:
        dtype, shape = found[tensor.name]
        free = len(shape) > 0 and not isinstance(shape[0], int)
        if dtype != tensor.dtype or not free or not _fits(tensor.shape, shape[1:], role):
            raise ConfigError(
                f"{spec.name}.{tensor.name}: the graph has {dtype} {list(shape)}, expected {_written(tensor)} behind a free batch axis; "
                f"run: {export_command(spec.name)}"
            )


def grey(spec: ModelSpec) -> dict[str, NDArray[np.generic]]:
    """A batch of one that any model answers: grey pixels, zeros elsewhere. spec has fixed shapes (ModelSpec.at)."""
    row = {tensor.name: np.full(tensor.shape, _GREY if tensor.dtype == "uint8" else 0, DTYPES[tensor.dtype]) for tensor in spec.inputs}
    return spec.stack([row])


def prove(spec: ModelSpec, backend: str, run: Run) -> None:
    """One inference on grey, of the largest bucket. Raises ConfigError when it fails, or when the outputs are not what the spec says."""
    shaped = spec.at(spec.buckets[-1]) if spec.buckets else spec
    try:
        outputs = run(shaped, grey(shaped))
    except (PermanentError, TransientError) as error:
        raise ConfigError(f"{spec.name} does not run on {backend}: {error}; run: {export_command(spec.name)}") from error
    check_answer(spec, backend, outputs)


def check_answer(spec: ModelSpec, backend: str, outputs: Tensors) -> None:
    """Raises ConfigError naming model and field unless the answer to grey() has the spec's shapes and dtypes and only finite numbers."""
    for tensor in spec.outputs:
        got = outputs[tensor.name]
        fits = got.ndim == len(tensor.shape) + 1 and all(want in (-1, have) for want, have in zip((1, *tensor.shape), got.shape, strict=True))
        if not fits or got.dtype != DTYPES[tensor.dtype]:
            raise ConfigError(f"{spec.name}.{tensor.name}: the graph gives {got.dtype} {list(got.shape[1:])}, expected {_written(tensor)}")
        if not np.isfinite(got).all():
            raise ConfigError(f"{spec.name}.{tensor.name}: not finite on {backend}; run: {export_command(spec.name)}")


def one_line(error: BaseException) -> str:
    """A library's complaint, cut to what fits a line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _fits(wanted: Sequence[int], shape: Sequence[object], role: str) -> bool:
    """A dimension that varies must be free in the graph; a fixed one must be equal, and in an output it may be left open."""
    if len(wanted) != len(shape):
        return False
    return all(
        (have == want and want != -1) or (not isinstance(have, int) and (want == -1 or role == "output"))
        for want, have in zip(wanted, shape, strict=True)
    )


def _written(tensor: TensorSpec) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"
