"""What a served model must be and answer: its configuration and its outputs against the ModelSpec. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kizu_fast.backends import Running
from kizu_fast.errors import ConfigError
from kizu_fast.specs import DTYPES, ModelSpec, TensorSpec

# data_type of inference.ModelConfig, by number: https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto
CONFIG_TYPES: Mapping[str, int] = {"uint8": 2, "int32": 8, "float16": 10, "float32": 11}
_GREY = 114
_PRECISION = "precision_mode"


def compare(spec: ModelSpec, config: Any, url: str) -> None:
    """Raises ConfigError naming model and field unless the served configuration has the spec's tensors."""
    for role, wanted, served in (("input", spec.inputs, config.input), ("output", spec.outputs, config.output)):
        found = {tensor.name: tensor for tensor in served}
        for tensor in wanted:
            problem = _difference(tensor, found.get(tensor.name), sorted(found))
            if problem:
                raise ConfigError(
                    f"model {spec.name} on Triton at {url}: {role} {tensor.name}: {problem}; "
                    f"run: python -m export --models {spec.name}, and restart Triton"
                )
    if config.max_batch_size < 1:
        raise ConfigError(f"model {spec.name} on Triton at {url}: max_batch_size is 0, so it takes no batches; run: make configs")


def _difference(tensor: TensorSpec, served: Any, names: Sequence[str]) -> str | None:
    if served is None:
        return f"it is not among {', '.join(names)}"
    if served.data_type != CONFIG_TYPES[tensor.dtype]:
        return f"data_type is {served.data_type}, expected {CONFIG_TYPES[tensor.dtype]} ({tensor.dtype})"
    dims = tuple(served.dims)
    fits = len(dims) == len(tensor.shape) and all(-1 in (have, want) or have == want for have, want in zip(dims, tensor.shape, strict=True))
    return None if fits else f"dims are {list(dims)}, expected {list(tensor.shape)}"


def flaw(spec: ModelSpec, outputs: Mapping[str, NDArray[np.generic]], rows: int) -> str | None:
    """What is wrong with an answer, None if nothing is: shape, dtype, numbers that are none."""
    for tensor in spec.outputs:
        got = outputs[tensor.name]
        shape = (rows, *tensor.shape)
        fits = got.ndim == len(shape) and all(want in (-1, have) for want, have in zip(shape, got.shape, strict=True))
        if not fits or got.dtype != DTYPES[tensor.dtype]:
            return f"{spec.name}.{tensor.name}: the answer is {got.dtype} {list(got.shape)}, expected {tensor.dtype} {list(shape)}"
        if got.dtype.kind == "f" and not np.isfinite(got).all():
            return f"{spec.name}.{tensor.name}: the answer is not finite"
    return None


def grey(spec: ModelSpec) -> dict[str, NDArray[np.generic]]:
    """One harmless row of every input, with a batch axis."""
    return {
        tensor.name: np.full((1, *(max(side, 1) for side in tensor.shape)), _GREY if tensor.dtype == "uint8" else 0, DTYPES[tensor.dtype])
        for tensor in spec.inputs
    }


def instance(config: Any, version: str) -> Running:
    """What runs it, as far as the configuration says."""
    accelerators = config.optimization.execution_accelerators.gpu_execution_accelerator
    names = [config.backend or config.platform, *(one.name for one in accelerators)]
    stated = [one.parameters[_PRECISION] for one in accelerators if _PRECISION in one.parameters]
    threads = config.parameters["intra_op_thread_count"].string_value if "intra_op_thread_count" in config.parameters else ""
    return Running(f"Triton {version}: {' + '.join(names)}", "", (stated[0] if stated else "fp32").lower(), int(threads or 0))
