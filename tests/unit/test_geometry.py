"""Letterboxes and suppression: the library's own geometry, and properties that hold for any input."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from kizu_fast.geometry import PADDING_GREY, clip_boxes, iou_matrix, letterbox_for, nearest_bucket, nms
from kizu_fast.specs import YOLO_BUCKETS

SIDE = st.integers(1, 8000)
BUCKET = st.sampled_from(YOLO_BUCKETS)


@st.composite
def scenes(draw: Any) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Boxes with distinct scores in a few classes."""
    count = draw(st.integers(0, 30))
    corners = draw(arrays.arrays(np.float32, (count, 2), elements=st.floats(0, 600, width=32)))
    sizes = draw(arrays.arrays(np.float32, (count, 2), elements=st.floats(0, 200, width=32)))
    scores = np.array(draw(st.permutations(list(range(count)))), np.float32) / 100
    ids = draw(arrays.arrays(np.int64, count, elements=st.integers(0, 2)))
    return np.concatenate([corners, corners + sizes], axis=1).reshape(count, 4), scores, ids


@given(height=SIDE, width=SIDE, bucket=BUCKET, share=arrays.arrays(np.float64, (5, 4), elements=st.floats(0, 1)))
def test_a_box_comes_back_from_the_letterbox_where_it_was(height: int, width: int, bucket: tuple[int, int], share: NDArray[np.float64]) -> None:
    box = letterbox_for(height, width, bucket)
    boxes = share * [width, height, width, height]
    back = box.to_photo(box.to_model(boxes).astype(np.float64))
    assert np.abs(back - boxes).max() <= 1e-3 * max(1.0, 1 / box.gain)  # a float32 model pixel is that fine


@given(height=st.integers(32, 8000), width=st.integers(32, 8000), bucket=BUCKET)
def test_the_round_trip_of_ordinary_photos_is_within_a_thousandth_of_a_pixel(height: int, width: int, bucket: tuple[int, int]) -> None:
    box = letterbox_for(height, width, bucket)
    boxes = np.array([[0, 0, width, height], [width / 3, height / 7, width / 2, height / 2]])
    assert np.abs(box.to_photo(box.to_model(boxes).astype(np.float64)) - boxes).max() <= 1e-3


@given(height=SIDE, width=SIDE, bucket=BUCKET)
def test_the_picture_fits_into_the_bucket_and_touches_it_on_one_axis(height: int, width: int, bucket: tuple[int, int]) -> None:
    box = letterbox_for(height, width, bucket)
    assert 1 <= box.inner_height <= bucket[0]
    assert 1 <= box.inner_width <= bucket[1]
    assert box.top >= 0
    assert box.left >= 0
    assert box.inner_height == bucket[0] or box.inner_width == bucket[1]
    assert abs(bucket[0] - box.inner_height - 2 * box.top) <= 1
    assert abs(bucket[1] - box.inner_width - 2 * box.left) <= 1


def test_padding_is_grey_and_the_odd_pixel_of_it_lies_below() -> None:
    box = letterbox_for(99, 640, (640, 640))
    framed = box.apply(np.zeros((99, 640, 3), np.uint8))
    assert framed.shape == (640, 640, 3)
    assert (box.top, box.inner_height) == (270, 99)
    assert (framed[:270] == PADDING_GREY).all()
    assert (framed[270:369] == 0).all()
    assert (framed[369:] == PADDING_GREY).all()


def test_a_picture_of_the_bucket_s_own_size_is_left_as_it_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    assert np.array_equal(letterbox_for(480, 640, (480, 640)).apply(pixels), pixels)


def test_a_picture_scaled_by_the_decoder_lies_where_its_original_would() -> None:
    ramp = np.linspace(0, 255, 1601).astype(np.uint8)
    original = np.broadcast_to(ramp[None, :, None], (1203, 1601, 3)).copy()
    box = letterbox_for(1203, 1601, (480, 640))
    scaled = box.apply(original[::2, ::2].copy())
    assert np.abs(scaled.astype(int) - box.apply(original)).mean() < 1.0


@pytest.mark.parametrize(
    ("height", "width", "bucket"),
    [
        (3000, 4000, (480, 640)),
        (4000, 3000, (640, 480)),
        (1000, 1000, (640, 640)),
        (1000, 1100, (640, 640)),
        (1000, 1160, (480, 640)),
        (1, 9000, (480, 640)),
        (2, 3, (480, 640)),
    ],
)
def test_the_bucket_is_the_one_of_the_nearest_aspect(height: int, width: int, bucket: tuple[int, int]) -> None:
    assert nearest_bucket(height, width, YOLO_BUCKETS) == bucket


@given(height=SIDE, width=SIDE)
def test_turning_a_photo_turns_its_bucket(height: int, width: int) -> None:
    # exactly between two buckets the first wins, whichever way the photo lies
    chosen, turned = nearest_bucket(height, width, YOLO_BUCKETS), nearest_bucket(width, height, YOLO_BUCKETS)
    assert turned == (chosen[1], chosen[0])


def test_boxes_are_cut_to_the_picture() -> None:
    boxes = np.array([[-5, -5, 50, 20], [90, 10, 130, 80]], np.float32)
    assert clip_boxes(boxes, 60, 100).tolist() == [[0, 0, 50, 20], [90, 10, 100, 60]]


def test_overlap_of_known_boxes() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [3, 3, 3, 3]], np.float32)
    ious = iou_matrix(boxes)
    assert ious[0].tolist() == pytest.approx([1, 1 / 3, 0, 0])
    assert ious[3, 3] == 0


@given(scene=scenes())
def test_what_suppression_keeps_it_keeps_again(scene: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]) -> None:
    boxes, scores, ids = scene
    kept = nms(boxes, scores, ids, max_iou=0.7)
    again = nms(boxes[kept], scores[kept], ids[kept], max_iou=0.7)
    assert again.tolist() == list(range(len(kept)))


@given(scene=scenes())
def test_kept_boxes_of_one_class_hardly_overlap_and_dropped_ones_are_covered_by_a_better_one(
    scene: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]],
) -> None:
    boxes, scores, ids = scene
    kept = nms(boxes, scores, ids, max_iou=0.5)
    ious = iou_matrix(boxes)
    for i in range(len(boxes)):
        rivals = [k for k in kept if k != i and ids[k] == ids[i] and ious[k, i] > 0.5 and scores[k] > scores[i]]
        assert bool(rivals) != (i in kept)


@given(scene=scenes())
def test_kept_boxes_come_best_first(scene: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]) -> None:
    boxes, scores, ids = scene
    kept = nms(boxes, scores, ids, max_iou=0.7)
    assert (np.diff(scores[kept]) <= 0).all()


@given(scene=scenes(), order=st.randoms(use_true_random=False))
def test_the_order_of_the_candidates_does_not_matter(scene: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]], order: Any) -> None:
    boxes, scores, ids = scene
    shuffled = list(range(len(boxes)))
    order.shuffle(shuffled)
    kept = [shuffled[i] for i in nms(boxes[shuffled], scores[shuffled], ids[shuffled], max_iou=0.7)]
    assert kept == nms(boxes, scores, ids, max_iou=0.7).tolist()


def test_boxes_of_different_classes_do_not_suppress_each_other() -> None:
    boxes = np.array([[0, 0, 10, 10]] * 3, np.float32)
    assert nms(boxes, np.array([0.5, 0.9, 0.8], np.float32), np.array([0, 1, 0]), max_iou=0.7).tolist() == [1, 2]


def test_equal_scores_keep_their_order() -> None:
    boxes = np.array([[0, 0, 10, 10], [50, 50, 60, 60]], np.float32)
    assert nms(boxes, np.array([0.5, 0.5], np.float32), np.array([0, 0]), max_iou=0.7).tolist() == [0, 1]


def test_an_overlap_of_exactly_the_bound_stays() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], np.float32)
    assert nms(boxes, np.array([0.9, 0.8], np.float32), np.array([0, 0]), max_iou=0.5).tolist() == [0, 1]
