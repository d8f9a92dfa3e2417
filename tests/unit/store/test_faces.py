"""Which detections are the faces already stored."""

from uuid import uuid4

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kizu_fast.store.faces import FaceRow, StoredFaceRow, plan_faces

VECTOR = np.array([1, 0], np.float32)
BOXES = st.tuples(*[st.floats(0, 0.5)] * 2, *[st.floats(0.01, 0.5)] * 2)


def row(box: tuple[float, ...]) -> FaceRow:
    return FaceRow("detector", box, (0.0,) * 10, 0.9, 0.5, VECTOR)


@given(seen=st.lists(BOXES, max_size=5), known=st.lists(st.tuples(BOXES, st.booleans()), max_size=5), graves=st.lists(BOXES, max_size=2))
def test_every_face_has_exactly_one_fate(
    seen: list[tuple[float, ...]], known: list[tuple[tuple[float, ...], bool]], graves: list[tuple[float, ...]]
) -> None:
    stored = [StoredFaceRow(uuid4(), index * 2, box, kept) for index, (box, kept) in enumerate(known)]
    plan = plan_faces([row(box) for box in seen], stored, graves)
    placed, updated = (*plan.updated, *plan.added), {face.id for face in plan.updated}
    indexes = [face.face_index for face in placed]
    assert len(placed) <= len(seen)
    assert len(set(indexes)) == len(indexes)
    assert len(updated) == len(plan.updated)
    assert {face.id: face.face_index for face in stored}.items() >= {face.id: face.face_index for face in plan.updated}.items()
    assert set(plan.vanished) == {face.id for face in stored if not face.kept} - updated
    assert all(face.face_index > max((old.face_index for old in stored), default=-1) for face in plan.added)


def test_the_better_overlap_wins() -> None:
    near, far = StoredFaceRow(uuid4(), 0, (0.1, 0.1, 0.2, 0.2)), StoredFaceRow(uuid4(), 1, (0.15, 0.1, 0.2, 0.2))
    plan = plan_faces([row((0.14, 0.1, 0.2, 0.2))], [near, far], [])
    assert [face.id for face in plan.updated] == [far.id]
    assert plan.vanished == (near.id,)


def test_half_an_overlap_is_the_same_face_and_less_is_not() -> None:
    stored = [StoredFaceRow(uuid4(), 0, (0.0, 0.0, 0.2, 0.2))]
    assert plan_faces([row((0.0, 0.0, 0.2, 0.11))], stored, []).updated
    assert not plan_faces([row((0.0, 0.0, 0.2, 0.09))], stored, []).updated


BOX = (0.2, 0.2, 0.1, 0.2)


@pytest.mark.parametrize(
    "seen",
    [BOX, (0.2099, 0.2, 0.1, 0.2), (0.2, 0.2199, 0.1, 0.2), (0.2, 0.2, 0.1099, 0.2), (0.191, 0.181, 0.1099, 0.2199)],
)
def test_a_box_that_moved_by_at_most_a_tenth_keeps_its_thumbnail(seen: tuple[float, ...]) -> None:
    (face,) = plan_faces([row(seen)], [StoredFaceRow(uuid4(), 0, BOX, thumbnail="old")], []).updated
    assert face.thumbnail == "old"


@pytest.mark.parametrize(
    "seen",
    [(0.2101, 0.2, 0.1, 0.2), (0.2, 0.1799, 0.1, 0.2), (0.2, 0.2, 0.1101, 0.2), (0.2, 0.2, 0.1, 0.2201)],
)
def test_a_side_that_moved_by_more_than_a_tenth_asks_for_a_new_one(seen: tuple[float, ...]) -> None:
    (face,) = plan_faces([row(seen)], [StoredFaceRow(uuid4(), 0, BOX, thumbnail="old")], []).updated
    assert face.thumbnail is None


def test_a_new_face_has_no_stored_thumbnail() -> None:
    (face,) = plan_faces([row(BOX)], [], []).added
    assert face.thumbnail is None
