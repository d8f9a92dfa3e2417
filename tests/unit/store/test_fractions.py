"""kizu_fast/store/fractions.py: boxes there and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kizu_fast.store.fractions import to_fractions, to_pixels

SIDES = st.integers(1, 30_000)
PARTS = st.floats(0, 1)


def test_a_box_becomes_corner_and_size_in_parts_of_the_picture() -> None:
    boxes = np.array([[0, 0, 400, 200], [100, 50, 300, 150]], np.float32)

    assert to_fractions(boxes, 400, 200).tolist() == [[0, 0, 1, 1], [0.25, 0.25, 0.5, 0.5]]


def test_fractions_become_corners_in_pixels() -> None:
    assert to_pixels((0.25, 0.25, 0.5, 0.5), 400, 200) == (100, 50, 300, 150)


def test_no_boxes_are_no_boxes() -> None:
    assert to_fractions(np.empty((0, 4), np.float32), 10, 10).shape == (0, 4)


@pytest.mark.parametrize("size", [(0, 10), (10, 0), (-1, 10)])
def test_a_picture_without_area_has_no_fractions(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="has no fractions"):
        to_fractions(np.zeros((1, 4), np.float32), *size)


@given(width=SIDES, height=SIDES, x=st.tuples(PARTS, PARTS), y=st.tuples(PARTS, PARTS))
def test_there_and_back_is_the_same_box(width: int, height: int, x: tuple[float, float], y: tuple[float, float]) -> None:
    box = np.array([[min(x) * width, min(y) * height, max(x) * width, max(y) * height]], np.float32)

    stored = to_fractions(box, width, height).astype(np.float32)  # the column is real[]

    assert to_pixels(stored[0].tolist(), width, height) == pytest.approx(box[0].tolist(), abs=max(width, height) * 5e-7)
