"""Tiny ONNX graphs, written byte by byte: the run-time environment reads graphs but has no library that writes them.

Field numbers are those of onnx.proto. Only what the graphs below need is here.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kizu_fast import specs
from kizu_fast.specs import YOLO_CANDIDATES, ModelSpec, TensorSpec

FLOAT, UINT8, INT32, INT64 = 1, 2, 6, 7
TYPES = {"float32": FLOAT, "uint8": UINT8, "int32": INT32}  # of specs.DTYPES
SIDE, DIM, CONTEXT = 8, 192, 16  # DIM = SIDE * SIDE * 3: the tiny tower flattens and normalises


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(raw)) + raw


def tensor(name: str, dtype: int, dims: Sequence[int | str]) -> bytes:
    """ValueInfoProto: a graph's input or output. A dimension that is a word varies."""
    shape = b"".join(_bytes(1, _number(1, dim) if isinstance(dim, int) else _bytes(2, dim)) for dim in dims)
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, dtype) + _bytes(2, shape)))


def constant(name: str, values: NDArray[Any], dtype: int) -> bytes:
    """TensorProto: an initializer."""
    return b"".join(_number(1, dim) for dim in values.shape) + _number(2, dtype) + _bytes(8, name) + _bytes(9, values.tobytes())


def node(kind: str, inputs: Sequence[str], output: str, **attributes: int | Sequence[int]) -> bytes:
    """NodeProto with integer attributes."""
    out = b"".join(_bytes(1, name) for name in inputs) + _bytes(2, output) + _bytes(4, kind)
    for name, value in attributes.items():
        body = _number(3, value) + _number(20, 2) if isinstance(value, int) else b"".join(_number(8, one) for one in value) + _number(20, 7)
        out += _bytes(5, _bytes(1, name) + body)
    return out


def model(nodes: Sequence[bytes], inputs: Sequence[bytes], outputs: Sequence[bytes], constants: Sequence[bytes] = ()) -> bytes:
    """ModelProto at opset 13."""
    graph = b"".join(_bytes(1, one) for one in nodes) + _bytes(2, "tiny") + b"".join(_bytes(5, one) for one in constants)
    graph += b"".join(_bytes(11, one) for one in inputs) + b"".join(_bytes(12, one) for one in outputs)
    return _number(1, 8) + _bytes(7, graph) + _bytes(8, _bytes(1, "") + _number(2, 13))


PIXELS = tensor("pixels", UINT8, ["batch", SIDE, SIDE, 3])
FEATURES = tensor("image_features", FLOAT, ["batch", DIM])
_FLATTEN = [node("Cast", ["pixels"], "cast", to=FLOAT), node("Flatten", ["cast"], "flat", axis=1)]


def clip_image(pixels: bytes = PIXELS, features: bytes = FEATURES) -> bytes:
    """Flattens a (SIDE, SIDE, 3) picture and scales it to length 1."""
    return model([*_FLATTEN, node("LpNormalization", ["flat"], "image_features", axis=1, p=2)], [pixels], [features])


def not_finite() -> bytes:
    """An image tower whose every answer is minus infinity."""
    return model([*_FLATTEN, node("Sub", ["flat", "flat"], "zero"), node("Log", ["zero"], "image_features")], [PIXELS], [FEATURES])


def as_long_as_its_brightest_pixel() -> bytes:
    """An image tower whose output's length no one can tell from the graph."""
    nodes = [
        *_FLATTEN,
        node("ReduceMax", ["flat"], "brightest", keepdims=0),
        node("Cast", ["brightest"], "whole", to=INT64),
        node("Reshape", ["whole", "one_axis"], "end"),
        node("Slice", ["flat", "start", "end", "axes"], "image_features"),
    ]
    numbers = {"one_axis": 1, "start": 0, "axes": 1}
    constants = [constant(name, np.array([number], np.int64), INT64) for name, number in numbers.items()]
    return model(nodes, [PIXELS], [tensor("image_features", FLOAT, ["batch", "length"])], constants)


def clip_text() -> bytes:
    """A text tower of the same length: token ids, repeated and scaled to length 1."""
    repeat = np.eye(CONTEXT, DIM, dtype=np.float32)
    repeat[0] = 1  # the start token never is 0: no vector is all zeros
    nodes = [
        node("Cast", ["tokens"], "cast", to=FLOAT),
        node("Add", ["cast", "one"], "shifted"),
        node("MatMul", ["shifted", "repeat"], "long"),
        node("LpNormalization", ["long"], "text_features", axis=1, p=2),
    ]
    constants = [constant("repeat", repeat, FLOAT), constant("one", np.ones(1, np.float32), FLOAT)]
    return model(nodes, [tensor("tokens", INT32, ["batch", CONTEXT])], [tensor("text_features", FLOAT, ["batch", DIM])], constants)


def stand_in(spec: ModelSpec) -> bytes:
    """Takes what the spec says and answers zeros of the shapes that it says; an output's open dimension has length 1."""
    nodes = [node("Shape", [spec.inputs[0].name], "shape"), node("Gather", ["shape", "first"], "batch")]
    constants = [constant("first", np.zeros(1, np.int64), INT64)]
    for output in spec.outputs:
        rest, target, zero = (f"{output.name}_{part}" for part in ("rest", "target", "zero"))
        constants.append(constant(rest, np.abs(np.array(output.shape, np.int64)), INT64))  # -1 is open
        constants.append(constant(zero, np.zeros(1, specs.DTYPES[output.dtype]), TYPES[output.dtype]))
        nodes += [node("Concat", ["batch", rest], target, axis=0), node("Expand", [zero, target], output.name)]
    inputs, outputs = ([_declared(one) for one in tensors] for tensors in (spec.inputs, spec.outputs))
    return model(nodes, inputs, outputs, constants)


def _declared(one: TensorSpec) -> bytes:
    return tensor(one.name, TYPES[one.dtype], ["batch", *(side if side != -1 else f"{one.name}_{axis}" for axis, side in enumerate(one.shape))])


def yolo() -> bytes:
    """One certain object: a box of 100 by 100 pixels whose class is 0, in every picture; the other candidates score 0."""
    boxes = np.zeros((1, YOLO_CANDIDATES, 4), np.float32)
    boxes[0, 0] = 10, 20, 110, 120
    scores = np.zeros((1, YOLO_CANDIDATES), np.float32)
    scores[0, 0] = 0.9
    zero = np.zeros((3, 1), np.float32)
    nodes = [
        node("Cast", ["pixels"], "cast", to=FLOAT),
        node("ReduceMean", ["cast"], "mean", axes=[1, 2], keepdims=0),
        node("MatMul", ["mean", "nothing"], "rows"),  # (batch, 1) of 0: gives the constants their batch axis
        node("Add", ["rows", "score"], "scores"),
        node("Cast", ["rows_of_classes"], "classes", to=INT32),
        node("Mul", ["scores", "none"], "rows_of_classes"),
        node("Reshape", ["rows", "three_axes"], "rows3"),
        node("Add", ["rows3", "box"], "boxes"),
    ]
    nodes[4], nodes[5] = nodes[5], nodes[4]  # nodes must be in the order of use
    constants = [
        constant("nothing", zero, FLOAT),
        constant("score", scores, FLOAT),
        constant("none", np.zeros(1, np.float32), FLOAT),
        constant("three_axes", np.array([-1, 1, 1], np.int64), INT64),
        constant("box", boxes, FLOAT),
    ]
    outputs = [
        tensor("boxes", FLOAT, ["batch", YOLO_CANDIDATES, 4]),
        tensor("scores", FLOAT, ["batch", YOLO_CANDIDATES]),
        tensor("classes", INT32, ["batch", YOLO_CANDIDATES]),
    ]
    return model(nodes, [tensor("pixels", UINT8, ["batch", "height", "width", 3])], outputs, constants)


def install(root: Path, spec: ModelSpec, graph: bytes, *, source: str = "official") -> None:
    """A model's folder as the export leaves it."""
    folder = root / spec.name
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").write_bytes(graph)
    manifest = {"name": spec.name, "spec": spec.as_record(), "original": "tiny", "source": source}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def install_clip(root: Path, tag: str = "openai", *, source: str = "official") -> str:
    """The image tower of a tiny CLIP. Returns its space."""
    space = f"open_clip/ViT-B-32/{tag}/p1/00000000"
    spec = specs.clip_image(f"clip-vit-b-32-{tag}-image", side=SIDE, dim=DIM, space=space)
    install(root, spec, clip_image(), source=source)
    return space


def install_text(root: Path, tag: str = "openai", *, source: str = "official") -> None:
    """The text tower beside it, with a tokenizer that knows a few words."""
    name, space = f"clip-vit-b-32-{tag}-text", f"open_clip/ViT-B-32/{tag}/p1/00000000"
    install(root, specs.clip_text(name, context=CONTEXT, dim=DIM, space=space), clip_text(), source=source)
    words = {"[UNK]": 0, "a": 1, "dog": 2, "on": 3, "beach": 4}
    rules = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": {"type": "Whitespace"}}
    rules |= {"post_processor": None, "decoder": None, "model": {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"}}
    (root / name / "tokenizer.json").write_text(json.dumps(rules))


def install_yolo(root: Path, name: str = "yolov8m", *, source: str = "official") -> None:
    """The detector that always sees one person."""
    install(root, specs.yolo(name, labels=("person", "bicycle")), yolo(), source=source)


def heavy_clip_image(megabytes: int) -> bytes:
    """An image tower with a weight of so many 10^6 bytes in it."""
    weight = np.ones((DIM, megabytes * 1_000_000 // (4 * DIM)), np.float32)
    numbers = {"start": 0, "end": DIM, "axes": 1}
    nodes = [
        *_FLATTEN,
        node("MatMul", ["flat", "weight"], "wide"),
        node("Slice", ["wide", "start", "end", "axes"], "first"),
        node("LpNormalization", ["first"], "image_features", axis=1, p=2),
    ]
    constants = [constant(name, np.array([number], np.int64), INT64) for name, number in numbers.items()]
    return model(nodes, [PIXELS], [FEATURES], [*constants, constant("weight", weight, FLOAT)])
