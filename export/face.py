"""Faces: the detector and the embedder of an InsightFace pack. Before one is installed it is compared with single runs of the pack's own file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from export import face_graph, graph, packs, parity
from export.digests import digest
from export.install import Built
from export.packs import Pack
from export.wanted import Original, Wanted
from export.weights import Extras, Weights
from kizu_fast import specs
from kizu_fast.backends.onnx import refusals
from kizu_fast.errors import ConfigError
from kizu_fast.models import arcface, scrfd
from kizu_fast.specs import Family, ModelSpec

PARITY_PICTURES = 3  # in each bucket
MAX_DIFFERENCE = 1e-4  # of a score; of a box or point in model pixels 1e-2


def load(original: Original, weights: Weights) -> Pack:
    """Which files of the pack do what. Raises ConfigError for one that cannot be read."""
    if weights.path is None:
        raise ConfigError(f"{original}: packs of InsightFace are ONNX files, there are no random weights for them")
    return packs.read(weights.path)


def build(pack: Pack, wanted: Wanted, folder: Path, _extras: Extras) -> Built:
    """Write one graph below folder. Raises ConfigError when its file is missing, unknown, or parity fails."""
    path = folder / "1" / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    return _detector(packs.detector(pack), wanted, path) if wanted.family is Family.FACE_DETECTOR else _embedder(packs.embedder(pack), wanted, path)


def _detector(file: Path, wanted: Wanted, path: Path) -> Built:
    spec = specs.scrfd(wanted.name)
    onnx.save(face_graph.detector(file, spec), str(path))
    graph.declare(path, spec)
    facts = graph.check(path, spec)
    figures = detector_parity(file, spec, path)
    parity.demand(wanted.name, figures)
    return Built(spec, {**facts, "file": file.name, "parity": figures}, digest(file))


def _embedder(file: Path, wanted: Wanted, path: Path) -> Built:
    sha256 = digest(file)
    original = _Original(file)
    dim = int(original.run(np.zeros((1, 3, specs.FACE_CROP, specs.FACE_CROP), np.float32))[0].shape[1])
    space = f"insightface/{file.stem}/a1/{sha256[:8]}"
    spec = specs.arcface(wanted.name, dim=dim, space=space)
    onnx.save(face_graph.embedder(file, spec), str(path))
    graph.declare(path, spec)
    facts = graph.check(path, spec)
    figures = embedder_parity(original, normalised=face_graph.normalises(onnx.load(str(file))), spec=spec, path=path)
    parity.demand(wanted.name, figures)
    return Built(spec, {**facts, "file": file.name, "parity": figures}, sha256)


class _Original:
    """The pack's own file, as insightface runs it: one picture at a time."""

    def __init__(self, file: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except refusals() as error:
            raise ConfigError(f"{file}: onnxruntime refuses it: {str(error).splitlines()[0]}") from error
        self._input = self._session.get_inputs()[0].name

    def run(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """(1, 3, H, W) to all outputs."""
        return list(self._session.run(None, {self._input: batch}))


def planes(pixels: NDArray[np.uint8], mean: float, deviation: float) -> NDArray[np.float32]:
    """(H, W, 3) RGB to the (1, 3, H, W) that a pack's file takes."""
    return ((pixels.astype(np.float32) - np.float32(mean)) * np.float32(1 / deviation)).transpose(2, 0, 1)[None]


def decoded(heads: Sequence[NDArray[np.float32]], width: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Nine heads of one picture to scores (A,), boxes (A, 4) and landmarks (A, 10) of every anchor, in model pixels: our graph's tail, in numpy."""
    found = []
    for level, stride in enumerate(face_graph.STRIDES):
        scores, sides, offsets = (heads[level + 3 * part].reshape(-1, size) for part, size in enumerate((1, 4, 10)))
        cell = np.arange(len(scores)) // 2
        centre = np.stack((cell % (width // stride), cell // (width // stride)), axis=1).astype(np.float32) * stride
        boxes = np.hstack((centre - sides[:, :2] * stride, centre + sides[:, 2:] * stride))
        found.append((scores[:, 0], boxes, np.tile(centre, 5) + offsets * stride))
    scores, boxes, points = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return scores, boxes, points


def detector_parity(file: Path, spec: ModelSpec, path: Path) -> dict[str, Any]:
    """Every bucket, as a batch of three and alone, against single runs of the unmodified file; the heads before decoding are equal bit by bit."""
    original, session = _Original(file), graph.Session(path)
    photos = parity.pictures(PARITY_PICTURES)
    worst = {"score_difference": 0.0, "box_difference_px": 0.0, "landmark_difference_px": 0.0, "batch_difference": 0.0}
    for bucket in spec.buckets:
        rows = [{"pixels": scrfd.framed(photo, scrfd.frame_for(photo.height, photo.width, bucket))} for photo in photos]
        together = session.run(spec.stack(rows))
        for i, row in enumerate(rows):
            alone = session.run(spec.stack([row]))
            scores, boxes, points = decoded(original.run(planes(row["pixels"], 127.5, 128)), bucket[1])
            best = np.argsort(-scores, kind="stable")[: spec.outputs[0].shape[0]]
            for key, wanted in (("score_difference", scores), ("box_difference_px", boxes), ("landmark_difference_px", points)):
                name = {"score_difference": "scores", "box_difference_px": "boxes", "landmark_difference_px": "landmarks"}[key]
                worst[key] = max(worst[key], float(np.abs(together[name][i] - wanted[best]).max()))
                worst["batch_difference"] = max(worst["batch_difference"], float(np.abs(alone[name][0] - together[name][i]).max()))
    return {**worst, "pictures": PARITY_PICTURES * len(spec.buckets), "batches": list(parity.BATCHES)}


def embedder_parity(original: _Original, *, normalised: bool, spec: ModelSpec, path: Path) -> dict[str, Any]:
    """Crops of rendered pictures, as a batch and alone, against single runs of the unmodified file."""
    session = graph.Session(path)
    mean, deviation = (0.0, 1.0) if normalised else (127.5, 127.5)
    crops = [photo.pixels[: specs.FACE_CROP, : specs.FACE_CROP] for photo in parity.pictures(2 * PARITY_PICTURES)]
    rows = [{"pixels": np.ascontiguousarray(crop)} for crop in crops]
    together = session.run(spec.stack(rows))["face_features"]
    alone = np.concatenate([session.run(spec.stack([row]))["face_features"] for row in rows])
    theirs = np.concatenate([original.run(planes(crop, mean, deviation))[0] for crop in crops])
    units = np.stack([arcface.postprocess(row) for row in theirs / np.linalg.norm(theirs, axis=1, keepdims=True)])
    figures = parity.compare_vectors(np.asarray(together, np.float32), units)
    return {**figures, "batch_difference": float(np.abs(alone - together).max()), "pictures": len(crops), "batches": [1, len(crops)]}
