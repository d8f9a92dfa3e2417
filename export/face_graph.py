"""The graphs of a face pack, made from its ONNX files: uint8 in, small outputs, and a batch axis that holds one picture after the other.

The heads of SCRFD as published put the batch between cell and anchor (Transpose to (2, 3, 0, 1), Reshape to (-1, C)): a batch of two runs and
comes out interleaved. repaired() moves the batch to the front; that nothing else changed is shown by comparison with single runs of the original.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import compose, helper, numpy_helper, parser, version_converter

from export import graph
from kizu_fast.errors import ConfigError
from kizu_fast.specs import DTYPES, ModelSpec

STRIDES = (8, 16, 32)
HEADS = tuple(f"{what}{stride}" for what in ("scores", "boxes", "points") for stride in STRIDES)  # in the order of the files' outputs
WIDTHS = (1, 1, 1, 4, 4, 4, 10, 10, 10)
INTERLEAVED, IMAGE_MAJOR = [2, 3, 0, 1], [0, 2, 3, 1]  # where the Transpose of a head puts the batch
CORE = "core/"
_BEHIND = ("Reshape", "Sigmoid", "Identity")  # what may stand between a head's Transpose and its output

# uint8 NHWC RGB to the file's own input. The files were made for RGB: no channel is exchanged.
_FRONT = """front (uint8[b, h, w, 3] pixels) => (float[b, 3, h, w] normalised) {
  planes = Transpose <perm = [0, 3, 1, 2]> (pixels)
  values = Cast <to = 1> (planes)
  mean = Constant <value = float {%s}> ()
  factor = Constant <value = float {%s}> ()
  centred = Sub (values, mean)
  normalised = Mul (centred, factor)
}"""

_COMMON = """
  zero = Constant <value = int64 {0}> ()
  one = Constant <value = int64 {1}> ()
  two = Constant <value = int64 {2}> ()
  axis1 = Constant <value = int64[1] {1}> ()
  axis2 = Constant <value = int64[1] {2}> ()
  width_1d = Shape <start = 2, end = 3> (pixels)
  width = Squeeze (width_1d)
"""

# Two anchors a cell, cells row by row: how many follows from the head, how long a row is from the picture.
_LEVEL = """
  stride%(s)d = Constant <value = int64 {%(s)d}> ()
  count_1d%(s)d = Shape <start = 1, end = 2> (scores%(s)d)
  count%(s)d = Squeeze (count_1d%(s)d)
  index%(s)d = Range (zero, count%(s)d, one)
  cell%(s)d = Div (index%(s)d, two)
  columns%(s)d = Div (width, stride%(s)d)
  column%(s)d = Mod (cell%(s)d, columns%(s)d)
  row%(s)d = Div (cell%(s)d, columns%(s)d)
  column_2d%(s)d = Unsqueeze (column%(s)d, axis1)
  row_2d%(s)d = Unsqueeze (row%(s)d, axis1)
  cells%(s)d = Concat <axis = 1> (column_2d%(s)d, row_2d%(s)d)
  corner%(s)d = Mul (cells%(s)d, stride%(s)d)
  corners%(s)d = Cast <to = 1> (corner%(s)d)
  scale%(s)d = Cast <to = 1> (stride%(s)d)
  box%(s)d = Mul (boxes%(s)d, scale%(s)d)
  point%(s)d = Mul (points%(s)d, scale%(s)d)
"""

_TAIL = """tail (float[b, a, 1] scores8) => (float[b, k, 4] boxes) {%s%s
  all_scores = Concat <axis = 1> (scores8, scores16, scores32)
  all_boxes = Concat <axis = 1> (box8, box16, box32)
  all_points = Concat <axis = 1> (point8, point16, point32)
  centres = Concat <axis = 0> (corners8, corners16, corners32)
  flat = Squeeze (all_scores, axis2)
  k = Constant <value = int64[1] {%d}> ()
  scores, best = TopK <axis = 1> (flat, k)
  centre = Gather <axis = 0> (centres, best)
  best_3d = Unsqueeze (best, axis2)
  four = Constant <value = int64[3] {1, 1, 4}> ()
  ten = Constant <value = int64[3] {1, 1, 10}> ()
  best_4 = Expand (best_3d, four)
  best_10 = Expand (best_3d, ten)
  sides = GatherElements <axis = 1> (all_boxes, best_4)
  offsets = GatherElements <axis = 1> (all_points, best_10)
  near, far = Split <axis = 2, num_outputs = 2> (sides)
  low = Sub (centre, near)
  high = Add (centre, far)
  boxes = Concat <axis = 2> (low, high)
  five_times = Concat <axis = 2> (centre, centre, centre, centre, centre)
  landmarks = Add (five_times, offsets)
}"""

_UNIT = """tail (float[b, d] raw) => (float[b, d] face_features) {
  face_features = LpNormalization <axis = 1, p = 2> (raw)
}"""


def detector(file: Path, spec: ModelSpec) -> onnx.ModelProto:
    """SCRFD with normalisation before it, decoding and top-k behind it. Raises ConfigError for a file that is built otherwise."""
    core = repaired(onnx.load(str(file)), file)
    tail = _TAIL % (_COMMON, "".join(_LEVEL % {"s": stride} for stride in STRIDES), spec.outputs[0].shape[0])
    return _assembled(_FRONT % ("127.5", repr(1 / 128)), core, HEADS, tail, spec)


def embedder(file: Path, spec: ModelSpec) -> onnx.ModelProto:
    """The embedder with normalisation before it, unless it has its own, and length 1 behind it."""
    core = onnx.load(str(file))
    mean, factor = ("0.0", "1.0") if normalises(core) else ("127.5", repr(1 / 127.5))
    _free_batch(core)
    return _assembled(_FRONT % (mean, factor), core, ("raw",), _UNIT, spec)


def normalises(core: onnx.ModelProto) -> bool:
    """Whether the file subtracts and scales by itself, told as insightface does: by the names of its first nodes."""
    names = [node.name for node in core.graph.node[:8]]
    return any(name.startswith(("Sub", "_minus")) for name in names) and any(name.startswith(("Mul", "_mul")) for name in names)


def repaired(core: onnx.ModelProto, file: Path) -> onnx.ModelProto:
    """The detector with the batch in front: heads (N, A, C). Takes the published layout and re-exports with heads (1, A, C).

    Raises ConfigError when a head is neither, or the picture's size is fixed.
    """
    made = {name: node for node in core.graph.node for name in node.output}
    seen = set()
    for index, (output, width) in enumerate(zip(core.graph.output, WIDTHS, strict=True)):
        path = _head(output.name, made)
        transpose, reshape = path.get("Transpose"), path.get("Reshape")
        perm = [list(entry.ints) for entry in transpose.attribute if entry.name == "perm"] if transpose else []
        if transpose is None or reshape is None or perm[0] not in (INTERLEAVED, IMAGE_MAJOR) or transpose.output[0] in seen:
            raise ConfigError(f"{file}: output {output.name} is no head of SCRFD as we know it (Transpose {perm}, Reshape): not exported")
        seen.add(transpose.output[0])
        next(entry for entry in transpose.attribute if entry.name == "perm").ints[:] = IMAGE_MAJOR
        shape = f"batch_first_{index}"
        core.graph.initializer.append(numpy_helper.from_array(np.array([0, -1, width], np.int64), shape))
        reshape.input[1] = shape
    rest = [name for name, node in made.items() if node.op_type == "Transpose" and name not in seen and _mixes_batch(node)]
    if rest:
        raise ConfigError(f"{file}: the batch is moved inside the network too ({', '.join(rest)}): not exported")
    sizes = core.graph.input[0].type.tensor_type.shape.dim[2:]
    if any(size.dim_value > 0 for size in sizes):
        raise ConfigError(f"{file} takes pictures of one size only; take the pack's file with free height and width")
    _free_batch(core)
    return core


def _mixes_batch(transpose: onnx.NodeProto) -> bool:
    """Whether the first axis does not stay where it is."""
    perm = [axis for entry in transpose.attribute if entry.name == "perm" for axis in entry.ints]
    return perm[:1] != [0]


def _head(name: str, made: dict[str, onnx.NodeProto]) -> dict[str, onnx.NodeProto]:
    """The nodes from an output back to its Transpose, by type."""
    path: dict[str, onnx.NodeProto] = {}
    while name in made:
        node = made[name]
        path.setdefault(node.op_type, node)
        if node.op_type not in _BEHIND:
            break
        name = node.input[0]
    return path


def _free_batch(core: onnx.ModelProto) -> None:
    """Any number of rows; shapes that were stored for one row go."""
    core.graph.input[0].type.tensor_type.shape.dim[0].dim_param = graph.BATCH
    del core.graph.value_info[:]
    for output in core.graph.output:
        output.type.tensor_type.ClearField("shape")


def _assembled(front: str, core: onnx.ModelProto, names: Sequence[str], tail: str, spec: ModelSpec) -> onnx.ModelProto:
    """front, core and tail in one graph at our opset. The core's values get a prefix, so that no name is used twice."""
    core = compose.add_prefix(_at_our_opset(core), CORE)
    held = {tensor.name for tensor in core.graph.initializer}
    (entry,) = (value.name for value in core.graph.input if value.name not in held)
    new = {entry: "normalised", **{value.name: name for value, name in zip(core.graph.output, names, strict=True)}}
    for node in core.graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
    nodes = [*parser.parse_graph(front).node, *core.graph.node, *parser.parse_graph(tail).node]
    ends = [
        [helper.make_tensor_value_info(t.name, helper.np_dtype_to_tensor_dtype(np.dtype(DTYPES[t.dtype])), [graph.BATCH, *t.shape]) for t in tensors]
        for tensors in (spec.inputs, spec.outputs)
    ]
    whole = helper.make_graph(nodes, spec.name, *ends, initializer=list(core.graph.initializer))
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", graph.OPSET)], ir_version=min(8, graph.MAX_IR_VERSION))


def _at_our_opset(core: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return version_converter.convert_version(core, graph.OPSET)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"the file cannot be brought to opset {graph.OPSET}: {str(error).splitlines()[0]}") from error
