"""EasyOCR: CRAFT's maps to boxes, boxes to lines, lines to the recogniser's rows, its answers to text.

Thresholds, roundings and the order of steps are those of easyocr 1.7.2's readtext with its defaults, so that the same lines come out. Three frames:
the upright original; the seen picture, which is the decoded one with its longer side cut to MAX_IMAGE_SIZE; and the canvas, a bucket of CRAFT.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kizu_fast.domain import Photo
from kizu_fast.errors import PermanentError
from kizu_fast.models.text import greedy_ctc, width_for
from kizu_fast.specs import CRAFT_STEPS, CRAFT_STRIDE, EASYOCR_HEIGHT

LOW_TEXT = round(0.4 * CRAFT_STEPS)  # a pixel that may belong to a character; maps count in steps of 1 / CRAFT_STEPS
LOW_LINK = round(0.4 * CRAFT_STEPS)  # a pixel between two characters of one word
SURE_TEXT = round(0.7 * CRAFT_STEPS)  # a word has one such pixel at least
MIN_AREA = 10  # pixels of the map
MIN_SIDE = 20  # pixels of the seen picture: of two sides the longer one must be longer
MAX_LINES = 1000  # of one photo: a page of a newspaper has fewer
MAX_SLOPE = 0.1
SAME_ROW, SAME_HEIGHT, MAX_GAP = 0.5, 0.5, 0.5  # of a row's mean height; the gap, of the right word's
MARGIN = 0.1  # of the shorter side, on each side
LEAST_RUN = 10  # pixels: shorter sides count as that long where slopes are computed
LOW_CONFIDENCE = 0.1  # below it a line is read once more, with more contrast
GOOD_CONTRAST = 0.5
BLANK = 0


@dataclass(frozen=True, slots=True)
class Canvas:
    """How the seen picture lies in a bucket: at the top left, never enlarged, black beside and below it."""

    bucket: tuple[int, int]  # (height, width)
    ratio: float  # canvas pixels per pixel of the seen picture, at most 1
    inner_height: int
    inner_width: int


class Span(NamedTuple):
    """An upright box in whole pixels of the seen picture."""

    left: int
    right: int
    top: int
    bottom: int

    @property
    def middle(self) -> float:
        """y of its centre."""
        return 0.5 * (self.top + self.bottom)

    @property
    def height(self) -> int:
        return self.bottom - self.top


@dataclass(frozen=True, slots=True)
class Words:
    """Where text stands: whole lines that lie level, and single slanted words. Pixels of the seen picture; may reach beyond it."""

    level: tuple[Span, ...]
    slanted: tuple[NDArray[np.float64], ...]  # (4, 2) x, y from the text's own top left, clockwise


@dataclass(frozen=True, slots=True)
class Crop:
    """One line cut out of the seen picture."""

    quad: NDArray[np.float64]  # (4, 2) x, y pixels of the seen picture, from the text's own top left, clockwise
    grey: NDArray[np.uint8]  # (h, w), the shorter side EASYOCR_HEIGHT
    width: int  # of the recogniser's row, a multiple of EASYOCR_HEIGHT


@dataclass(frozen=True, slots=True)
class Reading:
    """What one row says."""

    text: str
    confidence: float  # in [0, 1]


def seen(photo: Photo, longest: int) -> NDArray[np.uint8]:
    """(h, w, 3) RGB: the decoded picture, no side longer than that."""
    height, width = photo.pixels.shape[:2]
    if max(height, width) <= longest:
        return photo.pixels
    scale = longest / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(cv2.resize(photo.pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def canvas_for(height: int, width: int, buckets: Sequence[tuple[int, int]]) -> Canvas:
    """The bucket that shrinks a seen picture least, the smallest of those. Inner sizes are cut to whole pixels, one at least."""

    def shrinks(bucket: tuple[int, int]) -> float:
        return min(1.0, bucket[0] / height, bucket[1] / width)

    bucket = min(buckets, key=lambda each: (-shrinks(each), each[0] * each[1]))
    ratio = shrinks(bucket)
    return Canvas(bucket, ratio, max(int(height * ratio), 1), max(int(width * ratio), 1))


def framed(picture: NDArray[np.uint8], canvas: Canvas) -> NDArray[np.uint8]:
    """(*bucket, 3) RGB for CRAFT."""
    framed = np.zeros((*canvas.bucket, 3), np.uint8)
    size = (canvas.inner_width, canvas.inner_height)
    framed[: size[1], : size[0]] = picture if picture.shape[1::-1] == size else cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    return framed


def words(outputs: Mapping[str, NDArray[np.generic]], canvas: Canvas) -> Words:
    """One row of CRAFT (text_map and link_map, uint8 (h, w)) to places of text in the seen picture. Raises PermanentError for maps of another size."""
    text, link = (np.asarray(outputs[name], np.uint8) for name in ("text_map", "link_map"))
    expected = tuple(side // CRAFT_STRIDE for side in canvas.bucket)
    if text.shape != expected or link.shape != expected:
        raise PermanentError(f"the text detector's maps are {text.shape} and {link.shape} instead of {expected}: the model file is broken")
    scale = 1 / canvas.ratio * CRAFT_STRIDE
    quads = [(quad * np.float64(scale)).astype(np.float32).astype(np.int32) for quad in component_quads(text, link)]
    return large_enough(grouped(quads))


def component_quads(text: NDArray[np.uint8], link: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """Words in a pair of maps: (4, 2) x, y in pixels of the maps, clockwise from the corner that is nearest to the top left.

    Connected pixels of text and of links are one word (Baek et al. 2019); it is drawn without its links, grown, and boxed as tightly as can be.
    """
    is_text, is_link = text >= LOW_TEXT, link >= LOW_LINK
    count, labels, stats, _ = cv2.connectedComponentsWithStats((is_text | is_link).astype(np.uint8), connectivity=4)
    found = []
    for label in range(1, count):
        left, top, width, height, area = (int(value) for value in stats[label])
        if area < MIN_AREA:
            continue
        inside = labels[top : top + height, left : left + width] == label
        if text[top : top + height, left : left + width][inside].max() < SURE_TEXT:
            continue
        grow = int(math.sqrt(area * min(width, height) / (width * height)) * 2)
        rows = slice(max(top - grow, 0), min(top + height + grow + 1, text.shape[0]))
        columns = slice(max(left - grow, 0), min(left + width + grow + 1, text.shape[1]))
        drawn = (labels[rows, columns] == label) & (is_text[rows, columns] | ~is_link[rows, columns])
        grown = cv2.dilate(drawn.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_RECT, (1 + grow, 1 + grow)))
        y, x = np.nonzero(grown)
        found.append(_quad(np.stack((x + columns.start, y + rows.start), axis=1).astype(np.int32)))
    return found


def _quad(points: NDArray[np.int32]) -> NDArray[np.float32]:
    """The smallest turned box around points (N, 2); an upright one where that is nearly a square, since a square's turn means nothing."""
    box = cv2.boxPoints(cv2.minAreaRect(points))
    sides = float(np.linalg.norm(box[0] - box[1])), float(np.linalg.norm(box[1] - box[2]))
    if abs(1 - max(sides) / (min(sides) + 1e-5)) <= MAX_SLOPE:
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        box = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
    return np.asarray(np.roll(box, 4 - int(box.sum(axis=1).argmin()), axis=0), np.float32)


def grouped(quads: Iterable[NDArray[np.int32]]) -> Words:
    """Words (4, 2) to lines: level words that stand in one row, are equally tall and near each other become one; slanted ones stay single."""
    level, slanted = [], []
    for quad in quads:
        if _slope(quad) < MAX_SLOPE:
            (left, top), (right, bottom) = quad.min(axis=0).tolist(), quad.max(axis=0).tolist()
            level.append(Span(left, right, top, bottom))
        else:
            slanted.append(_widened(quad))
    lines = [span for row in _rows(sorted(level, key=lambda span: span.middle)) for span in _joined(row)]
    return Words(tuple(lines), tuple(slanted))


def _slope(quad: NDArray[np.int32]) -> float:
    """Of upper or lower edge, the steeper."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = quad.tolist()
    slopes = ((y1 - y0) / max(LEAST_RUN, x1 - x0), (y2 - y3) / max(LEAST_RUN, x2 - x3))
    return float(max(map(abs, slopes)))


def _widened(quad: NDArray[np.int32]) -> NDArray[np.float64]:
    """A slanted word with its margin, each corner moved along the diagonal."""
    corners = quad.astype(np.float64)
    width, height = np.linalg.norm(corners[1] - corners[0]), np.linalg.norm(corners[3] - corners[0])
    margin = int(1.44 * MARGIN * min(width, height))
    falling, rising = (_diagonal(corners[i], corners[i + 2]) for i in (0, 1))
    signs = ((-1, -1, falling), (1, -1, rising), (1, 1, falling), (-1, 1, rising))
    moves = [(across * math.cos(angle) * margin, down * math.sin(angle) * margin) for across, down, angle in signs]
    return np.asarray(corners + np.array(moves), np.float64)


def _diagonal(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Its angle, without sign. Runs from right to left count as short, as in the original."""
    return abs(math.atan((one[1] - other[1]) / max(LEAST_RUN, one[0] - other[0])))


def _rows(level: Sequence[Span]) -> list[list[Span]]:
    """Spans, sorted by their middle, that stand at the height of the row's mean."""
    rows: list[list[Span]] = []
    for span in level:
        row = rows[-1] if rows else []
        if row and abs(_mean(s.middle for s in row) - span.middle) < SAME_ROW * _mean(s.height for s in row):
            row.append(span)
        else:
            rows.append([span])
    return rows


def _joined(row: Sequence[Span]) -> list[Span]:
    """The lines of one row, from left to right, with their margin."""
    runs: list[list[Span]] = []
    for span in sorted(row, key=lambda span: span.left):
        run = runs[-1] if runs else []
        mean = _mean(s.height for s in run) if run else 0.0
        if run and abs(mean - span.height) < SAME_HEIGHT * mean and span.left - run[-1].right < MAX_GAP * span.height:
            run.append(span)
        else:
            runs.append([span])
    return [_around(run) for run in runs]


def _around(run: Sequence[Span]) -> Span:
    left, right = min(span.left for span in run), max(span.right for span in run)
    top, bottom = min(span.top for span in run), max(span.bottom for span in run)
    margin = int(MARGIN * min(right - left, bottom - top))
    return Span(left - margin, right + margin, top - margin, bottom + margin)


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return sum(known) / len(known)


def large_enough(found: Words) -> Words:
    """Without specks, and without what no photo holds."""
    level = tuple(span for span in found.level if max(span.right - span.left, span.height) > MIN_SIDE)
    slanted = tuple(quad for quad in found.slanted if np.ptp(quad, axis=0).max() > MIN_SIDE)
    return Words(level[:MAX_LINES], slanted[: MAX_LINES - len(level[:MAX_LINES])])


def crops(picture: NDArray[np.uint8], found: Words) -> list[Crop]:
    """All lines of a seen picture (h, w, 3), level ones first, in the order in which they were found."""
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
    cut = [_level(grey, span) for span in found.level] + [_slanted(grey, quad) for quad in found.slanted]
    return [crop for crop in cut if crop is not None]


def _level(grey: NDArray[np.uint8], span: Span) -> Crop | None:
    left, right = max(0, span.left), min(span.right, grey.shape[1])
    top, bottom = max(0, span.top), min(span.bottom, grey.shape[0])
    if left >= right or top >= bottom:
        return None
    quad = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)
    return _crop(quad, grey[top:bottom, left:right])


def _slanted(grey: NDArray[np.uint8], quad: NDArray[np.float64]) -> Crop | None:
    corners = quad.astype(np.float32)
    width = max(int(_length(corners[2] - corners[3])), int(_length(corners[1] - corners[0])))
    height = max(int(_length(corners[1] - corners[2])), int(_length(corners[0] - corners[3])))
    if not width or not height:
        return None
    target = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], np.float32)
    warp = cv2.getPerspectiveTransform(corners, target)
    return _crop(quad, np.asarray(cv2.warpPerspective(grey, warp, (width, height)), np.uint8))


def _length(step: NDArray[np.float32]) -> np.float32:
    return np.float32(np.sqrt(step[0] ** 2 + step[1] ** 2))


def _crop(quad: NDArray[np.float64], grey: NDArray[np.uint8]) -> Crop:
    """The shorter side becomes EASYOCR_HEIGHT; text that runs down stays upright here and is squeezed by row()."""
    height, width = grey.shape
    ratio = width / height
    upright = ratio < 1
    ratio = 1 / ratio if upright else ratio
    size = (EASYOCR_HEIGHT, int(EASYOCR_HEIGHT * ratio)) if upright else (int(EASYOCR_HEIGHT * ratio), EASYOCR_HEIGHT)
    return Crop(quad, np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR), np.uint8), math.ceil(ratio) * EASYOCR_HEIGHT)


def row_bucket(crop: Crop, buckets: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """(EASYOCR_HEIGHT, width): the narrowest bucket that is as wide as the library's own row, else the widest."""
    return EASYOCR_HEIGHT, width_for(crop.width, sorted(width for _, width in buckets))


def row(crop: Crop, bucket: tuple[int, int]) -> NDArray[np.uint8]:
    """(*bucket) grey: the line at the left, its last column repeated to the right. A line too long for the bucket is squeezed into it."""
    height, width = crop.grey.shape
    wide = min(math.ceil(bucket[0] * (width / height)), crop.width, bucket[1])
    line = crop.grey
    if (height, width) != (bucket[0], wide):
        line = np.asarray(Image.fromarray(line).resize((wide, bucket[0]), Image.Resampling.BICUBIC))
    return np.pad(line, ((0, 0), (0, bucket[1] - wide)), mode="edge")


def with_contrast(crop: Crop) -> Crop | None:
    """The line stretched over the range of greys, None when its contrast is good as it is."""
    high, low = float(np.percentile(crop.grey, 90)), float(np.percentile(crop.grey, 10))
    if (high - low) / max(10.0, high + low) >= GOOD_CONTRAST:
        return None
    stretched = (crop.grey.astype(np.int64) - low + 25) * (200.0 / max(10.0, high - low))
    return Crop(crop.quad, np.clip(stretched, 0, 255).astype(np.uint8), crop.width)


def read(outputs: Mapping[str, NDArray[np.generic]], characters: Sequence[str]) -> Reading:
    """One row of the recogniser (ids int32 (T,), scores float32 (T,)) to text. characters are the classes in order, the first is CTC's blank.

    The confidence is the library's own: the product of the scores of all steps that are not blank, to the power of 2 / sqrt(their number).
    Raises PermanentError when a score is not finite or an id has no character: a broken model or device.
    """
    ids, scores = np.asarray(outputs["ids"], np.int64), np.asarray(outputs["scores"], np.float32)
    if not np.isfinite(scores).all():
        raise PermanentError("scores of text are not finite: the model file or the device is broken")
    if ids.min(initial=0) < 0 or ids.max(initial=0) >= len(characters):
        raise PermanentError(f"class {int(ids.max())} of text has no character, {len(characters)} are known: they are of another model")
    spoken = scores[ids != BLANK]
    if not len(spoken):
        return Reading("", 0.0)
    classes, _ = greedy_ctc(ids, scores, blank=BLANK)
    return Reading("".join(characters[i] for i in classes), float(spoken.prod() ** (2.0 / math.sqrt(len(spoken)))))
