"""YOLOv8: letterbox before the graph; score cut, suppression and the way back to the photo after it."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from kizu_fast.domain import Detections, Photo
from kizu_fast.errors import PermanentError
from kizu_fast.geometry import Letterbox, clip_boxes, letterbox_for, nms

MAX_IOU = 0.7
MAX_DETECTIONS = 300


def preprocess(photo: Photo, bucket: tuple[int, int]) -> tuple[NDArray[np.uint8], Letterbox]:
    """(*bucket, 3) for the graph, and the way back. bucket is (height, width), see geometry.nearest_bucket."""
    box = letterbox_for(photo.height, photo.width, bucket)
    return box.apply(photo.pixels), box


def postprocess(
    outputs: Mapping[str, NDArray[np.generic]],
    box: Letterbox,
    *,
    labels: Sequence[str],
    min_score: float,
    max_iou: float = MAX_IOU,
    max_detections: int = MAX_DETECTIONS,
) -> Detections:
    """One row of the graph (boxes (K, 4) xyxy in model pixels, scores (K,), classes (K,)) to detections in the original, best first.

    Raises PermanentError when a candidate's score or box is not finite, or its class has no label: a broken model or device.
    """
    scores = np.asarray(outputs["scores"], np.float32)
    if not np.isfinite(scores).all():
        raise PermanentError("object scores are not finite: the model file or the device is broken")
    chosen = np.flatnonzero(scores > min_score)
    boxes = np.asarray(outputs["boxes"], np.float32)[chosen]
    class_ids = np.asarray(outputs["classes"], np.int64)[chosen]
    _check(boxes, class_ids, len(labels))
    kept = nms(boxes, scores[chosen], class_ids, max_iou=max_iou)[:max_detections]
    return Detections(
        boxes_xyxy=clip_boxes(box.to_photo(boxes[kept]), box.height, box.width),
        scores=scores[chosen][kept],
        class_ids=class_ids[kept],
        labels=tuple(labels[i] for i in class_ids[kept]),
    )


def _check(boxes: NDArray[np.float32], class_ids: NDArray[np.int64], known: int) -> None:
    if not np.isfinite(boxes).all():
        raise PermanentError("object boxes are not finite: the model file or the device is broken")
    if len(class_ids) and not 0 <= class_ids.min() <= class_ids.max() < known:
        raise PermanentError(f"object class {int(class_ids.max())} has no label, {known} are known: the labels are of another model")
