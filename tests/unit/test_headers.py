"""What a file is, told by its first bytes or its name, and what is said of those that are nothing."""

import warnings
import zlib

import pytest
from pictures import CAPS, encoded, exif_with, jpeg, png_chunk, png_with, scene
from PIL import Image, ImageFile

from kizu_fast.errors import ImageUnreadable
from kizu_fast.headers import MIME_TYPES, exif_block, looks_like_picture, open_picture, settle_pillow, unreadable, xmp_packet
from kizu_fast.imaging import decode

KINDS = ("JPEG", "PNG", "GIF", "WEBP", "HEIF", "AVIF", "TIFF", "BMP", "ICO", "JPEG2000", "PPM", "QOI")


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_told_by_its_content_whatever_its_name(kind: str) -> None:
    content = encoded(scene(), kind)
    assert looks_like_picture(content[:64], "no-extension")
    assert looks_like_picture(content[:64], "notes.txt")
    assert MIME_TYPES[open_picture(content, **CAPS).format or ""].startswith("image/")


@pytest.mark.parametrize(
    "name",
    ["a.jpg", "A.JPG", "two.dots.tar.gz.JpEg", "-dash.png", "x.heic", "x.HIF", "写真.tiff", "a b.webp", "x.svg", "x.jxl", "x.cr2", "x.dng", "x.avif"],
)
def test_a_broken_picture_is_told_by_its_name(name: str) -> None:
    assert looks_like_picture(b"", name)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"", "jpg"[:0]),
        (b"hello, world", "notes.txt"),
        (b"%PDF-1.7", "paper.pdf"),
        (b"PK\3\4", "archive.zip"),
        (b"\0\0\0\x20ftypisom", "film.mp4"),
        (b"\0\0\0\x20ftypqt  ", "film.mov"),
        (b"BM, a diary", "diary"),
        (b"RIFF....WAVEfmt ", "sound.wav"),
        (b"\0\0\1\0\0\0", "icon"),
        (b"{}", "photo.jpg.json"),
    ],
)
def test_other_files_are_no_pictures(head: bytes, name: str) -> None:
    assert not looks_like_picture(head, name)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"x", "no picture"),
        (b"\0" * 5000, "nothing but zeros"),
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (b"<?xml version='1.0'?>\n<!-- a --><svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x0a" + bytes(100), "JPEG XL"),
        (b"%PDF-1.7", "PDF"),
        (b"\0\0\0\x20ftypisom" + bytes(64), "video"),
        (b"\xff\xd8\xff" + bytes(range(256)) * 8, "damaged"),
        (b"junk" + jpeg(), "no picture"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_line_that_says_why(content: bytes, reason: str) -> None:
    with pytest.raises(ImageUnreadable) as caught:
        open_picture(content, **CAPS)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_programs_that_draw_are_never_started() -> None:
    with pytest.raises(ImageUnreadable):
        open_picture(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\n", **CAPS)
    assert {"EPS", "WMF", "PDF", "FITS", "HDF5"}.isdisjoint(MIME_TYPES)


def test_opening_decodes_nothing() -> None:
    image = open_picture(encoded(scene(), "PNG"), **CAPS)
    assert image.size == (96, 64)
    assert isinstance(image, ImageFile.ImageFile)
    assert image.tile


def test_exif_in_imagemagicks_text_form_is_found() -> None:
    block = exif_with(6).tobytes()
    digits = b"\nexif\n" + str(len(block)).encode().rjust(8) + b"\n" + block.hex().encode() + b"\n"
    for chunk in (png_chunk(b"tEXt", b"Raw profile type exif\0" + digits), png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(digits))):
        content = png_with(chunk)
        assert exif_block(open_picture(content, **CAPS), content) == block
    for broken in (b"zTXt", b"tEXt"):
        content = png_with(png_chunk(broken, b"Raw profile type exif\0\0no digits"))
        assert exif_block(open_picture(content, **CAPS), content) == b""


def test_exif_and_xmp_are_empty_where_there_are_none() -> None:
    content = jpeg()
    image = open_picture(content, **CAPS)
    assert exif_block(image, content) == xmp_packet(image) == b""


@pytest.mark.timeout(20)
@pytest.mark.parametrize("tail", [b"\xff\xff\xff\xffzTXt", b"\0\0\0\0", b"\0\0\0\0zTXt", b"\0" * 1000])
def test_a_png_that_breaks_off_in_its_chunks_is_refused(tail: bytes) -> None:
    content = encoded(scene(), "PNG")[:33] + tail
    with pytest.raises(ImageUnreadable):
        decode(content, **CAPS)


def test_settling_twice_changes_nothing_more() -> None:
    with warnings.catch_warnings():
        settle_pillow(10**6)
        cap, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
        settle_pillow(10**6)
        assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == (cap, filters)


def test_the_cause_is_one_line_without_addresses() -> None:
    text = str(unreadable("the picture is damaged", OSError("cannot identify\nimage file <_io.BytesIO object at 0x7f00>")))
    assert text == "the picture is damaged (cannot identify image file)"
    assert str(unreadable("damaged", MemoryError())) == "damaged (MemoryError)"
