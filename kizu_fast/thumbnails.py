"""Faces as small pictures: a square around the box, upright, in two sizes, WebP without metadata. Pure."""

import hashlib
import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kizu_fast.domain import Photo, Thumbnail

SIDES = (112, 224)  # pixels
MARGIN = 0.25  # of the box's longer side, on each side of it

_QUALITY, _EFFORT = 80, 1  # effort 4, WebP's default, takes 2.5 times as long for files a fifth smaller


def thumbnail(photo: Photo, box_xyxy: NDArray[np.floating]) -> Thumbnail:
    """A face's pictures. box_xyxy (4,) is in pixels of the upright original."""
    square = cut_square(photo, box_xyxy)
    small, large = (_webp(_scaled(square, side)) for side in SIDES)
    return Thumbnail(hashlib.sha256(small + large).hexdigest()[:32], small, large)


def cut_square(photo: Photo, box_xyxy: NDArray[np.floating]) -> NDArray[np.uint8]:
    """(n, n, 3) of the decoded picture: the box with MARGIN around it, moved into the picture where it would stick out.

    A picture that is narrower than the square is continued by its edge.
    """
    height, width = photo.pixels.shape[:2]
    scale = np.array([width / photo.width, height / photo.height])
    low, high = (np.asarray(corner, np.float64) * scale for corner in (box_xyxy[:2], box_xyxy[2:]))
    side = max(round(float((high - low).max()) * (1 + 2 * MARGIN)), 1)
    middle = (low + high) / 2
    left, right = _span(middle[0], side, width)
    top, bottom = _span(middle[1], side, height)
    inside = photo.pixels[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    beyond = (max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0))
    return np.asarray(cv2.copyMakeBorder(inside, *beyond, cv2.BORDER_REPLICATE), np.uint8) if any(beyond) else np.ascontiguousarray(inside)


def _span(middle: float, side: int, length: int) -> tuple[int, int]:
    """Where side pixels around middle begin and end: inside 0..length if there is room, else around all of it."""
    room = length - side
    first = room // 2 if room < 0 else min(max(round(middle - side / 2), 0), room)
    return first, first + side


def _scaled(square: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    smaller = side < square.shape[0]
    return np.asarray(cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR), np.uint8)


def _webp(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", quality=_QUALITY, method=_EFFORT)
    return file.getvalue()
