"""Bytes in, an upright RGB photo out. The kind of a file is told by its content; the caps are checked on the header, before a decoder allocates."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

from kizu_fast.colour import reduced_rgb, srgb_from_rgb
from kizu_fast.domain import Photo, PhotoFacts
from kizu_fast.errors import ImageTooLarge, ImageUnreadable
from kizu_fast.exif import read_exif, xmp_orientation
from kizu_fast.headers import MIME_TYPES, PILLOW_FAULTS, exif_block, looks_like_picture, open_picture, unreadable, xmp_packet

__all__ = ["SHORT_SIDE", "JpegDecoder", "decode", "looks_like_picture", "read_facts", "turbo_jpeg"]

SHORT_SIDE = 720  # pixels: smaller costs CLIP fidelity, larger costs time (docs/decisions/005-decode.md)

_DCT_SCALES = (8, 4, 2)  # those that libjpeg-turbo has fast code for
_MAX_SCAN_PIXELS = 20e9  # of a progressive JPEG: every scan passes over all pixels again, in a few bytes
_TURNED_ON_LOAD = frozenset({"HEIF", "TIFF"})  # Pillow and pillow-heif turn these pixels themselves
_SWAPPING = frozenset({5, 6, 7, 8})  # EXIF orientations that exchange width and height
_LARGE_WEBP_PIXELS = 24_000_000  # above it Pillow's animation decoder holds four copies of the canvas
_MAX_WAVELET_PIXELS = 64_000_000  # decoded at once; OpenJPEG needs 12 bytes for each, Pillow 4 more
_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd8-\xfe])")

JpegDecoder: TypeAlias = Callable[[bytes, int, int], NDArray[np.uint8]]
"""(data, height, width) to (height, width, 3) RGB as stored, not yet turned, in the file's own colour space. Raises ValueError for what it will not take."""


def read_facts(data: bytes, *, max_pixels: int, max_bytes: int) -> PhotoFacts:
    """Size and EXIF from the header; no pixel is decoded. Raises ImageUnreadable or ImageTooLarge without the file's name."""
    image = open_picture(data, max_pixels=max_pixels, max_bytes=max_bytes)
    return _facts(image, data)


def turbo_jpeg(data: bytes, height: int, width: int) -> NDArray[np.uint8]:
    """The fastest decoder on a CPU and the strictest: JpegDecoder. Scales inside the decoder, so height and width are 1/1, 1/2, 1/4 or 1/8 of the picture."""
    pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB", strict=True, min_height=height, min_width=width)
    return pixels


def decode(  # each is a plain choice of the caller's
    data: bytes, *, max_pixels: int, max_bytes: int, short_side: int | None = SHORT_SIDE, long_side: int = 1, jpeg: JpegDecoder = turbo_jpeg
) -> tuple[Photo, PhotoFacts]:
    """The upright picture, scaled down while its sides stay >= short_side and >= long_side (never up); None: in full. Blocks, releases the GIL.

    JPEG is scaled by powers of two inside its decoder, everything else by whole-number box averages. Of several frames or pages the first.
    Raises ImageUnreadable or ImageTooLarge without the file's name.
    """
    image = open_picture(data, max_pixels=max_pixels, max_bytes=max_bytes)
    facts = _facts(image, data)
    size = image.size
    reduction = max(1, min(min(size) // short_side, max(size) // long_side)) if short_side else 1
    try:
        pixels = _jpeg(image, data, reduction, jpeg) if image.format in ("JPEG", "MPO") else _other(image, data, reduction)
    except Image.DecompressionBombError:
        raise ImageTooLarge(f"a picture inside the file is larger than KIZU_MAX_PIXELS={max_pixels} allows") from None
    except (*PILLOW_FAULTS, cv2.error) as error:
        raise unreadable("the picture is damaged or cut short", error) from error
    if image.format == "HEIF" and image.size != size:  # the header of the container may differ from that of the coded picture
        facts = replace(facts, width=image.width, height=image.height)
    upright = pixels if image.format in _TURNED_ON_LOAD else turn_upright(pixels, facts.orientation)
    return Photo(np.ascontiguousarray(upright), facts.width, facts.height), facts


def turn_upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """A view of (h, w, 3) as the EXIF orientation 1..8 asks for."""
    if orientation in _SWAPPING:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def _facts(image: Image.Image, data: bytes) -> PhotoFacts:
    exif = read_exif(exif_block(image, data))
    orientation = exif.orientation or xmp_orientation(xmp_packet(image)) or 1
    width, height = image.size
    if image.format == "HEIF":
        orientation = 1  # its pixels are turned by the container's own property; an EXIF tag beside it is void
    elif orientation in _SWAPPING and image.format not in _TURNED_ON_LOAD:
        width, height = height, width
    return PhotoFacts(
        width=width,
        height=height,
        orientation=orientation,
        mime_type=MIME_TYPES.get(image.format or ""),
        taken_at_local=exif.taken_at_local,
        utc_offset_minutes=exif.utc_offset_minutes,
        latitude=exif.latitude,
        longitude=exif.longitude,
        altitude_m=exif.altitude_m,
        camera_make=exif.camera_make,
        camera_model=exif.camera_model,
    )


def _jpeg(image: Image.Image, data: bytes, reduction: int, jpeg: JpegDecoder) -> NDArray[np.uint8]:
    """sRGB, not yet turned. What the decoder will not take is Pillow's to judge (odd or CMYK, or damaged)."""
    _refuse_scan_bomb(image, data)
    scale = next((scale for scale in _DCT_SCALES if scale <= reduction), 1)
    width, height = image.size
    if image.mode in ("RGB", "L"):
        try:
            pixels = jpeg(data, -(-height // scale), -(-width // scale))
        except ValueError:
            pass
        else:
            return srgb_from_rgb(pixels, image.info.get("icc_profile")) if image.mode == "RGB" else pixels
    image.draft(image.mode, (width // scale, height // scale))
    image.load()
    return reduced_rgb(image, 1)


def _refuse_scan_bomb(image: Image.Image, data: bytes) -> None:
    """A progressive JPEG may hold thousands of scans of a few bytes, each of which costs a pass over the whole picture."""
    allowed = _MAX_SCAN_PIXELS / (image.width * image.height)
    if not image.info.get("progressive") or data.count(b"\xff\xda") <= allowed:
        return
    scans = 0
    for marker in _MARKER.finditer(data, 2):
        scans += marker[1] == b"\xda"
        if marker[1] == b"\xd9":
            break
    if scans > allowed:
        raise ImageUnreadable(f"it holds {scans} progressive scans, which is no real photo")


def _other(image: Image.Image, data: bytes, reduction: int) -> NDArray[np.uint8]:
    """Any other kind to sRGB, not yet turned unless the kind is in _TURNED_ON_LOAD."""
    if image.format == "WEBP" and image.width * image.height > _LARGE_WEBP_PIXELS:
        return _large_webp(image, data, reduction)
    if image.format == "JPEG2000":
        reduction = _reduce_wavelets(image, data, reduction)
    image.load()
    return reduced_rgb(image, reduction)


def _large_webp(image: Image.Image, data: bytes, reduction: int) -> NDArray[np.uint8]:
    """A still WebP through OpenCV: 0.8 GB and 1 s instead of 2 GB and 8 s at 128 megapixels."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise ImageUnreadable("the picture is damaged or cut short")
    if reduction > 1:
        pixels = cv2.resize(pixels, (-(-image.width // reduction), -(-image.height // reduction)), interpolation=cv2.INTER_AREA)
    return srgb_from_rgb(np.asarray(pixels, np.uint8), image.info.get("icc_profile"))


def _reduce_wavelets(image: Image.Image, data: bytes, reduction: int) -> int:
    """Asks the JPEG 2000 decoder for a smaller resolution, as it holds 12 bytes a pixel. Returns the reduction that is left to do."""
    coding = data.find(b"\xff\x52")  # the COD segment; its levels are how often the picture may be halved
    levels = data[coding + 9] if 0 <= coding < len(data) - 9 else 0
    halvings = min(levels, reduction.bit_length() - 1)
    while halvings < levels and image.width * image.height >> 2 * halvings > _MAX_WAVELET_PIXELS:
        halvings += 1
    if image.width * image.height >> 2 * halvings > _MAX_WAVELET_PIXELS:
        raise ImageTooLarge(f"{image.width} x {image.height} pixels of JPEG 2000 without smaller resolutions need too much memory; convert the file")
    if halvings and isinstance(image, Jpeg2KImageFile):
        image.reduce = halvings
    return max(1, reduction >> halvings)
