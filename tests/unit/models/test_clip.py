"""CLIP's picture: the crop of the original design, from a full decode and from a scaled one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from kizu_fast.domain import Photo
from kizu_fast.errors import PermanentError
from kizu_fast.models.clip import STEPS, postprocess, preprocess

SIDE = 224


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Soft colour waves with an edge: content that a half-pixel shift would show in."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64) * (640 / max(height, width))
    waves = np.stack([np.sin(x / 9 + seed) + np.cos(y / 13), np.sin((x + y) / 17), np.cos(x / 7 - y / 11)], axis=-1)
    pixels = np.clip(127 + 60 * waves, 0, 255).astype(np.uint8)
    pixels[height // 3 : height // 2, width // 4 : width // 2] = (250, 20, 90)
    return pixels


def photo(pixels: NDArray[np.uint8]) -> Photo:
    return Photo(pixels, pixels.shape[1], pixels.shape[0])


def resize_then_crop(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The original's transform in plain Pillow, written from its documentation: short side to `side`, then the centre."""
    height, width = pixels.shape[:2]
    size = (side, int(side * height / width)) if width < height else (int(side * width / height), side)
    scaled = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    left, top = round((size[0] - side) / 2.0), round((size[1] - side) / 2.0)
    return np.asarray(scaled.crop((left, top, left + side, top + side)))


@pytest.mark.parametrize(
    ("height", "width"), [(480, 640), (640, 480), (331, 441), (441, 331), (224, 224), (100, 150), (225, 224), (300, 900), (900, 300), (719, 1280)]
)
def test_a_full_decode_gives_the_pixels_of_resize_and_crop(height: int, width: int) -> None:
    pixels = picture(height, width)
    assert np.array_equal(preprocess(photo(pixels), SIDE), resize_then_crop(pixels, SIDE))


@pytest.mark.parametrize(("height", "width", "factor"), [(1512, 2016, 2), (2016, 1512, 2), (1203, 1601, 2)])
def test_a_scaled_decode_gives_nearly_the_same_crop(height: int, width: int, factor: int) -> None:
    pixels = picture(height, width)
    scaled = np.asarray(Image.fromarray(pixels).reduce(factor))
    ours = preprocess(Photo(scaled, width, height), SIDE)
    assert (
        np.abs(ours.astype(int) - resize_then_crop(pixels, SIDE)).mean() < 1.0
    )  # painted detail is harder than photos', see export.fidelity for those


def test_the_crop_of_a_scaled_decode_does_not_drift() -> None:
    """Cropped by its own size instead of the original's, this picture would be half a pixel off."""
    height, width = 1001, 3003
    pixels = picture(height, width)
    scaled = np.asarray(Image.fromarray(pixels).reduce(4))
    ours = preprocess(Photo(scaled, width, height), SIDE).astype(int)
    want = resize_then_crop(pixels, SIDE).astype(int)
    shifted = [np.abs(np.roll(ours, shift, axis=1)[:, 8:-8] - want[:, 8:-8]).mean() for shift in (-1, 0, 1)]
    assert shifted[1] == min(shifted)
    assert shifted[1] < 0.5 * min(shifted[0], shifted[2])


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 700), width=st.integers(1, 700), steps=st.sampled_from(sorted(STEPS)))
def test_every_size_gives_a_square_of_the_model_s_side(height: int, width: int, steps: str) -> None:
    row = preprocess(photo(np.full((height, width, 3), 77, np.uint8)), 32, steps)
    assert row.shape == (32, 32, 3)
    assert row.dtype == np.uint8
    if not steps.startswith("p1-longest"):
        assert (row == 77).all()


def test_a_strip_of_one_pixel_needs_no_memory_to_speak_of() -> None:
    assert preprocess(photo(np.full((1, 30_000, 3), 9, np.uint8)), SIDE).shape == (SIDE, SIDE, 3)
    assert preprocess(photo(np.full((30_000, 1, 3), 9, np.uint8)), SIDE).shape == (SIDE, SIDE, 3)


def test_squash_takes_the_whole_picture_without_its_aspect() -> None:
    pixels = picture(300, 500)
    want = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    assert np.array_equal(preprocess(photo(pixels), SIDE, "p1-squash-bicubic"), want)


def test_bilinear_is_another_filter_than_bicubic() -> None:
    pixels = picture(300, 500)
    want = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    assert np.array_equal(preprocess(photo(pixels), SIDE, "p1-squash-bilinear"), want)
    assert not np.array_equal(preprocess(photo(pixels), SIDE, "p1-squash-bicubic"), want)


def test_longest_keeps_the_whole_picture_on_black() -> None:
    row = preprocess(photo(np.full((100, 200, 3), 200, np.uint8)), SIDE, "p1-longest-bicubic")
    assert (row[:56] == 0).all()
    assert (row[56:168] == 200).all()
    assert (row[168:] == 0).all()


def test_unknown_steps_are_an_error() -> None:
    with pytest.raises(KeyError):
        preprocess(photo(np.zeros((8, 8, 3), np.uint8)), 8, "p9")


def test_a_vector_is_made_exactly_unit_length() -> None:
    row = np.random.default_rng(0).normal(size=512).astype(np.float32)
    row *= 1.0004 / np.linalg.norm(row)
    vector = postprocess(row)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector.astype(np.float64)) == pytest.approx(1, abs=1e-6)
    assert float(vector @ row) == pytest.approx(1.0004, abs=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3.0])
def test_a_broken_vector_is_refused(bad: float) -> None:
    row = np.zeros(512, np.float32)
    row[:2] = (1.0, bad)
    with pytest.raises(PermanentError, match="length"):
        postprocess(row)


def test_a_zero_vector_is_refused() -> None:
    with pytest.raises(PermanentError, match="length 0 instead of 1"):
        postprocess(np.zeros(512, np.float32))


def test_the_caller_s_row_is_left_alone() -> None:
    row = np.zeros(4, np.float32)
    row[0] = 1.0
    row.setflags(write=False)
    assert postprocess(row).tolist() == [1, 0, 0, 0]
