"""Alignment to five points, and what a face's quality is made of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kizu_fast.domain import Photo
from kizu_fast.errors import PermanentError
from kizu_fast.models import arcface


@given(angle=st.floats(-3.1, 3.1), scale=st.floats(0.05, 20), x=st.floats(-500, 500), y=st.floats(-500, 500))
def test_any_turned_scaled_and_shifted_face_is_brought_onto_the_template(angle: float, scale: float, x: float, y: float) -> None:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = arcface.TEMPLATE @ turn.T + (x, y)
    warp = arcface.similarity(points)
    assert np.allclose(points @ warp[:, :2].T + warp[:, 2], arcface.TEMPLATE, atol=1e-6)


def test_a_mirrored_face_is_not_mirrored_back() -> None:
    mirrored = arcface.TEMPLATE * (-1, 1)
    assert np.linalg.det(arcface.similarity(mirrored)[:, :2]) > 0


def test_five_equal_points_are_a_broken_model() -> None:
    with pytest.raises(PermanentError, match="five points"):
        arcface.similarity(np.full((5, 2), 7.0))


def test_a_face_that_lies_on_the_template_is_cut_out_as_it_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (112, 112, 3), dtype=np.uint8)
    assert (arcface.crop(Photo(pixels, 112, 112), arcface.TEMPLATE.astype(np.float32)) == pixels).mean() > 0.99


def test_the_crop_of_a_photo_decoded_at_half_its_size_is_the_same_face() -> None:
    yy, xx = np.mgrid[:224, :224]
    pixels = np.stack([xx, yy, (xx + yy) // 2], axis=2).astype(np.uint8)
    half = pixels.reshape(112, 2, 112, 2, 3).mean(axis=(1, 3)).astype(np.uint8)
    points = (arcface.TEMPLATE * 2).astype(np.float32)
    whole, scaled = (arcface.crop(Photo(each, 224, 224), points).astype(int) for each in (pixels, half))
    assert np.abs(whole - scaled)[4:-4, 4:-4].mean() < 1


@pytest.mark.parametrize("row", [np.full(4, np.nan, np.float32), np.zeros(4, np.float32), np.ones(4, np.float32)])
def test_a_vector_that_is_no_unit_is_a_broken_model(row: np.ndarray) -> None:
    with pytest.raises(PermanentError, match="length"):
        arcface.postprocess(row)


def test_a_small_blurred_or_turned_face_says_less() -> None:
    rng = np.random.default_rng(1)
    sharp, flat = rng.integers(0, 255, (112, 112, 3), dtype=np.uint8), np.full((112, 112, 3), 90, np.uint8)
    turned = arcface.TEMPLATE.copy()
    turned[2, 0] += 30
    best = arcface.quality(sharp, 80, 0.9, arcface.TEMPLATE)
    assert best == pytest.approx(1, abs=0.05)
    assert arcface.quality(sharp, 12, 0.9, arcface.TEMPLATE) == 0
    assert arcface.quality(flat, 80, 0.9, arcface.TEMPLATE) == 0
    assert arcface.quality(sharp, 80, 0.4, arcface.TEMPLATE) == 0
    assert 0.4 < arcface.quality(sharp, 80, 0.9, turned) < best


def test_darkness_is_no_blur() -> None:
    bright = np.random.default_rng(2).integers(60, 255, (112, 112, 3), dtype=np.uint8)
    dark = (bright // 4).astype(np.uint8)
    assert arcface.sharpness(dark) == pytest.approx(arcface.sharpness(bright), rel=0.1)
