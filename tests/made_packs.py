"""Packs of InsightFace's make with random weights: the same operators, layouts and file names, a thousandth of the size.

None of the larger packs can be had without a network, and none may be shipped. For measuring speed alone, buffalo_l at true size, SCRFD-10G and
IR-ResNet-50 as their configurations say:

    python tests/made_packs.py DIR          makes two under DIR/insightface/models: made_10g finds no face, made_10g_faces one in every picture
    FACE_MODEL_NAME=made_10g_faces python -m export --models face --weights DIR     (then: python -m benchmarks accelerators)
"""

import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 11  # of the published files
INTERLEAVED, IMAGE_MAJOR = (2, 3, 0, 1), (0, 2, 3, 1)
ANCHORS, WIDTHS = 2, (("score", 1), ("box", 4), ("point", 10))


class Made:
    """A graph under construction: values get numbers for names, as in the published files."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def node(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = str(400 + len(self.nodes))
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"{kind}_{len(self.nodes)}", **attributes))
        return name

    def weight(self, value: np.ndarray) -> str:
        name = f"weight{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def normal(self, *shape: int, scale: float = 1.0, middle: float = 0.0) -> str:
        return self.weight((middle + scale * self.random.standard_normal(shape)).astype(np.float32))

    def conv(self, value: str, into: int, out: int, *, stride: int = 1, size: int = 3) -> str:
        weights = self.normal(out, into, size, size, scale=(2 / (into * size * size)) ** 0.5)
        pads = [size // 2] * 4
        return self.node("Conv", value, weights, self.normal(out, scale=0.1), kernel_shape=[size, size], strides=[stride, stride], pads=pads)

    def batch_norm(self, value: str, channels: int) -> str:
        scale, variance = (self.weight(self.random.uniform(0.5, 1.5, channels).astype(np.float32)) for _ in range(2))
        return self.node(
            "BatchNormalization", value, scale, self.normal(channels, scale=0.1), self.normal(channels, scale=0.1), variance, epsilon=1e-5
        )

    def file(self, path: Path, shape: Sequence[object], outputs: Sequence[str]) -> Path:
        entry = helper.make_tensor_value_info("input.1", onnx.TensorProto.FLOAT, list(shape))
        ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "made", [entry], ends, initializer=self.weights)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=6), str(path))
        return path


def detector(
    path: Path, *, perm: Sequence[int] = INTERLEAVED, side: object = "?", outputs: int = 9, shared_head: bool = False, mixed_inside: bool = False
) -> Path:
    """SCRFD: three levels joined from coarse to fine, each with heads for scores, boxes and points."""
    made = Made(3)
    value, channels, levels = "input.1", 3, []
    for out in (8, 12, 16, 16, 16):
        value, channels = made.node("Relu", made.conv(value, channels, out, stride=2)), out
        levels.append(value)
    if mixed_inside:  # there and back: the numbers stay, but the batch passes through another axis
        levels[-1] = made.node("Transpose", made.node("Transpose", levels[-1], perm=[1, 0, 2, 3]), perm=[1, 0, 2, 3])
    coarse, fine = levels[4], levels[2:4][::-1]
    pyramid = [coarse]
    for level in fine:
        pyramid.append(made.node("Add", level, _twice_as_large(made, pyramid[-1])))
    heads: dict[str, list[str]] = {kind: [] for kind, _ in WIDTHS}
    for level in pyramid[::-1]:
        for kind, width in WIDTHS:
            turned = made.node("Transpose", made.conv(level, 16, ANCHORS * width), perm=list(perm))
            flat = made.node("Reshape", turned, made.weight(np.array([-1, width], np.int64)))
            heads[kind].append(made.node("Sigmoid", flat) if kind == "score" else flat)
    ends = [name for kind, _ in WIDTHS for name in heads[kind]]
    if shared_head:
        ends[4] = made.node("Identity", ends[3])
    return made.file(path, (1, 3, side, side), ends[:outputs])


def detector_10g(path: Path, *, faces: bool) -> Path:
    """SCRFD-10G at true size: 10 billion multiplications at 640 x 480. faces: the anchor of the middle level with the largest value is one."""
    made = Made(9)
    heads: dict[str, list[str]] = {kind: [] for kind, _ in WIDTHS}
    for number, level in enumerate(_two_way_pyramid(made, _backbone(made))):
        shared = level
        for into in (56, 80, 80):
            shared = made.node("Relu", made.conv(shared, into, 80))
        for kind, width in WIDTHS:
            value = made.conv(shared, 80, ANCHORS * width)
            if kind == "score":
                value = made.node("Sub", value, made.node("ReduceMax", value, axes=[1, 2, 3], keepdims=1))
                value = made.node("Add", value, made.weight(np.float32(2 if faces and number == 1 else -8)))
            flat = made.node("Reshape", made.node("Transpose", value, perm=INTERLEAVED), made.weight(np.array([-1, width], np.int64)))
            heads[kind].append(made.node("Sigmoid", flat) if kind == "score" else flat)
    return made.file(path, (1, 3, "?", "?"), [name for kind, _ in WIDTHS for name in heads[kind]])


def _backbone(made: Made) -> list[str]:
    """Residual blocks on four levels; the last three of them, 56 channels each, fine to coarse."""
    value, channels, levels = "input.1", 3, []
    for out, stride in ((28, 2), (28, 1), (56, 1)):
        value, channels = made.node("Relu", made.conv(value, channels, out, stride=stride)), out
    value = made.node("MaxPool", value, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for out, blocks, stride in ((56, 3, 1), (88, 4, 2), (88, 2, 2), (224, 3, 2)):
        for number in range(blocks):
            value, channels = _block(made, value, channels, out, stride if number == 0 else 1), out
        levels.append(made.conv(value, out, 56, size=1))
    return levels[1:]


def _block(made: Made, value: str, into: int, out: int, stride: int) -> str:
    inner = made.node("Relu", made.conv(value, into, out, stride=stride))
    if stride > 1:
        value = made.node("AveragePool", value, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    if into != out:
        value = made.conv(value, into, out, size=1)
    return made.node("Relu", made.node("Add", value, made.conv(inner, out, out)))


def _two_way_pyramid(made: Made, levels: Sequence[str]) -> list[str]:
    """Coarse to fine, and fine to coarse again."""
    fine, middle, coarse = levels
    middle = made.node("Add", middle, _twice_as_large(made, coarse))
    fine = made.node("Add", fine, _twice_as_large(made, middle))
    joined = [made.conv(level, 56, 56) for level in (fine, middle, coarse)]
    for number in (1, 2):
        joined[number] = made.conv(made.node("Add", joined[number], made.conv(joined[number - 1], 56, 56, stride=2)), 56, 56)
    return joined


def _twice_as_large(made: Made, value: str) -> str:
    scales = made.weight(np.array([1, 1, 2, 2], np.float32))
    return made.node("Resize", value, made.weight(np.zeros(0, np.float32)), scales, mode="nearest", nearest_mode="floor")


def embedder(path: Path, *, dim: int = 512, side: int = 112, batch: object = "None", normalises: bool = False) -> Path:
    """IR-ResNet: a residual block with PReLU, then batch norm, a matrix and batch norm again, not normalised to length 1."""
    made = Made(5)
    value = "input.1"
    if normalises:
        value = made.node("Sub", value, made.weight(np.array(127.5, np.float32)))
        value = made.node("Mul", value, made.weight(np.array(1 / 127.5, np.float32)))
    for into, out in ((3, 8), (8, 16), (16, 16), (16, 16)):
        slope = made.weight(np.full((out, 1, 1), 0.25, np.float32))
        value = made.node("PRelu", made.batch_norm(made.conv(value, into, out, stride=2), out), slope)
        value = made.node("Add", value, made.conv(made.batch_norm(value, out), out, out))
    flat = made.node("Flatten", made.batch_norm(value, 16), axis=1)
    cells = 16 * (side // 16) ** 2
    vector = made.node("Gemm", flat, made.normal(dim, cells, scale=cells**-0.5), made.normal(dim, scale=0.1), transB=1)
    return made.file(path, (batch, 3, side, side), [made.batch_norm(vector, dim)])


def embedder_r50(path: Path) -> Path:
    """IR-ResNet-50 at true size: 6 billion multiplications a face."""
    made = Made(11)
    value, channels = made.node("PRelu", made.conv("input.1", 3, 64), made.weight(np.full((64, 1, 1), 0.25, np.float32))), 64
    for out, blocks in ((64, 3), (128, 4), (256, 14), (512, 3)):
        for number in range(blocks):
            stride = 2 if number == 0 else 1
            inner = made.conv(made.batch_norm(value, channels), channels, out)
            inner = made.conv(made.node("PRelu", inner, made.weight(np.full((out, 1, 1), 0.25, np.float32))), out, out, stride=stride)
            if number == 0:
                value = made.conv(value, channels, out, stride=2, size=1)
            value, channels = made.batch_norm(made.node("Add", value, inner), out), out
    flat = made.node("Flatten", value, axis=1)
    cells = 512 * 7 * 7
    vector = made.node("Gemm", flat, made.normal(512, cells, scale=cells**-0.5), made.normal(512, scale=0.1), transB=1)
    return made.file(path, ("None", 3, 112, 112), [made.batch_norm(vector, 512)])


def landmarks(path: Path, side: int) -> Path:
    """The further models of a pack: one input of another size, one output."""
    made = Made(7)
    value = made.node("GlobalAveragePool", made.conv("input.1", 3, 8, stride=4))
    return made.file(path, ("None", 3, side, side), [made.node("Flatten", value, axis=1)])


def pack(folder: Path, *, detects: str = "det_10g", embeds: str | None = "w600k_r50") -> Path:
    """The five files of a full pack."""
    detector(folder / f"{detects}.onnx")
    if embeds:
        embedder(folder / f"{embeds}.onnx")
    for name, side in (("1k3d68", 192), ("2d106det", 192), ("genderage", 96)):
        landmarks(folder / f"{name}.onnx", side)
    return folder


def zipped(folder: Path, archive: Path, *, inside: str = "") -> Path:
    """The pack as it is published; inside: the folder that the archive puts it in."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w") as stored:
        for path in sorted(folder.glob("*.onnx")):
            stored.write(path, f"{inside}{path.name}")
    return archive


if __name__ == "__main__":
    for name in ("made_10g", "made_10g_faces"):
        folder = Path(sys.argv[1]) / "insightface" / "models" / name
        detector_10g(folder / "det_10g.onnx", faces=name == "made_10g_faces")
        embedder_r50(folder / "w600k_r50.onnx")
