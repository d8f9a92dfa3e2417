"""Photos for the benchmarks, painted here: as much detail, and so as many bytes, as a camera's JPEG."""

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

CAMERA = (4032, 3024)  # 12 megapixels, 4:3
_QUALITY = 90
_OCTAVES = 9
_SENSOR_NOISE = 3.7  # grey levels; with _QUALITY it makes 2.5 MB of 12 megapixels


def paint(seed: int, width: int, height: int) -> NDArray[np.uint8]:
    """(height, width, 3) RGB: colours at large scales, light at every scale as in nature, some sharp shapes, fine noise."""
    rng = np.random.default_rng(seed)
    picture = _resized(rng.uniform(40, 215, (4, 5, 3)).astype(np.float32), width, height)
    light = np.zeros((height, width), np.float32)
    for octave in range(2, _OCTAVES):
        cells = 2**octave
        rough = rng.standard_normal((max(2, cells * height // max(width, height)), max(2, cells * width // max(width, height)))).astype(np.float32)
        light += _resized(rough, width, height) * (60 / octave**1.6)
    light += rng.standard_normal((height, width), np.float32) * _SENSOR_NOISE
    picture += light[:, :, None]
    painted = np.clip(picture, 0, 255).astype(np.uint8)
    _shapes(painted, rng)
    return painted


def encode(pixels: NDArray[np.uint8], serial: int) -> bytes:
    """A baseline 4:2:0 JPEG. The serial number stands in a comment, so that equal pixels are different files."""
    jpeg: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=_QUALITY, colorsubsampling="420")
    return numbered(jpeg, serial)


def numbered(jpeg: bytes, serial: int) -> bytes:
    """The same picture as another file: a comment segment behind the start marker."""
    text = f"benchmark {serial}".encode()
    return jpeg[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + jpeg[2:]


def _resized(pixels: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def _shapes(pixels: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Edges, in place."""
    height, width = pixels.shape[:2]
    for _ in range(24):
        centre = int(rng.integers(0, width)), int(rng.integers(0, height))
        axes = int(rng.integers(width // 80, width // 10)), int(rng.integers(height // 80, height // 10))
        colour = tuple(int(value) for value in rng.integers(0, 255, 3))
        cv2.ellipse(
            pixels,
            centre,
            axes,
            float(rng.uniform(0, 180)),
            0,
            360,
            colour,
            thickness=int(rng.integers(2, max(3, width // 200))),
            lineType=cv2.LINE_AA,
        )
