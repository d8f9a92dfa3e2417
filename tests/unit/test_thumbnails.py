"""Thumbnails: which square is cut, in which sizes, and what the files hold."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kizu_fast.domain import Photo
from kizu_fast.thumbnails import SIDES, cut_square, thumbnail


def photo(width: int, height: int, *, shrunk: int = 1) -> Photo:
    """Red grows to the right, green downwards: a pixel tells where it was."""
    rows, columns = np.mgrid[0 : height // shrunk, 0 : width // shrunk]
    pixels = np.stack((columns * 255 // (width // shrunk), rows * 255 // (height // shrunk), np.zeros_like(rows)), axis=2).astype(np.uint8)
    return Photo(pixels, width, height)


def box(*corners: float) -> NDArray[np.float32]:
    return np.array(corners, np.float32)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_the_square_is_the_box_with_a_quarter_of_it_on_each_side() -> None:
    picture = photo(400, 300)
    square = cut_square(picture, box(100, 100, 180, 200))  # 100 high: 150 with margins, around (140, 150)
    assert square.shape == (150, 150, 3)
    assert (square == picture.pixels[75:225, 65:215]).all()


def test_a_box_at_the_edge_moves_the_square_into_the_picture() -> None:
    picture = photo(400, 300)
    assert (cut_square(picture, box(0, 0, 100, 100)) == picture.pixels[:150, :150]).all()
    assert (cut_square(picture, box(300, 200, 400, 300)) == picture.pixels[150:, 250:]).all()


def test_a_picture_narrower_than_the_square_is_continued_by_its_edge() -> None:
    picture = photo(120, 400)
    square = cut_square(picture, box(20, 100, 100, 220))  # 120 high: 180 with margins, 60 more than there is
    assert square.shape == (180, 180, 3)
    assert (square[:, 30:150] == picture.pixels[70:250]).all()
    assert (square[:, :30] == picture.pixels[70:250, :1]).all()
    assert (square[:, 150:] == picture.pixels[70:250, -1:]).all()


def test_a_face_that_fills_the_picture_is_whole() -> None:
    picture = photo(100, 80)
    square = cut_square(picture, box(0, 0, 100, 80))
    assert square.shape == (150, 150, 3)
    assert (square[35:115, 25:125] == picture.pixels).all()


def test_a_box_is_in_pixels_of_the_original_also_when_the_decoder_scaled_it_down() -> None:
    whole, half = photo(400, 300), photo(400, 300, shrunk=2)
    assert cut_square(half, box(100, 100, 180, 200)).shape == (75, 75, 3)
    wanted = cut_square(whole, box(100, 100, 180, 200))[::2, ::2].astype(int)
    assert np.abs(cut_square(half, box(100, 100, 180, 200)).astype(int) - wanted).max() <= 4


@pytest.mark.parametrize("corners", [(10, 10, 11, 11), (10, 10, 10, 10), (399.5, 299.5, 400, 300)])
def test_the_smallest_boxes_still_give_a_picture(corners: tuple[float, ...]) -> None:
    made = thumbnail(photo(400, 300), box(*corners))
    assert [opened(data).size for data in (made.small, made.large)] == [(side, side) for side in SIDES]


def test_both_sizes_are_webp_without_metadata() -> None:
    made = thumbnail(photo(400, 300), box(100, 100, 200, 200))
    for data, side in ((made.small, 112), (made.large, 224)):
        image = opened(data)
        assert (image.format, image.size, image.mode) == ("WEBP", (side, side), "RGB")
        assert not image.getexif()
        assert b"EXIF" not in data
        assert b"ICCP" not in data
        assert b"XMP" not in data


def test_the_picture_is_upright_and_its_colours_are_not_swapped() -> None:
    made = np.asarray(opened(thumbnail(photo(400, 300), box(100, 100, 200, 200)).large)).astype(int)
    assert made[112, 200, 0] > made[112, 20, 0] + 30  # red to the right
    assert made[200, 112, 1] > made[20, 112, 1] + 30  # green downwards
    assert made[..., 2].mean() < 10


def test_the_digest_names_the_content() -> None:
    picture = photo(400, 300)
    first, again, other = (thumbnail(picture, box(100, 100, 200, right)) for right in (200, 200, 210))
    assert first == again
    assert first.digest != other.digest
    assert len(first.digest) == 32
    assert set(first.digest) <= set("0123456789abcdef")
