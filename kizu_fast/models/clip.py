"""CLIP image tower: what happens before and after the graph. Normalisation of pixels and vectors is inside it."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kizu_fast.domain import Photo
from kizu_fast.errors import PermanentError

MAX_STRIP = 4  # aspect up to which the long way is taken: a strip of 1 x 10,000 pixels would become one of 224 x 2,240,000
MAX_NORM_ERROR = 1e-3  # the graph normalises: more is a broken model or a broken backend

FILTERS: Mapping[str, Image.Resampling] = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
DEFAULT_STEPS = "p1"


class Steps(NamedTuple):
    """The way a family of towers wants its picture, as open_clip names it."""

    resize: str  # shortest: short side to the input's, centre crop; squash: both sides; longest: long side, centred on black
    interpolation: str  # a key of FILTERS


STEPS: Mapping[str, Steps] = {
    DEFAULT_STEPS: Steps("shortest", "bicubic"),
    "p1-shortest-bilinear": Steps("shortest", "bilinear"),
    "p1-squash-bicubic": Steps("squash", "bicubic"),
    "p1-squash-bilinear": Steps("squash", "bilinear"),
    "p1-longest-bicubic": Steps("longest", "bicubic"),
    "p1-longest-bilinear": Steps("longest", "bilinear"),
}


def preprocess(photo: Photo, side: int, steps: str = DEFAULT_STEPS) -> NDArray[np.uint8]:
    """(side, side, 3) as open_clip's own transform makes it from the full-size original, up to the decoder's scaling.

    steps is ModelSpec.preprocessing. Raises KeyError for one that is not in STEPS: a spec from a newer version.
    """
    resize, interpolation = STEPS[steps]
    whole = (0.0, 0.0, float(photo.width), float(photo.height))
    if resize == "squash":
        return _resample(photo, whole, (side, side), FILTERS[interpolation])
    if resize == "longest":
        return _centred_on_black(photo, side, FILTERS[interpolation])
    return _centre_crop(photo, side, FILTERS[interpolation])


def postprocess(row: NDArray[np.floating]) -> NDArray[np.float32]:
    """One vector (D,) of the graph to a unit vector. Raises PermanentError when it is not finite or not near length 1."""
    vector = row.astype(np.float64)
    norm = float(np.linalg.norm(vector))
    if not np.isfinite(norm) or abs(norm - 1) > MAX_NORM_ERROR:
        raise PermanentError(f"the embedding has length {norm:.4g} instead of 1: the model file or the device is broken")
    return (vector / norm).astype(np.float32)


def _centre_crop(photo: Photo, side: int, resample: Image.Resampling) -> NDArray[np.uint8]:
    """Short side to the input's, then its centre. Two roundings are the library's own: the long side is cut down to a whole pixel, the crop starts on one."""
    short, long = min(photo.height, photo.width), max(photo.height, photo.width)
    scaled_long = int(side * long / short)
    start = round((scaled_long - side) / 2.0)
    lies = photo.width >= photo.height
    if photo.pixels.shape[:2] == (photo.height, photo.width) and scaled_long <= MAX_STRIP * side:
        size = (scaled_long, side) if lies else (side, scaled_long)
        scaled = _resample(photo, (0.0, 0.0, float(photo.width), float(photo.height)), size, resample)
        return scaled[:, start : start + side] if lies else scaled[start : start + side]
    unit = long / scaled_long  # original pixels per scaled pixel, along the long side
    low, high = start * unit, (start + side) * unit
    box = (low, 0.0, high, float(photo.height)) if lies else (0.0, low, float(photo.width), high)
    return _resample(photo, box, (side, side), resample)


def _resample(photo: Photo, box: tuple[float, float, float, float], size: tuple[int, int], resample: Image.Resampling) -> NDArray[np.uint8]:
    """Cut box (original pixels) out of the decoded picture and scale it to size (width, height), filter antialiased.

    The filter reads beyond the box where it has to, so this is resize-then-crop for less work, within 0.25 of 255 levels: Pillow
    resamples the axes in the order that is cheaper and rounds in between. An unscaled picture therefore goes the long way, to be exact.
    """
    have_height, have_width = photo.pixels.shape[:2]
    across, down = have_width / photo.width, have_height / photo.height
    left, top, right, bottom = box[0] * across, box[1] * down, min(box[2] * across, have_width), min(box[3] * down, have_height)
    return np.asarray(Image.fromarray(photo.pixels).resize(size, resample, box=(left, top, right, bottom)))


def _centred_on_black(photo: Photo, side: int, resample: Image.Resampling) -> NDArray[np.uint8]:
    ratio = max(photo.height, photo.width) / side
    height, width = max(round(photo.height / ratio), 1), max(round(photo.width / ratio), 1)
    top, left = (side - height) // 2, (side - width) // 2
    framed = np.zeros((side, side, 3), np.uint8)
    framed[top : top + height, left : left + width] = _resample(photo, (0.0, 0.0, float(photo.width), float(photo.height)), (width, height), resample)
    return framed
