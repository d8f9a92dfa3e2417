"""Writing a graph whose weights lie beside it as one file, without the weights ever being in memory together."""

from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import external_data_helper

from export import graph
from kizu_fast.errors import ConfigError

_BYTES_FOLLOW = 2  # protobuf's wire type of a nested message: https://protobuf.dev/programming-guides/encoding/


def write(model: onnx.ModelProto, weights: Path, path: Path, limit: int = graph.ONE_FILE_BYTES) -> None:
    """Write model to path, as onnx.save() does after loading everything: that takes four times the weights, this the largest tensor.

    weights is the folder of the files that initializers refer to. Raises ConfigError for what does not fit one file.
    """
    head, body = onnx.ModelProto(), onnx.GraphProto()
    head.CopyFrom(model)
    body.CopyFrom(model.graph)
    head.ClearField("graph")
    body.ClearField("initializer")
    start = body.SerializeToString()
    size = len(start) + sum(len(record) for record in _records(model, weights))
    if size > limit:
        raise ConfigError(f"{model.graph.name}: {size} bytes do not fit one file of at most {limit}")
    with path.open("wb") as stream:
        stream.write(head.SerializeToString())
        stream.write(_field(model, "graph", size))
        stream.write(start)
        for record in _records(model, weights):
            stream.write(record)


def _records(model: onnx.ModelProto, weights: Path) -> Iterator[bytes]:
    """Every initializer as it stands in the file, one at a time."""
    for tensor in model.graph.initializer:
        whole = onnx.TensorProto()  # of its own: what is put into model stays in memory as long as model does
        whole.CopyFrom(tensor)
        if external_data_helper.uses_external_data(whole):
            external_data_helper.load_external_data_for_tensor(whole, str(weights))
        content = whole.SerializeToString()
        yield _field(model.graph, "initializer", len(content)) + content


def _field(message: onnx.ModelProto | onnx.GraphProto, name: str, size: int) -> bytes:
    """What stands before a nested message: number and type of its field, and its size."""
    return _varint(message.DESCRIPTOR.fields_by_name[name].number << 3 | _BYTES_FOLLOW) + _varint(size)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])
