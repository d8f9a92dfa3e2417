"""Pictures that tests render themselves."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_PIXELS, MAX_BYTES = 128_000_000, 268_435_456
CAPS = {"max_pixels": MAX_PIXELS, "max_bytes": MAX_BYTES}


def scene(width: int = 96, height: int = 64) -> NDArray[np.uint8]:
    """(h, w, 3) without any symmetry: red grows to the right, green downwards, a blue corner at the top left."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width)[None]
    pixels[..., 1] = np.linspace(0, 255, height)[:, None]
    pixels[: height // 4, : width // 4, 2] = 255
    return pixels


def encoded(image: Image.Image | NDArray[np.uint8], kind: str, **options: Any) -> bytes:
    """The file that Pillow writes. kind is Pillow's name of the format."""
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, kind, **options)
    return stream.getvalue()


def jpeg(pixels: NDArray[np.uint8] | None = None, **options: Any) -> bytes:
    return encoded(scene() if pixels is None else pixels, "JPEG", **{"quality": 95, "subsampling": 0, **options})


def exif_with(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def stored(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """How a camera stores an upright picture so that this EXIF orientation turns it upright again."""
    inverse = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    return pixels if inverse is None else np.asarray(Image.fromarray(pixels).transpose(inverse))


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_with(chunk: bytes, *, late: bool = False, picture: bytes | None = None) -> bytes:
    """A PNG with one more chunk, in front of the pixels or behind them."""
    base = picture or encoded(scene(), "PNG")
    place = len(base) - 12 if late else 33
    return base[:place] + chunk + base[place:]


def flat_png(width: int, height: int) -> bytes:
    """A valid black 1-bit PNG of any size: a few kB that claim many megapixels. Made without the memory that they would need."""
    packer = zlib.compressobj(9)
    row = b"\0" * (1 + (width + 7) // 8)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")


def far(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Mean absolute difference in 8-bit levels."""
    assert a.shape == b.shape
    return float(np.abs(a.astype(np.int16) - b).mean())
