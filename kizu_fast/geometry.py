"""Boxes and letterboxes: plain arithmetic on arrays. Boxes are xyxy floats, x right, y down, half-open."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

PADDING_GREY = 114  # what YOLO saw around its training pictures


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How an upright original (height, width) lies inside a bucket: scaled by gain, centred, grey around it.

    Computed from the original's size, so that a picture which the decoder scaled down lands on the same model pixels.
    """

    height: int  # of the upright original
    width: int
    bucket: tuple[int, int]  # (height, width) of the model's input
    gain: float  # model pixels per original pixel
    inner_height: int  # of the scaled picture, without padding
    inner_width: int
    top: int  # padding above and left of it
    left: int

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(h, w, 3) of any scale of the original to (*bucket, 3)."""
        if pixels.shape[:2] != (self.inner_height, self.inner_width):
            pixels = np.asarray(cv2.resize(pixels, (self.inner_width, self.inner_height), interpolation=cv2.INTER_LINEAR), np.uint8)
        framed = np.full((*self.bucket, 3), PADDING_GREY, np.uint8)
        framed[self.top : self.top + self.inner_height, self.left : self.left + self.inner_width] = pixels
        return framed

    def to_photo(self, boxes_model_px: NDArray[np.floating]) -> NDArray[np.float32]:
        """(N, 4) xyxy in model pixels to pixels of the upright original, not clipped."""
        offset = np.array([self.left, self.top, self.left, self.top], np.float64)
        return ((boxes_model_px - offset) / self.gain).astype(np.float32)

    def to_model(self, boxes_photo_px: NDArray[np.floating]) -> NDArray[np.float32]:
        """(N, 4) xyxy in pixels of the upright original to model pixels."""
        offset = np.array([self.left, self.top, self.left, self.top], np.float64)
        return (boxes_photo_px * self.gain + offset).astype(np.float32)


def letterbox_for(height: int, width: int, bucket: tuple[int, int]) -> Letterbox:
    """The letterbox of an upright original, with the roundings of the library that trained the model: half a pixel of them costs accuracy."""
    gain = min(bucket[0] / height, bucket[1] / width)
    inner_height, inner_width = max(round(height * gain), 1), max(round(width * gain), 1)
    top, left = (round((whole - inner) / 2 - 0.1) for whole, inner in zip(bucket, (inner_height, inner_width), strict=True))
    return Letterbox(height, width, bucket, gain, inner_height, inner_width, top, left)


def nearest_bucket(height: int, width: int, buckets: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The (height, width) of buckets whose aspect is nearest to the photo's, by ratio. The first of equals."""
    return min(buckets, key=lambda bucket: abs(math.log(bucket[0] * width / (bucket[1] * height))))


def clip_boxes(boxes: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """(N, 4) xyxy cut to a picture of that size."""
    return np.clip(boxes, 0, np.array([width, height, width, height], np.float32))


def iou_matrix(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, 4) to (N, N) intersection over union. Two boxes without area have none: 0."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    overlap = np.clip(high - low, 0, None).prod(axis=2)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    union = area[:, None] + area[None, :] - overlap
    iou: NDArray[np.float32] = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    return iou


def nms(boxes: NDArray[np.float32], scores: NDArray[np.float32], class_ids: NDArray[np.integer], *, max_iou: float) -> NDArray[np.intp]:
    """Greedy suppression within each class: indices of the boxes that stay, best first; equal scores keep their order."""
    order = np.argsort(-scores, kind="stable")
    ranked_boxes, ranked_ids = boxes[order], class_ids[order]
    covers = (iou_matrix(ranked_boxes) > max_iou) & (ranked_ids[:, None] == ranked_ids[None, :])
    stays = np.ones(len(order), bool)
    for i in range(len(order)):
        if stays[i]:
            stays[i + 1 :] &= ~covers[i, i + 1 :]
    return order[stays]
