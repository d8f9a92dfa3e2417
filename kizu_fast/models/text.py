"""What readers of text share: cutting a line out of a picture, the order in which lines are read, greedy CTC.

A quad is (4, 2) float x, y: the corners of a line, clockwise from the text's own top left. Its first side runs along the text.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from kizu_fast.domain import Photo

SAME_ROW = 0.5  # of the smaller height: lines whose middles are nearer than that, across the text, stand in one row
_CORNER_ORDER = 4


def onto_decoded(photo: Photo, quads: NDArray[np.floating]) -> NDArray[np.float32]:
    """(..., 2) x, y of the upright original to the decoded picture. Both count from the outer corner of the first pixel."""
    height, width = photo.pixels.shape[:2]
    scaled: NDArray[np.float64] = np.asarray(quads, np.float64) * np.array([width / photo.width, height / photo.height])
    return scaled.astype(np.float32)


def clockwise(corners: NDArray[np.floating]) -> NDArray[np.float32]:
    """(4, 2) corners of a convex quad in any order to clockwise ones, from the picture's top left of them: of the two leftmost the upper one."""
    ordered = corners[np.argsort(corners[:, 0], kind="stable")]
    left, right = (half[np.argsort(half[:, 1], kind="stable")] for half in (ordered[:2], ordered[2:]))
    return np.array([left[0], right[0], right[1], left[1]], np.float32)


def turned(quad: NDArray[np.floating], quarters: int) -> NDArray[np.float32]:
    """The same quad, read after the picture was turned left by so many quarter turns: another corner is the text's own top left then."""
    return np.roll(np.asarray(quad, np.float32), -(quarters % _CORNER_ORDER), axis=0)


def quad_size(quad: NDArray[np.floating]) -> tuple[int, int]:
    """(height, width) in whole pixels of the frame it is given in: the longer of each two opposite sides, cut off; one at least."""
    top, right, bottom, left = np.linalg.norm(quad - np.roll(quad, -1, axis=0), axis=1)
    return max(int(max(left, right)), 1), max(int(max(top, bottom)), 1)


def cut(pixels: NDArray[np.uint8], quad: NDArray[np.floating], *, interpolation: int = cv2.INTER_CUBIC) -> NDArray[np.uint8]:
    """The quad of a picture (h, w) or (h, w, C), straightened to quad_size. The edge is continued where the quad leaves the picture.

    quad is in pixels of the picture given.
    """
    height, width = quad_size(quad)
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    warp = cv2.getPerspectiveTransform(np.asarray(quad, np.float32), target)
    return np.asarray(cv2.warpPerspective(pixels, warp, (width, height), flags=interpolation, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def reading_order(quads: Sequence[NDArray[np.floating]]) -> list[int]:
    """Indices of lines as one reads them: row after row, each from its start to its end, as most of the text runs.

    The page may be turned or tilted: rows lie along the direction that the longest lines vote for. Columns are read across.
    """
    if not len(quads):
        return []
    lines = np.asarray(quads, np.float64)  # (N, 4, 2)
    along = _direction(lines)
    across = np.array([-along[1], along[0]])  # y runs down, so this is a quarter turn clockwise: from one row to the next
    middles = lines.mean(axis=1)
    depth, start = middles @ across, middles @ along
    spans = lines @ across
    heights = np.minimum(spans.max(axis=1) - spans.min(axis=1), _heights(lines))
    rows: list[list[int]] = []
    for index in np.argsort(depth, kind="stable").tolist():
        if rows and _same_row(rows[-1], index, depth, heights):
            rows[-1].append(index)
        else:
            rows.append([index])
    return [index for row in rows for index in sorted(row, key=lambda i: float(start[i]))]


def _direction(lines: NDArray[np.float64]) -> NDArray[np.float64]:
    """The unit vector (x, y) along which most text runs: the quarter with the most length, then the mean direction of its lines."""
    sides = (lines[:, 1] - lines[:, 0]) + (lines[:, 2] - lines[:, 3])
    lengths = np.linalg.norm(sides, axis=1)
    quarter = np.round(np.arctan2(sides[:, 1], sides[:, 0]) / (np.pi / 2)).astype(int) % 4
    votes = np.bincount(quarter, lengths, minlength=4)
    mean: NDArray[np.float64] = sides[quarter == votes.argmax()].sum(axis=0)
    norm = float(np.linalg.norm(mean))
    return mean / norm if norm > 0 else np.array([1.0, 0.0])


def _heights(lines: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,): how high each line's letters stand, whichever way it runs."""
    heights: NDArray[np.float64] = np.linalg.norm(lines - np.roll(lines, 1, axis=1), axis=2)[:, [0, 2]].max(axis=1)
    return heights


def _same_row(row: list[int], index: int, depth: NDArray[np.float64], heights: NDArray[np.float64]) -> bool:
    middle, height = float(np.mean(depth[row])), float(np.mean(heights[row]))
    return abs(float(depth[index]) - middle) < SAME_ROW * min(height, float(heights[index]))


def greedy_ctc(ids: NDArray[np.integer], scores: NDArray[np.floating], *, blank: int = 0) -> tuple[list[int], list[float]]:
    """Best class per time step (T,) and its probability (T,) to the classes that are read and their probabilities (Graves et al. 2006).

    Of a class that follows itself the first step counts; blanks are left out.
    """
    ids = np.asarray(ids)
    read = np.flatnonzero((ids != blank) & (np.diff(ids, prepend=blank) != 0))
    return ids[read].tolist(), np.asarray(scores, np.float64)[read].tolist()


def width_for(wanted: int, widths: Sequence[int]) -> int:
    """The smallest of ascending bucket widths that holds a line of so many pixels, else the largest: the line is squeezed into it then."""
    return next((width for width in widths if width >= wanted), widths[-1])
