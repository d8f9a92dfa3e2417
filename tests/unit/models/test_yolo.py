"""Detections: from the graph's candidates back to the photo."""

import numpy as np
import pytest
from numpy.typing import NDArray

from kizu_fast.domain import Photo
from kizu_fast.errors import PermanentError
from kizu_fast.models.labels import COCO
from kizu_fast.models.yolo import postprocess, preprocess
from kizu_fast.specs import YOLO_CANDIDATES

LANDSCAPE = Photo(np.zeros((750, 1000, 3), np.uint8), 4000, 3000)  # decoded at a quarter


def candidates(*rows: tuple[float, float, float, float, float, int]) -> dict[str, NDArray[np.generic]]:
    """(x0, y0, x1, y1, score, class) in model pixels to the graph's three outputs, filled up as the graph fills them."""
    boxes = np.zeros((YOLO_CANDIDATES, 4), np.float32)
    scores, classes = np.zeros(YOLO_CANDIDATES, np.float32), np.zeros(YOLO_CANDIDATES, np.int32)
    for i, row in enumerate(rows):
        boxes[i], scores[i], classes[i] = row[:4], row[4], row[5]
    return {"boxes": boxes, "scores": scores, "classes": classes}


def test_there_are_eighty_classes_from_person_to_toothbrush() -> None:
    assert len(COCO) == len(set(COCO)) == 80
    assert (COCO[0], COCO[5], COCO[16], COCO[79]) == ("person", "bus", "dog", "toothbrush")
    assert all(label == label.strip() for label in COCO)


def test_the_tensor_has_the_shape_of_the_bucket() -> None:
    tensor, box = preprocess(LANDSCAPE, (480, 640))
    assert tensor.shape == (480, 640, 3)
    assert tensor.dtype == np.uint8
    assert (box.height, box.width, box.gain) == (3000, 4000, 0.16)


def test_a_box_is_given_in_pixels_of_the_original() -> None:
    _, box = preprocess(LANDSCAPE, (480, 640))
    found = postprocess(candidates((160, 120, 320, 240, 0.9, 16)), box, labels=COCO, min_score=0.25)
    assert found.boxes_xyxy.tolist() == [[1000, 750, 2000, 1500]]
    assert found.labels == ("dog",)
    assert found.class_ids.tolist() == [16]
    assert found.scores.tolist() == pytest.approx([0.9])


def test_padding_is_undone() -> None:
    _, box = preprocess(LANDSCAPE, (640, 640))
    found = postprocess(candidates((0, 80, 640, 560, 0.9, 0)), box, labels=COCO, min_score=0.25)
    assert found.boxes_xyxy.tolist() == [[0, 0, 4000, 3000]]


def test_boxes_end_at_the_photo_s_edge() -> None:
    _, box = preprocess(LANDSCAPE, (640, 640))
    found = postprocess(candidates((-20, 10, 700, 630, 0.9, 0)), box, labels=COCO, min_score=0.25)
    assert found.boxes_xyxy.tolist() == [[0, 0, 4000, 3000]]


def test_a_score_of_exactly_the_bound_does_not_count() -> None:
    _, box = preprocess(LANDSCAPE, (480, 640))
    rows = candidates((0, 0, 50, 50, 0.5, 0), (100, 100, 200, 200, 0.50001, 0))
    assert len(postprocess(rows, box, labels=COCO, min_score=0.5)) == 1


def test_the_same_thing_found_twice_is_one_but_two_classes_stay_two() -> None:
    _, box = preprocess(LANDSCAPE, (480, 640))
    rows = candidates((0, 0, 100, 100, 0.8, 2), (1, 1, 101, 101, 0.9, 2), (0, 0, 100, 100, 0.7, 7))
    found = postprocess(rows, box, labels=COCO, min_score=0.25)
    assert found.labels == ("car", "truck")
    assert found.scores.tolist() == pytest.approx([0.9, 0.7])


def test_neighbours_within_the_overlap_stay() -> None:
    _, box = preprocess(LANDSCAPE, (480, 640))
    rows = candidates((0, 0, 100, 100, 0.9, 0), (30, 0, 130, 100, 0.8, 0))
    assert len(postprocess(rows, box, labels=COCO, min_score=0.25)) == 2
    assert len(postprocess(rows, box, labels=COCO, min_score=0.25, max_iou=0.5)) == 1


def test_an_empty_photo_has_no_detection() -> None:
    _, box = preprocess(LANDSCAPE, (480, 640))
    found = postprocess(candidates(), box, labels=COCO, min_score=0.25)
    assert len(found) == 0
    assert found.boxes_xyxy.shape == (0, 4)


def test_a_crowd_is_cut_at_the_best_three_hundred() -> None:
    _, box = preprocess(LANDSCAPE, (480, 640))
    rows = [(x * 15.0, y * 15.0, x * 15.0 + 10, y * 15.0 + 10, 0.3 + 0.0005 * (x * 30 + y), 0) for x in range(40) for y in range(25)]
    found = postprocess(candidates(*rows), box, labels=COCO, min_score=0.25)
    assert len(found) == 300
    assert found.scores[0] == max(found.scores)
    assert len(postprocess(candidates(*rows), box, labels=COCO, min_score=0.25, max_detections=7)) == 7


@pytest.mark.parametrize(("name", "value"), [("scores", np.nan), ("boxes", np.inf)])
def test_numbers_that_are_none_are_refused(name: str, value: float) -> None:
    _, box = preprocess(LANDSCAPE, (480, 640))
    rows = candidates((0, 0, 50, 50, 0.9, 0))
    rows[name][0] = value
    with pytest.raises(PermanentError, match="not finite"):
        postprocess(rows, box, labels=COCO, min_score=0.25)


def test_a_class_without_a_label_is_refused() -> None:
    _, box = preprocess(LANDSCAPE, (480, 640))
    with pytest.raises(PermanentError, match="class 80 has no label"):
        postprocess(candidates((0, 0, 50, 50, 0.9, 80)), box, labels=COCO, min_score=0.25)


def test_rubbish_below_the_score_is_not_looked_at() -> None:
    _, box = preprocess(LANDSCAPE, (480, 640))
    rows = candidates((0, 0, 50, 50, 0.9, 0), (np.inf, 0, 0, 0, 0.1, 99))
    assert len(postprocess(rows, box, labels=COCO, min_score=0.25)) == 1
