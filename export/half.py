"""fp16 variants of exported graphs: bytes in and float32 out as before, the arithmetic between in half precision.

What comes after the last large operator (a head's decoding, a norm, a choice of the best) stays in fp32: it costs nothing, and pixels
above 512 have steps of half a pixel in fp16. The converter is onnxruntime's own (onnxruntime.transformers.float16).
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.transformers.float16 import convert_float_to_float16

from export import graph, parity, strings
from kizu_fast.errors import ConfigError
from kizu_fast.geometry import iou_matrix
from kizu_fast.models import clip, clip_text, scrfd, yolo
from kizu_fast.specs import Family, ModelSpec

MIN_COSINE: Mapping[Family, float] = {Family.CLIP_IMAGE: 0.999, Family.CLIP_TEXT: 0.999, Family.FACE_EMBEDDER: 0.995}
MIN_IOU, MAX_SCORE_DIFFERENCE = 0.9, 0.03  # of objects and faces that are surely there; mAP is measured by python -m export.halves
SURE = 0.4
_LARGE = {"Conv", "ConvTranspose", "MatMul", "Gemm", "LSTM"}
_FEWEST_WEIGHTS = 1000  # a convolution with fewer is a head's arithmetic, e.g. YOLOv8's mean over 16 bins
PICTURES, TEXTS = 4, 32


def convert(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph in fp16. Inputs and outputs keep names, types and shapes."""
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"  # exporters leave some empty, and the converter goes by names
    _drop_empty_inputs(model)
    blocked = tail(model)
    model = onnx.shape_inference.infer_shapes(model)
    for value in [value for value in model.graph.value_info if not value.name]:
        model.graph.value_info.remove(value)  # the converter would take an input that is left out for a tensor
    halved = convert_float_to_float16(model, keep_io_types=True, node_block_list=blocked, disable_shape_infer=True)
    _sort(halved)
    return halved


def _drop_empty_inputs(model: onnx.ModelProto) -> None:
    """Older exporters leave an input of Resize out by a constant without elements: a cast of it would look like one that is given."""
    empty = {tensor.name for tensor in model.graph.initializer if 0 in tensor.dims}
    for node in model.graph.node:
        if node.op_type == "Resize":
            for place, name in enumerate(node.input):
                if name in empty:
                    node.input[place] = ""


def _sort(model: onnx.ModelProto) -> None:
    """Nodes in the order of use, as ONNX demands: the converter puts its casts at the end."""
    known = {"", *(tensor.name for tensor in model.graph.initializer), *(value.name for value in model.graph.input)}
    waiting = list(model.graph.node)
    del model.graph.node[:]
    while waiting:
        ready = [node for node in waiting if known.issuperset(node.input)]
        if not ready:
            raise ConfigError(f"the graph has a circle or an input that nothing makes, at {waiting[0].name}")
        model.graph.node.extend(ready)
        known.update(name for node in ready for name in node.output)
        done = {node.name for node in ready}
        waiting = [node for node in waiting if node.name not in done]


def tail(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that no large operator follows."""
    weights = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    feeds_large: set[str] = set()  # values that reach a large operator
    found = []
    for node in reversed(model.graph.node):
        large = node.op_type in _LARGE and weights.get(node.input[1], _FEWEST_WEIGHTS) >= _FEWEST_WEIGHTS
        if large or feeds_large.intersection(node.output):
            feeds_large.update(node.input)
        else:
            found.append(node.name)
    return found


def write(source: Path, spec: ModelSpec, folder: Path) -> dict[str, int]:
    """The variant's graph and the files beside it, below folder. spec carries the variant's name. Raises ConfigError for a graph that is unusable."""
    path = folder / "1" / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(convert(onnx.load(str(source / "1" / "model.onnx"))), str(path))
    graph.declare(path, spec)
    for beside in ("tokenizer.json", "labels.txt"):
        if (source / beside).exists():
            shutil.copyfile(source / beside, folder / beside)
    return graph.check(path, spec)


def agreement(spec: ModelSpec, full: Path, half: Path, tokenizer: Path) -> dict[str, Any]:
    """Figures of the variant against the fp32 graph on rendered pictures, or on texts."""
    batches = [spec.stack([row]) for row in rows(spec, tokenizer)]
    return figures(spec, *([one.run(batch) for batch in batches] for one in (graph.Session(full), session(half))))


def session(path: Path) -> graph.Session:
    """A variant in onnxruntime on the CPU. Its rearrangement of fp16 convolutions ends in a segmentation fault (1.32): left out here."""
    return graph.Session(path, rearranged=False)


def figures(spec: ModelSpec, whole: list[dict[str, Any]], other: list[dict[str, Any]]) -> dict[str, Any]:
    """Answers to the same rows, one batch of one a row: cosines for vectors, overlap and scores for boxes. whole is what other should be."""
    if spec.family in MIN_COSINE:
        name = spec.outputs[0].name
        ours, theirs = (np.asarray(np.concatenate([answer[name] for answer in side]), np.float32) for side in (other, whole))
        return {**parity.compare_vectors(ours, theirs), "rows": len(whole)}
    return {**candidates(whole, other), "rows": len(whole)}


def candidates(whole: list[dict[str, Any]], halved: list[dict[str, Any]]) -> dict[str, float]:
    """How well the sure candidates of the fp32 graph are found again: smallest overlap with the best partner, largest difference of its score."""
    overlap, difference = [1.0], [0.0]
    for ours, theirs in zip(halved, whole, strict=True):
        sure = theirs["scores"][0] >= SURE
        if sure.any():
            iou = iou_matrix(np.concatenate((theirs["boxes"][0][sure], ours["boxes"][0])))[: sure.sum(), sure.sum() :]
            partner = iou.argmax(axis=1)
            overlap.append(float(iou.max(axis=1).min()))
            difference.append(float(np.abs(theirs["scores"][0][sure] - ours["scores"][0][partner]).max()))
    return {"iou_min": min(overlap), "score_difference": max(difference)}


def demand(name: str, family: Family, figures: Mapping[str, Any]) -> None:
    """Raises ConfigError, naming figure and bound, when the variant is too far from the fp32 graph: nothing may be installed then."""
    bounds = {"cosine_min": MIN_COSINE[family]} if family in MIN_COSINE else {"iou_min": MIN_IOU}
    for key, bound in bounds.items():
        if not figures[key] >= bound:
            raise ConfigError(f"{name}: parity with fp32 failed, {key} {figures[key]:.6f} is below {bound}; nothing was installed, fp32 stays in use")
    if family not in MIN_COSINE and not figures["score_difference"] <= MAX_SCORE_DIFFERENCE:
        worst = figures["score_difference"]
        raise ConfigError(f"{name}: parity with fp32 failed, score_difference {worst:.3g} is above {MAX_SCORE_DIFFERENCE}; nothing was installed")


def rows(spec: ModelSpec, tokenizer: Path) -> list[dict[str, NDArray[Any]]]:
    """Inputs that show a family's arithmetic: rendered pictures, one in every bucket, or texts in many scripts."""
    name = spec.inputs[0].name
    if spec.family is Family.CLIP_TEXT:
        ids = clip_text.load_tokenizer(tokenizer, spec.inputs[0].shape[0], spec.preprocessing)
        return [{name: ids(text)} for text in strings.texts(TEXTS)]
    photos = parity.pictures(PICTURES)
    if spec.family is Family.CLIP_IMAGE:
        return [{name: clip.preprocess(photo, spec.inputs[0].shape[0], spec.preprocessing)} for photo in photos]
    if spec.family is Family.YOLO:
        return [{name: yolo.preprocess(photo, bucket)[0]} for photo, bucket in zip(photos, spec.buckets, strict=False)]
    if spec.family is Family.FACE_DETECTOR:
        buckets = zip(photos, spec.buckets, strict=False)
        return [{name: scrfd.framed(photo, scrfd.frame_for(photo.height, photo.width, bucket))} for photo, bucket in buckets]
    height, width, _ = spec.inputs[0].shape
    return [{name: np.ascontiguousarray(photo.pixels[:height, :width])} for photo in photos]
