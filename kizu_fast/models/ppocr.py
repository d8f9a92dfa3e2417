"""PP-OCR: a photo into a bucket, its probability map to quads, crops into buckets, steps to text.

Numbers and roundings are those of rapidocr 3.10 with its defaults, so that the same lines come out; docs/decisions/010-ppocr.md says where the
buckets make a difference. Differentiable binarisation: Liao et al. 2020.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kizu_fast.domain import Photo, TextLine
from kizu_fast.errors import PermanentError
from kizu_fast.models import text

LINE_HEIGHT = 48  # pixels, of classifier and recogniser
PADDING = 127  # the original pads with 0 behind the normalisation, which is 127.5
TEXT_LEVEL = 77  # of the map's 255: a probability above 0.3 is text
MIN_BOX_SCORE = 0.5
MIN_LINE_SCORE = 0.5
MIN_TURN_SCORE = 0.9
UNCLIP_RATIO = 1.6
MAX_REGIONS = 1000
MIN_REGION_PX = 3  # map pixels, shorter side before it grows
MIN_GROWN_PX = 5  # and after
MIN_CROP_PX = 3  # of the decoded picture: a line this low or narrow shows nothing
SMALL_PRINT_PX = 11  # of the bucket: where half the lines are lower than that, some may have run together or been missed
MAX_ENLARGED = 2.5  # small pictures are enlarged up to this: letters of 15 pixels are found as well as larger ones
STANDING = 1.5  # height to width of a crop that is taken for a line running up or down


@dataclass(frozen=True, slots=True)
class Frame:
    """How an upright original lies in a bucket: scaled, at the top left."""

    bucket: tuple[int, int]  # (height, width)
    inner_height: int
    inner_width: int


@dataclass(frozen=True, slots=True)
class Crop:
    """A line cut out of the photo, lying, perhaps on its head."""

    pixels: NDArray[np.uint8]  # (h, w, 3) RGB
    quad: NDArray[np.float32]  # (4, 2) pixels of the upright original, clockwise from what is the crop's top left
    stands: bool = False  # it runs up or down in the photo, and was turned to lie

    def turned_round(self) -> "Crop":
        """The crop on its head."""
        return Crop(self.pixels[::-1, ::-1], text.turned(self.quad, 2), self.stands)


def frame_for(height: int, width: int, buckets: Sequence[tuple[int, int]], *, longest: int) -> Frame:
    """An original in the bucket that shows it largest, the smaller of equals; no side above longest pixels."""
    bucket = max(buckets, key=lambda bucket: (min(bucket[0] / height, bucket[1] / width, MAX_ENLARGED), -bucket[0] * bucket[1]))
    gain = min(bucket[0] / height, bucket[1] / width, longest / max(height, width), MAX_ENLARGED)
    return Frame(bucket, max(round(height * gain), 1), max(round(width * gain), 1))


def framed(photo: Photo, frame: Frame) -> NDArray[np.uint8]:
    """(*bucket, 3) RGB for the detector, black beside and below the photo."""
    picture = np.zeros((*frame.bucket, 3), np.uint8)
    size = (frame.inner_width, frame.inner_height)
    shrinks = frame.inner_width * 2 <= photo.pixels.shape[1]
    resized = cv2.resize(photo.pixels, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    picture[: frame.inner_height, : frame.inner_width] = resized
    return picture


def quads(level: NDArray[np.uint8], frame: Frame, photo: Photo) -> NDArray[np.float32]:
    """The detector's map (H, W), 255 = certainly text, to (N, 4, 2) clockwise corners in pixels of the upright original."""
    level = level[: frame.inner_height, : frame.inner_width]
    mask = cv2.dilate((level >= TEXT_LEVEL).astype(np.uint8), np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    found = [quad for contour in contours[:MAX_REGIONS] if (quad := _quad(level, np.asarray(contour, np.int32))) is not None]
    scale = np.array([photo.width / frame.inner_width, photo.height / frame.inner_height])
    limit = np.array([photo.width, photo.height])
    placed = [text.clockwise(np.clip(quad * scale, 0, limit)) for quad in found]
    return np.array(placed, np.float32).reshape(-1, 4, 2)


def small_print(found: NDArray[np.float32], frame: Frame, photo: Photo) -> bool:
    """Whether the lines of a look (N, 4, 2), in pixels of the upright original, are mostly so low that a larger look would tell more."""
    if not len(found):
        return False
    heights = [min(text.quad_size(quad)) for quad in found]
    return float(np.median(heights)) * frame.inner_width / photo.width < SMALL_PRINT_PX


def _quad(level: NDArray[np.uint8], contour: NDArray[np.int32]) -> NDArray[np.float32] | None:
    """The smallest rectangle around a region of text, grown to the letters' own size; None when it is too small or too faint."""
    middle, sides, angle = cv2.minAreaRect(contour)
    if min(sides) < MIN_REGION_PX:
        return None
    if _score(level, np.asarray(cv2.boxPoints((middle, sides, angle)), np.float32)) < MIN_BOX_SCORE:
        return None
    growth = 2 * UNCLIP_RATIO * sides[0] * sides[1] / (2 * (sides[0] + sides[1]))
    grown = (sides[0] + growth, sides[1] + growth)
    if min(grown) < MIN_GROWN_PX:
        return None
    return np.asarray(cv2.boxPoints((middle, grown, angle)), np.float32)


def _score(level: NDArray[np.uint8], corners: NDArray[np.float32]) -> float:
    """Mean probability inside a quad of the map."""
    height, width = level.shape
    low = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, (width - 1, height - 1))
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int), 0, (width - 1, height - 1))
    mask = np.zeros((high[1] - low[1] + 1, high[0] - low[0] + 1), np.uint8)
    cv2.fillPoly(mask, [(corners - low).astype(np.int32)], 1)
    return float(cv2.mean(level[low[1] : high[1] + 1, low[0] : high[0] + 1], mask)[0]) / 255


def cut(photo: Photo, found: NDArray[np.float32]) -> list[Crop]:
    """The lines of a photo, lying. Those that are too small to show a letter are left out."""
    crops = []
    for quad in found:
        onto_decoded = text.onto_decoded(photo, quad)
        if min(text.quad_size(onto_decoded)) <= MIN_CROP_PX:
            continue
        pixels = text.cut(photo.pixels, onto_decoded)
        stands = pixels.shape[0] / pixels.shape[1] >= STANDING
        crops.append(Crop(np.rot90(pixels), text.turned(quad, 1), stands=True) if stands else Crop(pixels, quad))
    return crops


def upright(crops: Sequence[Crop], turned: Sequence[float]) -> list[Crop]:
    """The crops, those turned round that stand on their heads, each with the classifier's probability for that.

    A line is turned when the classifier is sure of it, and with its fellows when it is sure of most of them: the original library judges each line
    alone, and leaves the doubtful ones of a page that lies on its head. Fellows are the lines that run in the same direction.
    """
    standing = np.array([crop.stands for crop in crops], bool)
    probability = np.asarray(turned, np.float64)
    heads_down = probability > MIN_TURN_SCORE
    for group in (standing, ~standing):
        sure, contrary = int(heads_down[group].sum()), int((probability[group] < 1 - MIN_TURN_SCORE).sum())
        heads_down[group] |= sure >= max(2, 3 * contrary) and 2 * sure >= group.sum()
    return [crop.turned_round() if down else crop for crop, down in zip(crops, heads_down, strict=True)]


def line_width(crop: Crop) -> int:
    """Pixels that the crop is wide when it is LINE_HEIGHT high."""
    height, width = crop.pixels.shape[:2]
    wide: int = math.ceil(LINE_HEIGHT * width / height)
    return max(wide, 1)


def fitted(crop: Crop, width: int) -> NDArray[np.uint8]:
    """(LINE_HEIGHT, width, 3) RGB: the crop at the left, squeezed if it is longer, grey behind it."""
    picture = np.full((LINE_HEIGHT, width, 3), PADDING, np.uint8)
    inner = min(line_width(crop), width)
    picture[:, :inner] = cv2.resize(np.ascontiguousarray(crop.pixels), (inner, LINE_HEIGHT), interpolation=cv2.INTER_LINEAR)
    return picture


def line(outputs: Mapping[str, NDArray[np.generic]], characters: Sequence[str]) -> tuple[str, float]:
    """One row of the recogniser (ids (T,), scores (T,)) to its text and the mean score of its letters; ("", 0) when it read nothing.

    characters by class, the blank in front. Raises PermanentError for a class that they do not hold, or scores that are not finite.
    """
    ids, scores = text.greedy_ctc(np.asarray(outputs["ids"], np.int64), np.asarray(outputs["scores"], np.float32))
    if not ids:
        return "", 0.0
    if max(ids) >= len(characters) or not np.isfinite(scores).all():
        raise PermanentError("the recogniser's answer makes no sense: its file, its characters or the device is broken")
    return "".join(characters[index] for index in ids), float(np.mean(scores))


def texts(crops: Sequence[Crop], read: Sequence[tuple[str, float]], language: str) -> tuple[TextLine, ...]:
    """Lines that say something with some certainty, in reading order."""
    sure = [i for i, (words, score) in enumerate(read) if words.strip() and score >= MIN_LINE_SCORE]
    order = text.reading_order([crops[i].quad for i in sure])
    return tuple(TextLine(read[sure[i]][0], read[sure[i]][1], crops[sure[i]].quad, language) for i in order)
