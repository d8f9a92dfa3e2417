"""Pillow pictures of any mode to 8-bit sRGB, scaled down on the way, in bands so that a large picture exists only once."""

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_BAND_PIXELS = 2_000_000  # one strip of the conversion; its copies stay below 25 MB
_SAME_MAX, _SAME_MEAN = 6, 1.5  # 8-bit levels within which a profile counts as sRGB: camera makers' own variants of it
_PROFILE_BYTES = range(128, 16 * 1024 * 1024)  # a header at least
_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_NO_CACHE = 0x0040  # lcms' one-pixel cache is the only state of a transform: without it threads may share one
_KEPT = frozenset({"L", "RGB", "CMYK", "LAB"})
_GREY = frozenset({"1", "LA", "La"})
_PREMULTIPLIED = {"RGBa": "RGBA", "La": "LA", "PA": "RGBA"}


def reduced_rgb(image: Image.Image, factor: int) -> NDArray[np.uint8]:
    """A loaded picture to (ceil(h / factor), ceil(w / factor), 3) sRGB; whole blocks of factor x factor pixels are averaged.

    Alpha is dropped, not composited: what CLIP's reference does with convert("RGB").
    """
    width, height = image.size
    out = np.empty((-(-height // factor), -(-width // factor), 3), np.uint8)
    ceiling = _ceiling(image)
    profile = image.info.get("icc_profile")
    rows = max(1, _BAND_PIXELS // (width * factor)) * factor
    for top in range(0, height, rows):
        band = _eight_bit(image.crop((0, top, width, min(top + rows, height))), ceiling)
        band = band.reduce(factor) if factor > 1 else band
        out[top // factor : top // factor + band.height] = np.asarray(_srgb(band, profile))
    return out


def srgb_from_rgb(pixels: NDArray[np.uint8], profile: object) -> NDArray[np.uint8]:
    """(h, w, 3) RGB in the space of an ICC profile (bytes, or anything else for none) to sRGB. A broken profile changes nothing."""
    if transform_of(profile, "RGB") is None:
        return pixels
    return np.asarray(_srgb(Image.fromarray(pixels), profile))


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """None when there is nothing to do: the profile is broken, made for another mode, or sRGB in all but name."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if _SPACES.get(source.profile.xcolor_space.strip()) != mode:
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB", flags=_NO_CACHE)  # type: ignore[arg-type]  # flags are an int enumeration without this member
        return None if mode != "CMYK" and _is_identity(transform, mode) else transform
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, MemoryError):
        return None


def transform_of(profile: object, mode: str) -> ImageCms.ImageCmsTransform | None:
    """How pixels of `mode` (RGB, L or CMYK) in this profile become sRGB; None: leave them alone."""
    if not isinstance(profile, bytes) or len(profile) not in _PROFILE_BYTES:
        return None
    return _transform(profile, mode)


def _is_identity(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Compares pixels, not descriptions: sRGB profiles come under dozens of names, and some others call themselves sRGB."""
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3) if mode == "RGB" else np.arange(256, dtype=np.uint8)[None]
    before = Image.fromarray(grid)
    after = ImageCms.applyTransform(before, transform)
    if after is None:
        return True
    change = np.abs(np.asarray(after).astype(np.int16) - np.asarray(before.convert("RGB")))
    return bool(change.max() <= _SAME_MAX and change.mean() <= _SAME_MEAN)


def _srgb(image: Image.Image, profile: object) -> Image.Image:
    """L, RGB, CMYK or LAB to sRGB."""
    if image.mode == "LAB":
        converted = ImageCms.profileToProfile(image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB")
        return converted if converted is not None else image.convert("L").convert("RGB")
    transform = transform_of(profile, image.mode)
    converted = ImageCms.applyTransform(image, transform) if transform is not None else None
    return converted if converted is not None else image.convert("RGB")


def _eight_bit(image: Image.Image, ceiling: float) -> Image.Image:
    """Any mode to L, RGB, CMYK or LAB of 8 bits; ceiling is the value that becomes 255 in deep grey modes."""
    if image.mode in _KEPT:
        return image
    if image.mode[0] in "IF":
        values = np.nan_to_num(np.asarray(image).astype(np.float32), posinf=ceiling, neginf=0.0)
        return Image.fromarray((np.clip(values / ceiling, 0, 1) * 255 + 0.5).astype(np.uint8))
    image = image.convert(_PREMULTIPLIED[image.mode]) if image.mode in _PREMULTIPLIED else image
    return image.convert("L" if image.mode in _GREY else "RGB")


def _ceiling(image: Image.Image) -> float:
    """White in a grey mode deeper than 8 bits: the smallest usual maximum (1.0 for floats, 2^8-1, 2^16-1, 2^32-1) that holds its brightest pixel."""
    if image.mode.startswith("I;16"):
        return 65535.0
    if image.mode not in ("I", "F"):
        return 255.0
    brightest = image.getextrema()[1]
    brightest = brightest if isinstance(brightest, int | float) else 255.0
    usual = [1.0] * (image.mode == "F") + [255.0, 65535.0]
    return next((white for white in usual if brightest <= white), 4294967295.0)
