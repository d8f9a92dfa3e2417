"""The figures of fidelity: exported models and our preprocessing against the original libraries, on real pictures."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image, ImageOps
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from ultralytics import YOLO

from export import graph, parity
from export.clip import Clip
from export.quiet import quiet
from kizu_fast.colour import srgb_from_rgb
from kizu_fast.domain import Detections, Photo
from kizu_fast.geometry import nearest_bucket
from kizu_fast.imaging import decode
from kizu_fast.models import clip as image_model
from kizu_fast.models import yolo as detector
from kizu_fast.models.labels import COCO as COCO_LABELS
from kizu_fast.specs import YOLO_BUCKETS

MAX_PIXELS, MAX_BYTES = 128_000_000, 268_435_456
LOW_SCORE = 0.001  # mAP integrates over all scores
LEVELS = 255

Detect = Callable[[Path], Detections]


class Differences(NamedTuple):
    """Mean absolute difference of the model's input to open_clip's own, in 8-bit levels, over some pictures."""

    mean: float
    worst: float
    worst_file: str
    pictures: int


def read(path: Path, *, exact: bool = False) -> Photo:
    """A picture as the worker decodes it: scaled by the DCT, or exact. Raises PermanentError."""
    data = path.read_bytes()
    return (
        decode(data, max_pixels=MAX_PIXELS, max_bytes=MAX_BYTES, short_side=None)
        if exact
        else decode(data, max_pixels=MAX_PIXELS, max_bytes=MAX_BYTES)
    )[0]


def reference(path: Path) -> Image.Image:
    """The picture as the original design reads it: Pillow's full decode, turned upright, RGB. Colours are brought to sRGB as ours are.

    (open_clip leaves ICC profiles out: an Adobe RGB picture is 3 to 5 levels away from its own colours there.)
    """
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    return Image.fromarray(srgb_from_rgb(np.asarray(upright), upright.info.get("icc_profile")))


def preprocessing(paths: Sequence[Path], *, side: int = 224) -> tuple[Differences, Differences]:
    """Our decode and preprocess against the full decode and open_clip's own transform: as the worker decodes by default, and exact."""
    transform = image_transform_v2(PreprocessCfg(size=side, mean=(0, 0, 0), std=(1, 1, 1)), is_train=False)
    scaled: dict[str, float] = {}
    exact: dict[str, float] = {}
    for path in paths:
        theirs = transform(reference(path)).permute(1, 2, 0).numpy() * LEVELS
        for found, whole in ((scaled, False), (exact, True)):
            found[path.name] = float(np.abs(image_model.preprocess(read(path, exact=whole), side).astype(np.float64) - theirs).mean())
    return _summary(scaled), _summary(exact)


def _summary(found: dict[str, float]) -> Differences:
    worst = max(found, key=found.__getitem__)
    return Differences(float(np.mean(list(found.values()))), found[worst], worst, len(found))


def clip_vectors(clip: Clip, model: Path, paths: Sequence[Path]) -> dict[str, float]:
    """Our whole way in exact mode (decode, preprocess, graph, postprocess) against open_clip's (Pillow, transform, encode_image)."""
    session = graph.Session(model)
    transform = image_transform_v2(PreprocessCfg(**clip.model.visual.preprocess_cfg), is_train=False)
    ours, theirs = [], []
    with torch.no_grad():
        for path in paths:
            row = image_model.preprocess(read(path, exact=True), clip.side, clip.steps)
            ours.append(image_model.postprocess(session.run({"pixels": row[None]})["image_features"][0]))
            theirs.append(clip.model.encode_image(transform(reference(path))[None], normalize=True)[0].numpy())
    return parity.compare_vectors(np.stack(ours), np.stack(theirs))


def graph_vectors(clip: Clip, model: Path, paths: Sequence[Path]) -> dict[str, float]:
    """The graph alone: the same uint8 tensors into onnxruntime and into open_clip with the same weights."""
    session = graph.Session(model)
    mean, std = (np.array(clip.model.visual.preprocess_cfg[key], np.float32) for key in ("mean", "std"))
    rows = [image_model.preprocess(read(path), clip.side, clip.steps) for path in paths]
    ours = np.concatenate([session.run({"pixels": np.stack(rows[i : i + 8])})["image_features"] for i in range(0, len(rows), 8)])
    with torch.no_grad():
        tensors = [torch.from_numpy(((row / np.float32(LEVELS) - mean) / std).astype(np.float32)).permute(2, 0, 1)[None] for row in rows]
        theirs = torch.cat([clip.model.encode_image(tensor, normalize=True) for tensor in tensors]).numpy()
    return parity.compare_vectors(ours, theirs)


class Detector:
    """The exported detector as the worker runs it."""

    def __init__(self, session: graph.Runs, labels: Sequence[str] = COCO_LABELS) -> None:
        self._session, self._labels = session, tuple(labels)

    def __call__(self, path: Path, *, min_score: float = LOW_SCORE) -> Detections:
        """Decode, preprocess, graph, postprocess of one file."""
        photo = read(path)
        tensor, box = detector.preprocess(photo, nearest_bucket(photo.height, photo.width, YOLO_BUCKETS))
        row = {name: batch[0] for name, batch in self._session.run({"pixels": tensor[None]}).items()}
        return detector.postprocess(row, box, labels=self._labels, min_score=min_score)


class Ultralytics:
    """The original library's own predict, at our letterbox shape or at its own."""

    def __init__(self, weights: Path, *, same_shape: bool) -> None:
        with quiet():
            self._model = YOLO(str(weights))
        self._same_shape = same_shape

    def __call__(self, path: Path, *, min_score: float = LOW_SCORE) -> Detections:
        """Its detections of one file."""
        pixels = np.asarray(cv2.imread(str(path)), np.uint8)
        height, width = pixels.shape[:2]
        shape: dict[str, Any] = {"imgsz": list(nearest_bucket(height, width, YOLO_BUCKETS)), "rect": False} if self._same_shape else {"imgsz": 640}
        with quiet():
            found = self._model.predict(
                pixels, conf=min_score, iou=detector.MAX_IOU, max_det=detector.MAX_DETECTIONS, verbose=False, device="cpu", **shape
            )[0].boxes
        ids: NDArray[np.int64] = found.cls.numpy().astype(np.int64)
        return Detections(found.xyxy.numpy(), found.conf.numpy(), ids, tuple(COCO_LABELS[i] for i in ids))


def mean_average_precision(detect: Detect, folder: Path) -> tuple[float, float]:
    """(mAP50-95, mAP50) by pycocotools over a folder with COCO's truth.json, whose categories say their yolo_index."""
    with quiet():
        truth = COCO(str(_with_areas(folder)))
        category = {entry["yolo_index"]: entry["id"] for entry in truth.dataset["categories"]}
        found = [
            {"image_id": image["id"], "category_id": category[int(i)], "bbox": [x0, y0, x1 - x0, y1 - y0], "score": float(score)}
            for image in truth.dataset["images"]
            for (x0, y0, x1, y1), score, i in _rows(detect(folder / image["file_name"]))
            if int(i) in category
        ]
        evaluation = COCOeval(truth, truth.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[1])


def _rows(found: Detections) -> list[tuple[list[float], float, int]]:
    return list(zip(found.boxes_xyxy.astype(float).tolist(), found.scores.tolist(), found.class_ids.tolist(), strict=True))


def _with_areas(folder: Path) -> Path:
    """truth.json itself: pycocotools needs area and iscrowd in each annotation. Raises KeyError for a file that lacks them."""
    path = folder / "truth.json"
    missing = [key for key in ("area", "iscrowd") if key not in json.loads(path.read_text(encoding="utf-8"))["annotations"][0]]
    if missing:
        raise KeyError(f"{path}: annotations lack {', '.join(missing)}")
    return path
