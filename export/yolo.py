"""YOLOv8 n to x: letterboxed uint8 in, the best 1000 candidates out; decoding of the head, class choice and top-k are in the graph."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel

from export import graph, parity
from export.install import Built
from export.tensors import tensor_difference, tensors_digest
from export.wanted import Original, Wanted
from export.weights import Extras, Weights
from kizu_fast import specs
from kizu_fast.errors import ConfigError
from kizu_fast.models import yolo as detector
from kizu_fast.specs import ModelSpec

PARITY_PICTURES = 3  # in each bucket
LABELS = "labels.txt"


def load(original: Original, weights: Weights) -> Any:
    """The fused detection model, ready to trace. Raises ConfigError when the file is no YOLOv8 of that size."""
    if weights.path is None:
        torch.manual_seed(0)
        model = YOLO(f"{original.model}.yaml", task="detect").model
    else:
        model = _read(weights.path)
        _check_architecture(model, original, weights.path)
    return model.float().eval().fuse(verbose=False)


def _read(path: Path) -> Any:
    try:
        model = YOLO(str(path)).model
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, EOFError, OSError, ImportError) as error:
        raise ConfigError(
            f"{path} is no YOLO checkpoint: {str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}"
        ) from error
    if not isinstance(model, DetectionModel):
        raise ConfigError(f"{path} is no YOLO detection model but a {type(model).__name__}")
    return model


def _check_architecture(model: Any, original: Original, path: Path) -> None:
    expected = DetectionModel(f"{original.model}.yaml", nc=len(model.names), verbose=False)
    difference = tensor_difference(*({name: list(value.shape) for name, value in each.state_dict().items()} for each in (expected, model)))
    if difference:
        raise ConfigError(f"{path} does not fit {original.model}: {difference}")


class Detector(torch.nn.Module):  # type: ignore[misc]  # torch is not in the development environment
    """uint8 NHWC to the best candidates before suppression."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        head = model.model[-1]
        head.export, head.dynamic, head.format = True, True, "onnx"

    def forward(self, pixels: Any) -> tuple[Any, Any, Any]:
        """(B, H, W, 3) uint8 to boxes (B, 1000, 4) xyxy in model pixels, scores (B, 1000) best first, classes (B, 1000) int32."""
        boxes, scores = self.every_anchor(pixels)
        best, classes = scores.max(dim=2)
        top, index = best.topk(specs.YOLO_CANDIDATES, dim=1)
        return boxes.gather(1, index[..., None].expand(-1, -1, 4)), top, classes.gather(1, index).to(torch.int32)

    def every_anchor(self, pixels: Any) -> tuple[Any, Any]:
        """The original's own answer: boxes (B, A, 4) xyxy in model pixels, scores (B, A, classes)."""
        raw = self.model(pixels.permute(0, 3, 1, 2).float() / 255).transpose(1, 2)
        centre, half = raw[..., :2], raw[..., 2:4] / 2
        return torch.cat((centre - half, centre + half), dim=2), raw[..., 4:]


def build(model: Any, wanted: Wanted, folder: Path, _extras: Extras) -> Built:
    """Write graph and labels below folder. Raises ConfigError when parity fails."""
    labels = tuple(model.names[i] for i in range(len(model.names)))
    spec = specs.yolo(wanted.name, labels=labels)
    path = folder / "1" / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    (folder / LABELS).write_text("\n".join(labels) + "\n", encoding="utf-8")
    tower = Detector(model).eval().requires_grad_(requires_grad=False)
    axes = {spec.inputs[0].name: {0: graph.BATCH, 1: "height", 2: "width"}, **{output.name: {0: graph.BATCH} for output in spec.outputs}}
    # The older exporter: 1 s instead of 30, and its graph runs 5 % faster (docs/decisions/006-export.md).
    torch.onnx.export(
        tower,
        (torch.zeros(2, 480, 640, 3, dtype=torch.uint8),),
        str(path),
        dynamo=False,
        opset_version=graph.OPSET,
        input_names=[spec.inputs[0].name],
        output_names=[output.name for output in spec.outputs],
        dynamic_axes=axes,
    )
    graph.declare(path, spec)
    facts = graph.check(path, spec)
    figures = _parity(tower, spec, path)
    parity.demand(wanted.name, figures)
    return Built(spec, {**facts, "parity": figures}, tensors_digest(model))


def _parity(tower: Detector, spec: ModelSpec, path: Path) -> dict[str, Any]:
    """Every bucket, alone and as a batch of three, through the same preprocess as at run time."""
    session, found = graph.Session(path), []
    photos = parity.pictures(PARITY_PICTURES)
    drift = 0.0
    for bucket in spec.buckets:
        rows = [{"pixels": detector.preprocess(photo, bucket)[0]} for photo in photos]
        together = session.run(spec.stack(rows))
        boxes, scores = (value.numpy() for value in tower.every_anchor(torch.from_numpy(spec.stack(rows)["pixels"])))
        found += [parity.compare_candidates({key: value[i] for key, value in together.items()}, boxes[i], scores[i]) for i in range(len(rows))]
        alone = session.run(spec.stack(rows[:1]))
        found.append(parity.compare_candidates({key: value[0] for key, value in alone.items()}, boxes[0], scores[0]))
        drift = max(drift, float(np.abs(alone["scores"][0] - together["scores"][0]).max()))
    return {**parity.worst(found), "batch_difference": drift, "pictures": len(found), "batches": list(parity.BATCHES)}
