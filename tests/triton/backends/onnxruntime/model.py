"""Stands in for Triton's native onnxruntime backend where there is none: a "Python-based backend" on the CPU.

Triton runs this file for every model whose configuration says `backend: "onnxruntime"`, since no libtriton_onnxruntime.so lies beside it. It keeps to
what a client or an author of a configuration can see of the native one: names, types and dims of config.pbtxt must be those of the graph, queued
requests are joined along the batch axis and run once, the parameters about threads and memory count. GPU accelerators are named in the log and ignored.

Runs in the server's own Python: NumPy 1, and nothing of this project.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

TYPES = {
    "tensor(uint8)": "UINT8",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(bool)": "BOOL",
}
LEVELS = {-1: "ORT_ENABLE_BASIC", 0: "ORT_ENABLE_ALL", 1: "ORT_ENABLE_EXTENDED", 2: "ORT_DISABLE_ALL"}


def options_of(config: Mapping[str, Any]) -> Any:
    """The session options that the configuration's parameters ask for, by the native backend's names."""
    given = {name: value.get("string_value", "") for name, value in config.get("parameters", {}).items()}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(given.get("intra_op_thread_count") or 0)
    options.inter_op_num_threads = int(given.get("inter_op_thread_count") or 0)
    options.enable_cpu_mem_arena = given.get("enable_mem_arena", "1") != "0"
    options.enable_mem_pattern = given.get("enable_mem_pattern", "1") != "0"
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    level = int(config.get("optimization", {}).get("graph", {}).get("level") or 0)
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS[level])
    return options


def problems(side: str, configured: Sequence[Mapping[str, Any]], nodes: Sequence[Any], batched: bool) -> list[str]:
    """What of the configuration contradicts the graph. A free dimension of the graph takes any, a fixed one must be repeated."""
    graph, found = {node.name: node for node in nodes}, []
    for entry in configured:
        node = graph.get(entry["name"])
        if node is None:
            found.append(f"{side} '{entry['name']}' is not in the graph, which has {sorted(graph)}")
            continue
        dtype, want = TYPES.get(node.type, node.type), entry["data_type"].removeprefix("TYPE_")
        if dtype != want:
            found.append(f"{side} '{node.name}': config says {want}, graph says {dtype}")
        dims = [-1] * batched + [int(side) for side in entry["dims"]]
        real = [size if isinstance(size, int) else -1 for size in node.shape]
        if batched and real[:1] != [-1]:
            found.append(f"{side} '{node.name}': the graph's first dimension is fixed, no batch fits")
        elif len(dims) != len(real) or any(there not in (-1, asked) for asked, there in zip(dims, real, strict=False)):
            found.append(f"{side} '{node.name}': config says {dims}, graph says {real}")
    if side == "input":
        found += [f"graph input '{name}' is missing from config.pbtxt" for name in graph.keys() - {entry["name"] for entry in configured}]
    return found


class TritonPythonModel:
    """One instance of one model: a process with a session of its own."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Our configurations are whole: nothing is filled in."""
        return auto_complete_model_config

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the graph and compare it with the configuration."""
        config = json.loads(args["model_config"])
        self.batched = int(config.get("max_batch_size") or 0) > 0
        if config.get("optimization", {}).get("execution_accelerators", {}).get("gpu_execution_accelerator"):
            pb_utils.Logger.log_warn(f"{args['model_name']}: GPU accelerators are ignored on this CPU")
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self.session = onnxruntime.InferenceSession(str(path), options_of(config), providers=["CPUExecutionProvider"])
        wrong = problems("input", config["input"], self.session.get_inputs(), self.batched)
        wrong += problems("output", config["output"], self.session.get_outputs(), self.batched)
        if wrong:
            raise pb_utils.TritonModelException(f"model '{args['model_name']}': {'; '.join(wrong)}")
        self.inputs = [entry["name"] for entry in config["input"]]

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """All requests that Triton joined, as one run. What fails one of them fails all, as natively."""
        groups = [requests] if self.batched else [[request] for request in requests]
        return [response for group in groups for response in self.answer(group)]

    def answer(self, requests: Sequence[Any]) -> list[Any]:
        """One run of the session."""
        try:
            parts = {name: [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for request in requests] for name in self.inputs}
            feeds = {name: np.concatenate(arrays) if len(arrays) > 1 else arrays[0] for name, arrays in parts.items()}
            wanted = sorted({name for request in requests for name in request.requested_output_names()})
            outputs = dict(zip(wanted, self.session.run(wanted, feeds), strict=False))
            sizes = [len(array) for array in parts[self.inputs[0]]]
            return self.split(requests, outputs, sizes)
        except Exception as error:
            failure = pb_utils.TritonError(f"onnx runtime error: {error}")
            return [pb_utils.InferenceResponse(error=failure) for _ in requests]

    def split(self, requests: Sequence[Any], outputs: Mapping[str, Any], sizes: Sequence[int]) -> list[Any]:
        """Every request its own rows."""
        for name, array in outputs.items():
            if self.batched and array.shape[:1] != (sum(sizes),):
                raise ValueError(f"output '{name}' has shape {list(array.shape)}, expected {sum(sizes)} rows")
        responses, start = [], 0
        for request, size in zip(requests, sizes, strict=False):
            rows = slice(start, start + size) if self.batched else slice(None)
            names = request.requested_output_names()
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor(name, np.ascontiguousarray(outputs[name][rows])) for name in names]))
            start += size
        return responses
