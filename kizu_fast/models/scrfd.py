"""SCRFD: the picture at the top left of a bucket before the graph; score cut, merging of both sizes and suppression after it.

Sizes, thresholds and roundings are those of insightface's FaceAnalysis with its defaults, so that the same faces come out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kizu_fast.domain import Photo
from kizu_fast.errors import PermanentError

MIN_SCORE = 0.5
MAX_IOU = 0.4


@dataclass(frozen=True, slots=True)
class Frame:
    """How an upright original lies in a bucket: scaled, at the top left, black beside and below it."""

    bucket: tuple[int, int]  # (height, width)
    gain: float  # model pixels per original pixel, of both axes
    inner_height: int
    inner_width: int


@dataclass(frozen=True, slots=True)
class Candidates:
    """Faces found in one photo, best first. Pixels of the upright original."""

    boxes_xyxy: NDArray[np.float32]  # (N, 4), not clipped
    scores: NDArray[np.float32]  # (N,)
    landmarks: NDArray[np.float32]  # (N, 5, 2)


def frame_for(height: int, width: int, bucket: tuple[int, int]) -> Frame:
    """The largest frame of an original in a bucket. The shorter side is cut to whole pixels, one at least."""
    if height / width > bucket[0] / bucket[1]:
        inner_height, inner_width = bucket[0], max(int(bucket[0] / (height / width)), 1)
    else:
        inner_height, inner_width = max(int(bucket[1] * (height / width)), 1), bucket[1]
    return Frame(bucket, inner_height / height, inner_height, inner_width)


def framed(photo: Photo, frame: Frame) -> NDArray[np.uint8]:
    """(*bucket, 3) RGB for the graph."""
    picture = np.zeros((*frame.bucket, 3), np.uint8)
    size = (frame.inner_width, frame.inner_height)
    picture[: frame.inner_height, : frame.inner_width] = cv2.resize(photo.pixels, size, interpolation=cv2.INTER_LINEAR)
    return picture


def candidates(outputs: Mapping[str, NDArray[np.generic]], frame: Frame, *, min_score: float = MIN_SCORE) -> Candidates:
    """One row of the graph (boxes (K, 4), scores (K,), landmarks (K, 10) in model pixels) to faces in the original, before suppression.

    Raises PermanentError when a value is not finite: a broken model or device.
    """
    scores = np.asarray(outputs["scores"], np.float32)
    if not np.isfinite(scores).all():
        raise PermanentError("face scores are not finite: the model file or the device is broken")
    chosen = np.flatnonzero(scores >= min_score)
    boxes = np.asarray(outputs["boxes"], np.float32)[chosen]
    points = np.asarray(outputs["landmarks"], np.float32)[chosen]
    if not (np.isfinite(boxes).all() and np.isfinite(points).all()):
        raise PermanentError("face boxes are not finite: the model file or the device is broken")
    return Candidates((boxes / frame.gain).astype(np.float32), scores[chosen], (points / frame.gain).astype(np.float32).reshape(-1, 5, 2))


def merged(found: Sequence[Candidates], *, max_iou: float = MAX_IOU) -> Candidates:
    """What all sizes found, best first, without those that a better one covers."""
    scores = np.concatenate([each.scores for each in found])
    order = np.argsort(-scores, kind="stable")
    boxes = np.concatenate([each.boxes_xyxy for each in found])[order]
    kept = order[suppressed(boxes, max_iou=max_iou)]
    landmarks = np.concatenate([each.landmarks for each in found])
    return Candidates(np.concatenate([each.boxes_xyxy for each in found])[kept], scores[kept], landmarks[kept])


def suppressed(boxes: NDArray[np.float32], *, max_iou: float) -> NDArray[np.intp]:
    """Greedy suppression of (N, 4) boxes that are sorted best first: indices of those that stay.

    Pixels count as inclusive (a box is one longer and wider than its corners differ), as in the detector's own library.
    """
    low, high = boxes[:, :2], boxes[:, 2:] + 1
    areas = (high - low).prod(axis=1)
    left = np.arange(len(boxes))
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        overlap = np.clip(np.minimum(high[best], high[left]) - np.maximum(low[best], low[left]), 0, None).prod(axis=1)
        left = left[overlap <= max_iou * (areas[best] + areas[left] - overlap)]
    return np.array(kept, np.intp)
