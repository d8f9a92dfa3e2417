"""One config.pbtxt against what it must say and against the graph beside it. Every line found names model and field."""

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2 as triton

TYPES = {
    "tensor(uint8)": triton.TYPE_UINT8,
    "tensor(int32)": triton.TYPE_INT32,
    "tensor(int64)": triton.TYPE_INT64,
    "tensor(float16)": triton.TYPE_FP16,
    "tensor(float)": triton.TYPE_FP32,
}
_ERRORS = 3  # onnxruntime's severity: it warns of every constant that the export left unused
_ABSENT = "absent"


def against_text(path: Path, model: str, wanted: Sequence[str]) -> list[str]:
    """The file's fields that differ from the nearest of the wanted texts; what hinders its parsing. Comments and layout are compared as well."""
    if not path.exists():
        return [f"{path} is missing: model {model} has no configuration"]
    text = path.read_text(encoding="utf-8", errors="replace")
    if text in wanted:
        return []
    config = triton.ModelConfig()
    try:
        text_format.Parse(text, config)
    except text_format.ParseError as error:
        return [f"{path}: model {model} cannot be parsed: {error}"]
    have = dict(_fields(json_format.MessageToDict(config, preserving_proto_field_name=True)))
    nearest = min((_changes(have, one) for one in wanted), key=len)
    return [f"{path}: model {model}: {change}" for change in nearest] or [f"{path}: model {model}: comments or layout are not as rendered"]


def _changes(have: dict[str, Any], wanted: str) -> list[str]:
    config = text_format.Parse(wanted, triton.ModelConfig())
    want = dict(_fields(json_format.MessageToDict(config, preserving_proto_field_name=True)))
    names = sorted(have.keys() | want.keys(), key=str)
    return [
        f"{name} is {have.get(name, _ABSENT)}, expected {want.get(name, _ABSENT)}"
        for name in names
        if have.get(name, _ABSENT) != want.get(name, _ABSENT)
    ]


def _fields(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """A message as dotted paths to values; tensors go by their names."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _fields(part, f"{place}.{name}" if place else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for number, part in enumerate(value):
            yield from _fields(part, f"{place}[{part.get('name', number)}]")
    else:
        yield place, value


def against_graph(path: Path, model: str, graph: Path) -> list[str]:
    """Names, types and dims of the file's tensors against the ONNX graph's, as Triton compares them when it loads."""
    try:
        config = text_format.Parse(path.read_text(encoding="utf-8", errors="replace"), triton.ModelConfig())
    except (OSError, text_format.ParseError):
        return []  # against_text says so
    onnxruntime = importlib.import_module("onnxruntime")  # a third of a second, and the export that has nothing to do needs none of it
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = _ERRORS
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    found = []
    for role, entries, nodes in (("input", config.input, session.get_inputs()), ("output", config.output, session.get_outputs())):
        found += [f"{path}: model {model}: {line}" for line in _side(role, entries, {node.name: node for node in nodes}, config.max_batch_size)]
    return found


def _side(role: str, entries: Sequence[Any], graph: dict[str, Any], max_batch: int) -> Iterator[str]:
    for entry in entries:
        node = graph.get(entry.name)
        if node is None:
            yield f"{role} {entry.name} is not in the graph, which has {', '.join(graph)}"
            continue
        if TYPES.get(node.type) != entry.data_type:
            yield f"{role} {entry.name}: data_type is {triton.DataType.Name(entry.data_type)}, the graph has {node.type}"
        dims = [*([-1] if max_batch else []), *entry.dims]
        real = [side if isinstance(side, int) else -1 for side in node.shape]
        if max_batch and real[:1] != [-1]:
            yield f"{role} {entry.name}: max_batch_size is {max_batch}, the graph's first dimension is fixed"
        elif len(dims) != len(real) or any(there not in (-1, asked) for asked, there in zip(dims, real, strict=True)):
            yield f"{role} {entry.name}: dims are {dims}, the graph has {real}"
    for name in graph.keys() - {entry.name for entry in entries}:
        yield f"{role} {name} of the graph is missing"
