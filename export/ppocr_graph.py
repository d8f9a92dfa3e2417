"""The graphs of PP-OCR, made from its ONNX files: uint8 RGB in, and out what a line needs: a byte a pixel, two probabilities, a class a step.

The files were made for BGR with values from -1 to 1. Their own answer weighs 4 bytes a pixel (detector) and 4 bytes a character of the alphabet a
step (recogniser: 3 MB a line of 320 pixels); what leaves these graphs is a hundredth of that.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import compose, helper, parser, version_converter

from export import graph
from kizu_fast.errors import ConfigError
from kizu_fast.specs import DTYPES, Family, ModelSpec

CORE = "core/"
CHARACTERS = "character"  # the key of a recogniser's metadata

_FRONT = """front (uint8[b, h, w, 3] pixels) => (float[b, 3, h, w] normalised) {
  planes = Transpose <perm = [0, 3, 1, 2]> (pixels)
  blue_first = Constant <value = int64[3] {2, 1, 0}> ()
  bgr = Gather <axis = 1> (planes, blue_first)
  values = Cast <to = 1> (bgr)
  factor = Constant <value = float {%s}> ()
  one = Constant <value = float {1.0}> ()
  scaled = Mul (values, factor)
  normalised = Sub (scaled, one)
}"""

_TAILS = {
    Family.PPOCR_DETECTOR: """tail (float[b, 1, h, w] raw) => (uint8[b, h, w] text) {
  whole = Constant <value = float {255.0}> ()
  levels = Mul (raw, whole)
  rounded = Round (levels)
  bytes = Cast <to = 2> (rounded)
  axis1 = Constant <value = int64[1] {1}> ()
  text = Squeeze (bytes, axis1)
}""",
    Family.PPOCR_CLASSIFIER: """tail (float[b, two] raw) => (float[b, two] turned) {
  turned = Identity (raw)
}""",
    Family.PPOCR_RECOGNISER: """tail (float[b, t, c] raw) => (int32[b, t] ids, float[b, t] scores) {
  best = ArgMax <axis = 2, keepdims = 0> (raw)
  ids = Cast <to = 6> (best)
  axis2 = Constant <value = int64[1] {2}> ()
  scores = ReduceMax <keepdims = 0> (raw, axis2)
}""",
}


def whole(core: onnx.ModelProto, spec: ModelSpec) -> onnx.ModelProto:
    """Normalisation, the file's own graph, and the tail of the spec's family, at our opset. Raises ConfigError when the file cannot be converted."""
    shapeless = _without_shapes(core)
    named = compose.add_prefix(_at_our_opset(shapeless), CORE)
    held = {tensor.name for tensor in named.graph.initializer}
    (entry,) = (value.name for value in named.graph.input if value.name not in held)
    new = {entry: "normalised", named.graph.output[0].name: "raw"}
    for node in named.graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
    nodes = [*parser.parse_graph(_FRONT % repr(1 / 127.5)).node, *named.graph.node, *parser.parse_graph(_TAILS[spec.family]).node]
    ends = [[_value(tensor.name, tensor.dtype, tensor.shape) for tensor in tensors] for tensors in (spec.inputs, spec.outputs)]
    assembled = helper.make_graph(nodes, spec.name, *ends, initializer=list(named.graph.initializer))
    return helper.make_model(assembled, opset_imports=[helper.make_opsetid("", graph.OPSET)], ir_version=min(8, graph.MAX_IR_VERSION))


def read(file: Path) -> onnx.ModelProto:
    """The file's graph. Raises ConfigError for what is no ONNX file."""
    try:
        model = onnx.load(str(file))
    except (DecodeError, OSError, ValueError) as error:
        raise ConfigError(f"{file} is no ONNX file: {error}") from error
    if len(model.graph.output) != 1:
        raise ConfigError(f"{file} has {len(model.graph.output)} outputs; a file of PP-OCR has one")
    return model


def characters(core: onnx.ModelProto, file: Path) -> tuple[str, ...]:
    """The recogniser's classes in order: the blank, what the file's metadata lists, the space. Raises ConfigError when they do not fit its output."""
    listed = next((entry.value for entry in core.metadata_props if entry.key == CHARACTERS), None)
    if listed is None:
        raise ConfigError(f"{file} does not list its characters (metadata key {CHARACTERS!r}); take the file that rapidocr publishes")
    found = ("", *listed.split("\n"), " ")
    sizes = core.graph.output[0].type.tensor_type.shape.dim
    classes = sizes[-1].dim_value if sizes else 0
    if classes and classes != len(found):
        raise ConfigError(f"{file} has {classes} classes and lists {len(found) - 2} characters, which does not fit")
    return found


def _without_shapes(core: onnx.ModelProto) -> onnx.ModelProto:
    """Inner shapes go: they were inferred for the file's own names of its sizes, and none of them is needed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(core)
    del copy.graph.value_info[:]
    return copy


def _at_our_opset(core: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return version_converter.convert_version(core, graph.OPSET)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"the file cannot be brought to opset {graph.OPSET}: {str(error).splitlines()[0]}") from error


def _value(name: str, dtype: str, shape: Sequence[int]) -> onnx.ValueInfoProto:
    sizes = [graph.BATCH, *(size if size > 0 else f"{name}_{axis}" for axis, size in enumerate(shape))]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(DTYPES[dtype])), sizes)
