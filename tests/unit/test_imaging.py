"""Every format, mode and orientation is rendered here; tests/unit/test_shared_pictures.py adds files from real cameras."""

import io
import random
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import CAPS, MAX_BYTES, MAX_PIXELS, encoded, exif_with, far, flat_png, jpeg, png_chunk, png_with, scene, stored
from PIL import Image, ImageFile

from kizu_fast.errors import ImageTooLarge, ImageUnreadable
from kizu_fast.imaging import decode, read_facts, turn_upright


def pixels_of(content: bytes, short_side: int | None = None) -> NDArray[np.uint8]:
    return decode(content, **CAPS, short_side=short_side)[0].pixels


ROUND_TRIPS: list[tuple[str, dict[str, Any], str, float]] = [
    ("JPEG", {"quality": 95, "subsampling": 0}, "image/jpeg", 2.0),
    ("JPEG", {"quality": 95, "progressive": True}, "image/jpeg", 4.0),
    ("JPEG", {"quality": 95, "restart_marker_rows": 1}, "image/jpeg", 4.0),
    ("MPO", {"quality": 95, "subsampling": 0}, "image/jpeg", 2.0),
    ("PNG", {}, "image/png", 0.0),
    ("WEBP", {"lossless": True}, "image/webp", 0.0),
    ("WEBP", {"quality": 95}, "image/webp", 6.0),
    ("TIFF", {}, "image/tiff", 0.0),
    ("TIFF", {"compression": "tiff_deflate"}, "image/tiff", 0.0),
    ("TIFF", {"compression": "tiff_lzw"}, "image/tiff", 0.0),
    ("TIFF", {"compression": "packbits"}, "image/tiff", 0.0),
    ("TIFF", {"compression": "jpeg", "quality": 95}, "image/tiff", 6.0),
    ("TIFF", {"big_tiff": True}, "image/tiff", 0.0),
    ("BMP", {}, "image/bmp", 0.0),
    ("PPM", {}, "image/x-portable-anymap", 0.0),
    ("TGA", {}, "image/x-tga", 0.0),
    ("JPEG2000", {"irreversible": False}, "image/jp2", 0.0),
    ("AVIF", {"quality": 90, "subsampling": "4:4:4"}, "image/avif", 3.0),
    ("HEIF", {"quality": 90, "chroma": 444}, "image/heic", 4.0),
]


@pytest.mark.parametrize(("kind", "options", "mime_type", "tolerance"), ROUND_TRIPS, ids=str)
def test_every_format_comes_back_as_it_was_written(kind: str, options: dict[str, Any], mime_type: str, tolerance: float) -> None:
    content = encoded(scene(), kind, **options)
    photo, facts = decode(content, **CAPS)
    assert (photo.width, photo.height, facts.width, facts.height, facts.mime_type) == (96, 64, 96, 64, mime_type)
    assert photo.pixels.dtype == np.uint8
    assert photo.pixels.flags.c_contiguous
    assert far(photo.pixels, scene()) <= tolerance
    assert read_facts(content, **CAPS) == facts


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_give_the_same_upright_picture(kind: str, orientation: int) -> None:
    options: dict[str, Any] = {
        "JPEG": {"quality": 95, "subsampling": 0},
        "WEBP": {"lossless": True},
        "AVIF": {"quality": 95, "subsampling": "4:4:4"},
    }.get(kind, {})
    content = encoded(stored(scene(), orientation), kind, exif=exif_with(orientation), **options)
    photo, facts = decode(content, **CAPS, short_side=None)
    assert (facts.width, facts.height, facts.orientation) == (96, 64, orientation)
    assert far(photo.pixels, scene()) <= 3.0
    assert read_facts(content, **CAPS) == facts


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_turned_once_and_reported_as_upright(orientation: int) -> None:
    content = encoded(stored(scene(), orientation), "HEIF", quality=90, chroma=444, exif=exif_with(orientation).tobytes())
    photo, facts = decode(content, **CAPS, short_side=None)
    assert (facts.width, facts.height, facts.orientation) == (96, 64, 1)
    assert far(photo.pixels, scene()) <= 4.0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_agrees_with_pillow(orientation: int) -> None:
    turned = turn_upright(stored(scene(7, 5), orientation), orientation)
    assert np.array_equal(turned, scene(7, 5))


def test_an_orientation_that_only_xmp_states_counts() -> None:
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"/>'
    photo, facts = decode(jpeg(stored(scene(), 6), xmp=packet), **CAPS)
    assert (facts.width, facts.height, facts.orientation) == (96, 64, 6)
    assert far(photo.pixels, scene()) <= 2.0


def test_exif_facts_come_with_the_size() -> None:
    exif = exif_with(1)
    exif[0x010F], exif[0x0110] = "Canon", "EOS 6D"
    exif.get_ifd(0x8769).update({0x9003: "2021:06:05 12:00:01", 0x9011: "+02:00"})
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"):
        facts = read_facts(encoded(scene(), kind, exif=exif.tobytes() if kind in ("HEIF", "TIFF") else exif), **CAPS)
        assert (facts.camera_make, facts.camera_model, facts.utc_offset_minutes) == ("Canon", "EOS 6D", 120), kind
        assert str(facts.taken_at_local) == "2021-06-05 12:00:01", kind


@pytest.mark.parametrize("late", [False, True])
def test_exif_of_a_png_is_found_before_and_behind_the_pixels(late: bool) -> None:
    block = exif_with(6).tobytes().removeprefix(b"Exif\0\0")
    content = png_with(png_chunk(b"eXIf", block), late=late, picture=encoded(stored(scene(), 6), "PNG"))
    photo, facts = decode(content, **CAPS)
    assert (facts.width, facts.height, facts.orientation) == (96, 64, 6)
    assert far(photo.pixels, scene()) == 0


def test_truncated_files_are_refused_as_damaged() -> None:
    for kind, options in (
        ("JPEG", {}),
        ("PNG", {}),
        ("WEBP", {}),
        ("TIFF", {"compression": "tiff_deflate"}),
        ("HEIF", {}),
        ("BMP", {}),
        ("JPEG2000", {}),
    ):
        noise = np.random.default_rng(1).integers(0, 255, (64, 96, 3), np.uint8)
        content = encoded(noise, kind, **options)
        with pytest.raises(ImageUnreadable) as caught:
            decode(content[: len(content) // 2], **CAPS)
        assert "\n" not in str(caught.value), kind


def test_a_jpeg_without_its_end_is_refused() -> None:
    with pytest.raises(ImageUnreadable, match="truncated"):
        decode(jpeg()[:-2], **CAPS)


def test_data_behind_the_end_of_a_jpeg_is_no_fault() -> None:
    assert far(pixels_of(jpeg() + b"\0\0\0\x18ftypmp42" + bytes(2000)), scene()) <= 2.0


def test_a_wrong_restart_marker_does_not_lose_the_photo() -> None:
    content = bytearray(jpeg(scene(256, 256), restart_marker_rows=1))
    marker = content.index(b"\xff\xd3", 600)
    content[marker + 1] = 0xD5
    assert pixels_of(bytes(content)).shape == (256, 256, 3)


def test_pillows_switches_are_set_whatever_others_left_there() -> None:
    before = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
    try:
        ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = True, 10
        assert pixels_of(encoded(scene(), "PNG")).shape == (64, 96, 3)
        with pytest.raises(ImageUnreadable):
            decode(jpeg()[:-40], **CAPS)
        Image.MAX_IMAGE_PIXELS = None
        with pytest.raises(ImageTooLarge):
            decode(flat_png(3000, 3000), max_pixels=1_000_000, max_bytes=MAX_BYTES)
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = before


def test_warnings_of_pillow_reach_nobody() -> None:
    palette = Image.fromarray(scene()).quantize(16)
    content = encoded(palette, "PNG", transparency=bytes(range(16)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        decode(content, **CAPS)
        decode(flat_png(9600, 9600), **CAPS)
    assert caught == []


@pytest.mark.parametrize(
    ("width", "height", "decoded"),
    [
        (4000, 3000, (750, 1000)),
        (3000, 4000, (1000, 750)),
        (2880, 1440, (720, 1440)),
        (2878, 1439, (1439, 2878)),
        (719, 500, (500, 719)),
        (4217, 2817, (1409, 2109)),
    ],
)
def test_a_jpeg_is_halved_while_its_short_side_stays_at_720(width: int, height: int, decoded: tuple[int, int]) -> None:
    photo, facts = decode(jpeg(scene(width, height)), **CAPS)
    assert photo.pixels.shape == (*decoded, 3)
    assert (photo.width, photo.height, facts.width, facts.height) == (width, height, width, height)


@pytest.mark.parametrize(("mode", "kind"), [("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "PNG"), ("RGB", "WEBP"), ("RGB", "JPEG2000")])
def test_every_path_scales_down_to_the_same_picture(mode: str, kind: str) -> None:
    image = Image.fromarray(scene(1600, 1440)).convert(mode)
    options = {"quality": 95} if kind in ("JPEG", "WEBP") else {}
    small = pixels_of(encoded(image, kind, **options), 720)
    assert small.shape == (720, 800, 3)
    assert far(small, np.asarray(image.convert("RGB").reduce(2))) <= 3.0


def test_an_exact_decode_is_pillows_own_to_the_bit() -> None:
    noise = np.random.default_rng(2).integers(0, 255, (333, 517, 3), np.uint8)
    content = encoded(noise, "JPEG", quality=80)
    assert np.array_equal(pixels_of(content), np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_every_chroma_subsampling_decodes(subsampling: str) -> None:
    assert far(pixels_of(jpeg(subsampling=subsampling)), scene()) <= 4.0


@pytest.mark.parametrize(("width", "height"), [(1, 1), (4000, 3), (3, 4000)])
def test_tiny_and_thin_pictures_keep_their_size(width: int, height: int) -> None:
    assert decode(jpeg(scene(width, height)), **CAPS)[0].pixels.shape == (height, width, 3)


def test_of_several_frames_the_first_is_taken() -> None:
    others = [Image.fromarray(255 - scene()), Image.new("RGB", (96, 64))]
    for kind, options in (("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("MPO", {"quality": 95}), ("AVIF", {"quality": 95})):
        content = encoded(scene(), kind, save_all=True, append_images=others, **options)
        assert far(pixels_of(content), scene()) <= 16.0, kind


def test_caps_count_from_the_header_and_name_their_setting() -> None:
    content = encoded(scene(), "PNG")
    decode(content, max_pixels=96 * 64, max_bytes=len(content))
    for reader in (read_facts, decode):
        with pytest.raises(ImageTooLarge, match=r"96 x 64 = 0\.0 megapixels, more than KIZU_MAX_PIXELS=6143 allows"):
            reader(content, max_pixels=96 * 64 - 1, max_bytes=MAX_BYTES)
        with pytest.raises(ImageTooLarge, match="KIZU_MAX_FILE_BYTES"):
            reader(content, max_pixels=MAX_PIXELS, max_bytes=len(content) - 1)


def huge_tiff() -> bytes:
    tags = [(256, 60000), (257, 60000), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 60000), (279, 100)]
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags) + bytes(4)


def huge_jpeg() -> bytes:
    content = bytearray(jpeg())
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", 65500, 65500)
    return bytes(content)


BOMBS = {
    "png": lambda: flat_png(30000, 30000),
    "png just above the cap": lambda: flat_png(12000, 12000),
    "png of 2^31": lambda: (
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)) + png_chunk(b"IDAT", b"x")
    ),
    "gif": lambda: b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b",\0\0\0\0\xff\xff\xff\xff\0\x02\x02L\x01\0;",
    "webp": lambda: b"RIFF" + struct.pack("<I", 32) + b"WEBPVP8L" + struct.pack("<I", 20) + b"/" + struct.pack("<I", 16382 | 16382 << 14) + bytes(15),
    "tiff": huge_tiff,
    "jpeg": huge_jpeg,
    "bmp": lambda: b"BM" + struct.pack("<IIIIiiHHIIIIII", 54, 0, 54, 40, 60000, -60000, 1, 24, 0, 0, 0, 0, 0, 0),
    "ppm": lambda: b"P6 60000 60000 255\n",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_by_their_header(name: str) -> None:
    with pytest.raises(ImageTooLarge, match="KIZU_MAX_PIXELS"):
        decode(BOMBS[name](), **CAPS)


def test_a_picture_hidden_in_an_icon_is_held_to_the_cap() -> None:
    inner = flat_png(20000, 20000)
    content = b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22) + inner
    with pytest.raises((ImageTooLarge, ImageUnreadable)):
        decode(content, **CAPS)


def test_text_that_inflates_does_not_keep_a_png_from_being_read() -> None:
    bomb = png_chunk(b"zTXt", b"comment\0\0" + zlib.compress(bytes(20_000_000), 9))
    for late in (False, True):
        assert far(pixels_of(png_with(bomb, late=late)), scene()) == 0


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    content = jpeg(scene(1024, 1024), progressive=True)
    scan = content.rindex(b"\xff\xda")
    with pytest.raises(ImageUnreadable, match="scans"):
        decode(content[:-2] + content[scan : scan + 14] * 30_000 + b"\xff\xd9", **CAPS)


def test_an_ordinary_progressive_jpeg_with_a_film_behind_it_is_read() -> None:
    content = jpeg(scene(1024, 1024), progressive=True) + b"\xff\xda" * 40_000
    assert pixels_of(content).shape == (1024, 1024, 3)


def test_a_wide_jpeg_2000_is_decoded_at_a_resolution_that_fits_memory() -> None:
    content = encoded(scene(2000, 1500), "JPEG2000", num_resolutions=5, irreversible=True, quality_mode="rates", quality_layers=[20])
    photo, _ = decode(content, **CAPS)
    assert photo.pixels.shape == (750, 1000, 3)
    assert far(photo.pixels, np.asarray(Image.fromarray(scene(2000, 1500)).reduce(2))) <= 3.0


def test_a_large_webp_is_read_by_the_leaner_decoder() -> None:
    content = encoded(scene(6000, 4200), "WEBP", quality=50, method=0)
    photo, _ = decode(content, **CAPS)
    assert photo.pixels.shape == (840, 1200, 3)
    assert far(photo.pixels, np.asarray(Image.fromarray(scene(6000, 4200)).reduce(5))) <= 4.0
    with pytest.raises(ImageUnreadable):
        decode(content[: len(content) // 2], **CAPS)


def test_threads_share_nothing() -> None:
    contents = [encoded(stored(scene(), n), kind, exif=exif_with(n)) for n in range(1, 9) for kind in ("JPEG", "PNG", "WEBP", "TIFF")]
    alone = [pixels_of(content) for content in contents]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(pixels_of, contents * 5))
    assert all(np.array_equal(a, b) for a, b in zip(alone * 5, together, strict=True))


def damaged(content: bytes, chance: random.Random) -> bytes:
    out = bytearray(content)
    for _ in range(chance.choice((1, 2, 5, 20))):
        place = chance.randrange(min(len(out), chance.choice((64, 400, len(out)))))
        match chance.randrange(4):
            case 0 | 1:
                out[place] = chance.choice((0, 255, chance.randrange(256)))
            case 2:
                del out[place : place + chance.randrange(1, 30)]
            case _:
                out[place:place] = out[place : place + chance.randrange(1, 30)]
        if len(out) < 4:
            break
    return bytes(out)


@pytest.mark.parametrize(
    ("kind", "options"), sorted({(kind, str(options)): (kind, options) for kind, options, _, _ in ROUND_TRIPS}.values(), key=str), ids=str
)
def test_no_damage_raises_anything_but_our_own_errors(kind: str, options: dict[str, Any]) -> None:
    chance = random.Random(f"{kind}{options}")
    content = (
        encoded(scene(48, 32), kind, exif=exif_with(6).tobytes(), **options)
        if kind not in ("BMP", "PPM", "TGA", "JPEG2000")
        else encoded(scene(48, 32), kind)
    )
    reasons: list[str] = []
    for _ in range(60):
        try:
            photo, facts = decode(damaged(content, chance), max_pixels=4_000_000, max_bytes=MAX_BYTES)
        except (ImageUnreadable, ImageTooLarge) as error:
            reasons.append(str(error))
        else:
            assert photo.pixels.shape[2] == 3
            assert (photo.width, photo.height) == (facts.width, facts.height)
    assert not [reason for reason in reasons if "\n" in reason or " at 0x" in reason]


@pytest.mark.parametrize(("long_side", "decoded"), [(1, (1600, 720)), (1600, (1600, 720)), (1601, (3200, 1440)), (9999, (3200, 1440))])
def test_a_longer_side_that_is_wanted_is_kept_too(long_side: int, decoded: tuple[int, int]) -> None:
    for kind in ("JPEG", "PNG"):
        content = encoded(scene(3200, 1440), kind)
        pixels = decode(content, **CAPS, short_side=720, long_side=long_side)[0].pixels
        assert pixels.shape[1::-1] == decoded
