"""Modes and profiles. Expected values are computed here from the published definitions, not by the code under test."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import CAPS, encoded, far, png_chunk, scene
from PIL import Image, ImageCms

from kizu_fast.colour import reduced_rgb, srgb_from_rgb, transform_of
from kizu_fast.imaging import decode

GREY = scene()[..., 0]


def pixels_of(content: bytes) -> NDArray[np.uint8]:
    return decode(content, **CAPS, short_side=None)[0].pixels


def profile(kind: str) -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(kind)).tobytes()  # type: ignore[arg-type]


def fixed(number: float) -> bytes:
    return round(number * 65536).to_bytes(4, "big", signed=True)


def matrix_profile(primaries: dict[str, tuple[float, float, float]], gamma: float, name: bytes = b"test") -> bytes:
    """An ICC v2 display profile: columns of the RGB to XYZ (D50) matrix and one gamma."""
    curve = b"curv\0\0\0\0" + (1).to_bytes(4, "big") + round(gamma * 256).to_bytes(2, "big") + b"\0\0"
    text = b"desc\0\0\0\0" + (len(name) + 1).to_bytes(4, "big") + name + b"\0" + bytes(79)
    white = b"XYZ \0\0\0\0" + fixed(0.9642) + fixed(1) + fixed(0.8249)
    tags = {b"desc": text, b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": white}
    for letter in "rgb":
        tags[letter.encode() + b"XYZ"] = b"XYZ \0\0\0\0" + b"".join(map(fixed, primaries[letter]))
        tags[letter.encode() + b"TRC"] = curve
    start = 132 + 12 * len(tags)
    table, body = len(tags).to_bytes(4, "big"), b""
    for tag, content in tags.items():
        value = content + bytes(-len(content) % 4)
        table += tag + (start + len(body)).to_bytes(4, "big") + len(value).to_bytes(4, "big")
        body += value
    head = (
        (start + len(body)).to_bytes(4, "big")
        + bytes(4)
        + b"\x02\x10\0\0mntrRGB XYZ "
        + bytes(12)
        + b"acsp"
        + bytes(28)
        + fixed(0.9642)
        + fixed(1)
        + fixed(0.8249)
        + bytes(48)
    )
    return head + table + body


# Bradford-adapted to D50: the colorants that these profiles carry
ADOBE_RGB = {"r": (0.60974, 0.31111, 0.01947), "g": (0.20528, 0.62567, 0.06087), "b": (0.14919, 0.06322, 0.74457)}
DISPLAY_P3 = {"r": (0.51512, 0.24120, -0.00105), "g": (0.29198, 0.69225, 0.04189), "b": (0.15710, 0.06657, 0.78407)}
SRGB = {"r": (0.43607, 0.22249, 0.01392), "g": (0.38515, 0.71687, 0.09708), "b": (0.14307, 0.06061, 0.71410)}


def expected_srgb(pixels: NDArray[np.uint8], primaries: dict[str, tuple[float, float, float]], gamma: float) -> NDArray[np.uint8]:
    """The same by arithmetic: linearise, to XYZ, to linear sRGB, sRGB's own curve."""
    to_xyz = np.array([primaries[c] for c in "rgb"]).T
    from_xyz = np.linalg.inv(np.array([SRGB[c] for c in "rgb"]).T)
    linear = np.clip((pixels / 255.0) ** gamma @ (from_xyz @ to_xyz).T, 0, 1)
    return (np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255).round().astype(np.uint8)


@pytest.mark.parametrize(("primaries", "gamma"), [(ADOBE_RGB, 2.2), (DISPLAY_P3, 2.2)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_wide_gamut_pictures_become_srgb(primaries: dict[str, tuple[float, float, float]], gamma: float, kind: str) -> None:
    options: dict[str, Any] = {"JPEG": {"quality": 98, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    got = pixels_of(encoded(scene(), kind, icc_profile=matrix_profile(primaries, gamma), **options))
    assert far(got, expected_srgb(scene(), primaries, gamma)) <= 1.5
    assert far(got, scene()) > 2.0


def test_srgb_under_any_name_is_left_untouched() -> None:
    for same in (profile("sRGB"), matrix_profile(SRGB, 2.2, b"Camera RGB Profile")):
        assert transform_of(same, "RGB") is None
        assert srgb_from_rgb(scene(), same) is not None
        assert np.array_equal(pixels_of(encoded(scene(), "PNG", icc_profile=same)), scene())


def test_a_profile_that_only_calls_itself_srgb_is_applied() -> None:
    assert transform_of(matrix_profile(ADOBE_RGB, 2.2, b"sRGB IEC61966-2.1"), "RGB") is not None


@pytest.mark.parametrize("broken", [b"", b"not a profile" * 30, profile("sRGB")[:300], b"\0" * 400, None, "text"])
def test_a_broken_profile_is_ignored(broken: object) -> None:
    assert np.array_equal(srgb_from_rgb(scene(), broken), scene())


def test_a_profile_made_for_another_mode_is_ignored() -> None:
    assert transform_of(matrix_profile(ADOBE_RGB, 2.2), "L") is None
    content = encoded(Image.fromarray(GREY), "PNG", icc_profile=matrix_profile(ADOBE_RGB, 2.2))
    assert np.array_equal(pixels_of(content), np.repeat(GREY[..., None], 3, axis=2))


def test_cmyk_equals_pillows_own_conversion() -> None:
    image = Image.fromarray(scene()).convert("CMYK")
    assert far(pixels_of(encoded(image, "TIFF")), np.asarray(image.convert("RGB"))) == 0
    assert far(pixels_of(encoded(image, "JPEG", quality=98, subsampling=0)), scene()) <= 3.0


def test_lab_becomes_srgb() -> None:
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = ImageCms.applyTransform(Image.fromarray(scene()), to_lab)
    assert lab is not None
    assert far(pixels_of(encoded(lab, "TIFF")), scene()) <= 3.0


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    deep = Image.fromarray(GREY.astype(np.uint16) * 257)
    got = pixels_of(encoded(deep, kind))
    assert far(got, np.repeat(GREY[..., None], 3, axis=2)) == 0


def test_sixteen_bit_colour_is_scaled_not_clipped() -> None:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in scene().astype(np.uint16) * 257)
    header = struct.pack(">IIBBBBB", 96, 64, 16, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    assert far(pixels_of(content), scene()) == 0


@pytest.mark.parametrize(("white", "dtype"), [(1.0, np.float32), (255.0, np.float32), (65535.0, np.float32), (255, np.int32), (65535, np.int32)])
def test_deep_grey_finds_its_own_white(white: float, dtype: type) -> None:
    deep = Image.fromarray((GREY / 255.0 * white).round(6).astype(dtype))
    assert far(pixels_of(encoded(deep, "TIFF")), np.repeat(GREY[..., None], 3, axis=2)) <= 1.0


def test_floats_that_are_no_numbers_are_black_or_white() -> None:
    odd = np.zeros((2, 4), np.float32)
    odd[0, :3] = (np.nan, np.inf, -np.inf)
    odd[1] = 1.0
    assert pixels_of(encoded(Image.fromarray(odd), "TIFF")).shape == (2, 4, 3)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "PA"])
def test_every_mode_equals_pillows_convert(mode: str) -> None:
    image = Image.fromarray(scene()).convert(mode)
    content = encoded(image, "TIFF" if mode not in ("P", "PA") else "PNG") if mode != "PA" else None
    got = reduced_rgb(image, 1) if content is None else pixels_of(content)
    assert np.array_equal(got, np.asarray(image.convert("RGB")))


def test_alpha_is_dropped_as_the_reference_drops_it() -> None:
    image = Image.fromarray(np.dstack([scene(), GREY]))
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        assert np.array_equal(pixels_of(encoded(image, kind, **options)), scene()), kind


def test_a_palette_with_transparency_keeps_its_colours() -> None:
    image = Image.fromarray(scene()).quantize(32)
    content = encoded(image, "PNG", transparency=bytes(range(32)))
    assert np.array_equal(pixels_of(content), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("factor", [2, 3, 7])
@pytest.mark.parametrize(("width", "height"), [(96, 64), (97, 65), (1, 50), (3000, 2100)])
def test_bands_leave_no_seam(width: int, height: int, factor: int) -> None:
    image = Image.fromarray(scene(width, height))
    assert np.array_equal(reduced_rgb(image, factor), np.asarray(image.reduce(factor)))


def test_a_profile_is_applied_band_by_band_as_on_the_whole() -> None:
    image = Image.fromarray(scene(3000, 2100))
    image.info["icc_profile"] = matrix_profile(DISPLAY_P3, 2.2)
    whole = srgb_from_rgb(np.asarray(image.reduce(3)), image.info["icc_profile"])
    assert far(reduced_rgb(image, 3), whole) == 0


def test_pillow_is_asked_for_its_own_profile_bytes() -> None:
    content = encoded(scene(), "PNG", icc_profile=profile("sRGB"))
    assert Image.open(io.BytesIO(content)).info["icc_profile"] == profile("sRGB")
