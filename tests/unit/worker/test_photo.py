"""kizu_fast/worker/photo.py: what one photo takes, and how its file is named."""

from uuid import UUID

import pytest

from kizu_fast.domain import LIBRARY_OWNER, Asset
from kizu_fast.worker.photo import bytes_needed, display


def asset(name: bytes, width: int | None, height: int | None, size: int | None = 1000) -> Asset:
    return Asset(UUID(int=1), LIBRARY_OWNER, b"/photos/" + name, byte_size=size, width=width, height=height)


def test_text_wants_more_of_a_photo() -> None:
    """4032 x 3024 is decoded at a half instead of a quarter when its longer side has to keep 1280 pixels."""
    assert bytes_needed(asset(b"a.jpg", 4032, 3024), 1280) == 2016 * 1512 * 3 + 1000


def test_a_jpeg_takes_its_pixels_at_the_scale_of_the_decoder() -> None:
    assert bytes_needed(asset(b"a.jpg", 4032, 3024)) == 1008 * 756 * 3 + 1000


@pytest.mark.parametrize("name", [b"a.JPG", b"a.jpeg", b"a.mpo"])
def test_every_name_of_a_jpeg_counts(name: bytes) -> None:
    assert bytes_needed(asset(name, 2880, 2880)) == 720 * 720 * 3 + 1000


def test_other_pictures_take_all_their_pixels() -> None:
    assert bytes_needed(asset(b"a.png", 4000, 3000)) == 12_000_000 * 3 + 1000


def test_a_small_jpeg_is_not_scaled() -> None:
    assert bytes_needed(asset(b"a.jpg", 1280, 1000)) == 1280 * 1000 * 3 + 1000


def test_an_unknown_size_is_taken_for_a_camera_picture() -> None:
    assert bytes_needed(asset(b"a.heic", None, None, None)) == 36_000_000


@pytest.mark.parametrize(("path", "shown"), [(b"/a/b.jpg", "/a/b.jpg"), ("/é/写真.jpg".encode(), "/é/写真.jpg"), (b"/a/\xff.jpg", "/a/\\xff.jpg")])
def test_any_file_name_can_be_shown(path: bytes, shown: str) -> None:
    assert display(path) == shown
    display(path).encode("utf-8")
