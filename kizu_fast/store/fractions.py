"""Boxes between memory and database: xyxy pixels of the upright picture there, (x, y, w, h) as fractions of it here. One function each way."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def to_fractions(boxes_xyxy: NDArray[np.float32], width: int, height: int) -> NDArray[np.float64]:
    """(N, 4) xyxy pixels of an upright picture of width x height to (N, 4) x, y, w, h in [0, 1]. Raises ValueError for a picture without area."""
    if width <= 0 or height <= 0:
        raise ValueError(f"a picture of {width}x{height} pixels has no fractions")
    boxes = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4) / (width, height, width, height)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def to_pixels(box_xywh: Sequence[float], width: int, height: int) -> tuple[float, float, float, float]:
    """One box x, y, w, h in fractions to xyxy pixels of the upright picture of width x height."""
    x, y, w, h = box_xywh
    return (x * width, y * height, (x + w) * width, (y + h) * height)


def points_to_fractions(points: NDArray[np.float32], width: int, height: int) -> NDArray[np.float64]:
    """(..., 2) x, y pixels of an upright picture to fractions of it. Raises ValueError for a picture without area."""
    if width <= 0 or height <= 0:
        raise ValueError(f"a picture of {width}x{height} pixels has no fractions")
    return np.asarray(points, dtype=np.float64) / (width, height)


def points_to_pixels(flat: Sequence[float], width: int, height: int) -> tuple[tuple[float, float], ...]:
    """x1, y1, x2, y2, ... in fractions to points in pixels of the upright picture."""
    return tuple((x * width, y * height) for x, y in zip(flat[::2], flat[1::2], strict=True))
