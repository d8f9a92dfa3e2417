"""Before and after the face detector's graph."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kizu_fast.domain import Photo
from kizu_fast.errors import PermanentError
from kizu_fast.models import scrfd

SIDES = st.integers(1, 6000)


def outputs(*boxes: tuple[float, float, float, float], scores: tuple[float, ...] = ()) -> dict[str, np.ndarray]:
    count = len(boxes)
    points = np.tile(np.array([[1.0, 2.0]] * 5, np.float32).reshape(1, 10), (count, 1))
    given_scores = np.array(scores or (0.9,) * count, np.float32)
    return {"boxes": np.array(boxes, np.float32).reshape(-1, 4), "scores": given_scores, "landmarks": points}


@given(height=SIDES, width=SIDES, side=st.sampled_from([128, 640]))
def test_a_photo_fills_its_bucket_and_never_leaves_it(height: int, width: int, side: int) -> None:
    frame = scrfd.frame_for(height, width, (side, side))
    assert max(frame.bucket) == side
    assert 1 <= frame.inner_height <= frame.bucket[0]
    assert 1 <= frame.inner_width <= frame.bucket[1]
    assert side in {frame.inner_height, frame.inner_width}


def test_the_photo_lies_at_the_top_left_and_the_rest_is_black() -> None:
    picture = scrfd.framed(Photo(np.full((50, 100, 3), 200, np.uint8), 100, 50), scrfd.frame_for(50, 100, (128, 128)))
    assert (picture[:64] == 200).all()
    assert (picture[64:] == 0).all()


def test_boxes_and_points_come_back_in_pixels_of_the_original() -> None:
    frame = scrfd.frame_for(1280, 1280, (640, 640))
    found = scrfd.candidates(outputs((10, 20, 30, 40)), frame)
    assert found.boxes_xyxy.tolist() == [[20, 40, 60, 80]]
    assert found.landmarks.tolist() == [[[2, 4]] * 5]


def test_weak_candidates_are_left_out() -> None:
    found = scrfd.candidates(outputs((0, 0, 9, 9), (20, 20, 30, 30), scores=(0.5, 0.49)), scrfd.frame_for(640, 640, (640, 640)))
    assert found.scores.tolist() == [0.5]


@pytest.mark.parametrize("name", ["boxes", "scores", "landmarks"])
def test_numbers_that_are_none_are_a_broken_model(name: str) -> None:
    odd = outputs((0, 0, 9, 9))
    odd[name] = np.full_like(odd[name], np.nan)
    with pytest.raises(PermanentError, match="not finite"):
        scrfd.candidates(odd, scrfd.frame_for(640, 640, (640, 640)))


def test_a_face_that_both_sizes_find_is_one_face() -> None:
    frame = scrfd.frame_for(640, 640, (640, 640))
    large = scrfd.candidates(outputs((100, 100, 200, 200), scores=(0.7,)), frame)
    small = scrfd.candidates(outputs((102, 100, 202, 200), (400, 400, 450, 450), scores=(0.8, 0.6)), frame)
    merged = scrfd.merged([large, small])
    assert merged.scores.tolist() == pytest.approx([0.8, 0.6])
    assert merged.boxes_xyxy[:, 0].tolist() == [102, 400]


def test_nothing_found_is_no_face() -> None:
    empty = scrfd.candidates(outputs(), scrfd.frame_for(640, 640, (640, 640)))
    merged = scrfd.merged([empty, empty])
    assert merged.boxes_xyxy.shape == (0, 4)
    assert merged.landmarks.shape == (0, 5, 2)
