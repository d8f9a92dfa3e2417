"""People: which face a label means, and how groups are judged."""

import numpy as np
import pytest

from benchmarks.people import CROWD, judged, kept, labelled_face

BOXES = np.array([[0, 0, 60, 60], [80, 80, 120, 120]], np.float32)  # a large one in the corner, a small one in the middle


def test_the_label_means_the_largest_face_or_the_one_in_the_middle() -> None:
    assert labelled_face(BOXES, 200, 200, central=False) == 0
    assert labelled_face(BOXES, 200, 200, central=True) == 1


def test_groups_that_are_the_people_are_perfect() -> None:
    figures = judged(np.array([0, 0, 1, 1, -1]), ["a", "a", "b", "b", None])
    assert (figures["pairwise_precision"], figures["pairwise_recall"], figures["pairwise_f1"]) == (1, 1, 1)
    assert kept(figures)


def test_two_people_in_one_group_cost_precision() -> None:
    figures = judged(np.array([0, 0, 0, 0]), ["a", "a", "b", "b"])
    assert figures["pairwise_precision"] == pytest.approx(2 / 6)
    assert figures["pairwise_recall"] == 1
    assert not kept(figures)


def test_a_person_in_two_groups_costs_recall_and_faces_without_a_group_are_no_group() -> None:
    figures = judged(np.array([0, 0, -1, -1]), ["a", "a", "a", "a"])
    assert figures["pairwise_precision"] == 1
    assert figures["pairwise_recall"] == pytest.approx(1 / 6)


@pytest.mark.parametrize(("size", "strangers"), [(CROWD, 0), (CROWD + 1, 1)])
def test_a_crowd_that_nobody_knows_is_counted(size: int, strangers: int) -> None:
    figures = judged(np.array([0] * size + [1, 1]), [None] * size + ["a", "a"])
    assert figures["clusters of strangers"] == strangers
    assert figures["largest cluster"] == size
    assert kept(figures) is (strangers == 0)


def test_a_crowd_around_a_known_face_is_no_crowd_of_strangers() -> None:
    assert judged(np.zeros(CROWD + 5, int), [*[None] * (CROWD + 4), "a"])["clusters of strangers"] == 0
