"""An exported graph: loadable by every backend, with the shapes that its spec declares."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from kizu_fast.backends.onnx import refusals
from kizu_fast.errors import ConfigError
from kizu_fast.specs import ModelSpec, TensorSpec

OPSET = 18
MAX_IR_VERSION = 10  # what a tritonserver of 2024 still reads
ONE_FILE_BYTES = 1_800_000_000  # protobuf ends at 2 GiB: larger models keep their weights beside the graph
BATCH = "batch"


def declare(path: Path, spec: ModelSpec) -> None:
    """Write the spec's shapes into the graph's inputs and outputs: exporters name constant sizes, and Triton compares them with config.pbtxt."""
    model = onnx.load(str(path), load_external_data=False)
    for values, tensors in ((model.graph.input, spec.inputs), (model.graph.output, spec.outputs)):
        for tensor in tensors:
            value = next((value for value in values if value.name == tensor.name), None)
            if value is None:
                raise ConfigError(f"{spec.name}: the exported graph has no tensor {tensor.name}")
            _set_shape(value, tensor)
    del model.graph.value_info[:]
    model.doc_string, model.producer_version = "", ""
    onnx.save(model, str(path))


def _set_shape(value: onnx.ValueInfoProto, tensor: TensorSpec) -> None:
    names = iter(("height", "width") if len(tensor.shape) > 1 else ("steps",))
    shape = value.type.tensor_type.shape
    del shape.dim[:]
    shape.dim.add().dim_param = BATCH
    for size in tensor.shape:
        if size < 0:
            shape.dim.add().dim_param = next(names)
        else:
            shape.dim.add().dim_value = size


def check(path: Path, spec: ModelSpec) -> dict[str, int]:
    """Raises ConfigError unless the file holds the spec's tensors with a free batch axis. Returns opset, IR version and node count."""
    model = onnx.load(str(path), load_external_data=False)
    problems = [*_tensor_problems(model, spec), *_name_problems(model)]
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset != OPSET:
        problems.append(f"opset {opset} instead of {OPSET}")
    if model.ir_version > MAX_IR_VERSION:
        problems.append(f"IR version {model.ir_version} is newer than {MAX_IR_VERSION}")
    if problems:
        raise ConfigError(f"{spec.name}: the exported graph is unusable: {'; '.join(problems)}")
    return {"opset": opset, "ir_version": model.ir_version, "nodes": len(model.graph.node)}


def _tensor_problems(model: onnx.ModelProto, spec: ModelSpec) -> list[str]:
    kinds = {"uint8": onnx.TensorProto.UINT8, "float16": onnx.TensorProto.FLOAT16, "int32": onnx.TensorProto.INT32, "float32": onnx.TensorProto.FLOAT}
    problems = []
    for values, tensors in ((model.graph.input, spec.inputs), (model.graph.output, spec.outputs)):
        declared = {value.name: value.type.tensor_type for value in values}
        if set(declared) != {tensor.name for tensor in tensors}:
            problems.append(f"tensors {', '.join(declared)} instead of {', '.join(tensor.name for tensor in tensors)}")
            continue
        for tensor in tensors:
            got = declared[tensor.name]
            sizes = [-1 if dim.dim_param else dim.dim_value for dim in got.shape.dim]
            if sizes != [-1, *tensor.shape] or got.elem_type != kinds[tensor.dtype]:
                problems.append(f"{tensor.name} is {sizes}, type {got.elem_type}, instead of {[-1, *tensor.shape]} {tensor.dtype}")
    return problems


def _name_problems(model: onnx.ModelProto) -> list[str]:
    """An output named like an inner value exports without an error and cannot be loaded."""
    made = [name for node in model.graph.node for name in node.output if name]
    twice = sorted({name for name in made if made.count(name) > 1} if len(set(made)) != len(made) else set())
    return [f"value {name} is defined twice" for name in twice]


class Runs(Protocol):
    """Whatever runs a graph as Session does."""

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """One batch in, its outputs by name."""
        ...


class Session:
    """The file in onnxruntime on the CPU, as the run time loads it."""

    def __init__(self, path: Path, threads: int = 0, *, arena: bool = True, rearranged: bool = True) -> None:
        """threads 0: as many as there are cores. arena False: slower, and memory is given back. rearranged False: without optimisations that change layouts.

        Raises ConfigError when onnxruntime refuses the file.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_cpu_mem_arena = options.enable_mem_pattern = arena
        if not rearranged:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except refusals() as error:
            raise ConfigError(f"{path}: onnxruntime refuses it: {str(error).splitlines()[0]}") from error
        self._names = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """One batch in, its outputs by name."""
        return dict(zip(self._names, self._session.run(None, dict(inputs)), strict=True))
