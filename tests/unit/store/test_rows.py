"""kizu_fast/store/rows.py: what is refused before it is sent, and what each table gets."""

import json
from datetime import datetime
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kizu_fast.domain import Asset, Detections, Embedding, Job, Operation, PhotoFacts, PhotoResult
from kizu_fast.errors import BackendUnavailable, ImageTooLarge, ImageUnreadable, KizuError, PermanentError
from kizu_fast.store.checks import check_unit, name_of, shown
from kizu_fast.store.rows import OutcomeRow, asset_record, facts_record, failure_of, object_rows, outcome_rows, rows_of, wall_time

NOON = datetime(2024, 2, 29, 12, 0)


def job(path: bytes = b"/a.jpg", width: int | None = None, height: int | None = None) -> Job:
    return Job(UUID(int=1), Asset(UUID(int=2), UUID(int=3), path, width=width, height=height), ("embedding",), 1, 3, 1)


def result(**values: object) -> PhotoResult:
    return PhotoResult(**{"facts": PhotoFacts(40, 20), "byte_size": 1, "mtime_ns": 2, "sha256": b"x" * 32, **values})  # type: ignore[arg-type]


def dogs(*boxes: tuple[float, float, float, float], score: float = 0.5) -> Detections:
    count = len(boxes)
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.full(count, score, np.float32), np.full(count, 16, np.int64), ("dog",) * count)


@pytest.mark.parametrize(
    ("vector", "words"),
    [
        (np.array([np.nan, 1], np.float32), "not a vector of finite numbers"),
        (np.array([np.inf, 1], np.float32), "not a vector of finite numbers"),
        (np.array([[1.0]], np.float32), "not a vector of finite numbers"),
        (np.zeros(4, np.float32), r"length 0\.0000 instead of 1"),
        (np.array([1.002], np.float32), r"length 1\.0020 instead of 1"),
    ],
)
def test_a_vector_that_search_could_not_compare_is_refused(vector: np.ndarray, words: str) -> None:
    with pytest.raises(PermanentError, match=words):
        check_unit(vector, "the vector")


def test_a_vector_a_little_off_is_a_unit_vector() -> None:
    check_unit(np.array([1.0005], np.float32), "the vector")


def test_a_bad_embedding_names_the_photo() -> None:
    with pytest.raises(PermanentError, match=r"the embedding of /a\.jpg has length 2\.0000"):
        rows_of(job(), result(embedding=Embedding("s", np.array([2.0], np.float32))))


def test_objects_become_rows_in_fractions() -> None:
    (row,) = object_rows(job(), result(objects=dogs((10, 5, 30, 15)), models={Operation.OBJECTS: "yolov8n"}))

    assert (row.model, row.class_id, row.label, row.confidence, row.bbox) == ("yolov8n", 16, "dog", 0.5, (0.25, 0.25, 0.5, 0.5))


def test_without_facts_the_known_size_is_the_frame() -> None:
    (row,) = object_rows(job(width=100, height=50), result(facts=None, objects=dogs((10, 5, 30, 15))))

    assert row.bbox == pytest.approx((0.1, 0.1, 0.2, 0.2))


def test_boxes_without_any_frame_are_refused_and_no_boxes_need_none() -> None:
    with pytest.raises(PermanentError, match=r"the size of /a\.jpg is unknown"):
        object_rows(job(), result(facts=None, objects=dogs((1, 2, 3, 4))))
    assert object_rows(job(), result(facts=None, objects=dogs())) == ()


def test_boxes_and_scores_that_are_no_numbers_are_refused() -> None:
    for bad in (dogs((np.nan, 0, 1, 1)), dogs((0, 0, 1, 1), score=np.inf)):
        with pytest.raises(PermanentError, match="not finite"):
            object_rows(job(), result(objects=bad))


def test_an_operation_without_result_leaves_what_is_stored() -> None:
    assert rows_of(job(), result()).objects is None
    assert rows_of(job(), result(objects=dogs())).objects == ()


def test_the_outcome_of_an_embedding_names_its_space() -> None:
    rows = outcome_rows(result(embedding=Embedding("space/p1/abc", np.array([1.0])), models={Operation.EMBEDDING: "clip", Operation.OBJECTS: "yolo"}))

    assert rows == (OutcomeRow("embedding", "space/p1/abc", "done", 1), OutcomeRow("objects", "yolo", "done", 0))


@pytest.mark.parametrize(
    ("operation", "error", "kept"),
    [
        ("objects", PermanentError("odd"), True),
        ("objects", ImageUnreadable("odd"), True),
        ("objects", ImageTooLarge("cap"), False),
        ("objects", BackendUnavailable("away"), False),
        ("ocr", PermanentError("odd"), True),
        ("hologram", PermanentError("what"), False),
    ],
)
def test_only_a_failure_that_lasts_is_an_outcome(operation: str, error: KizuError, kept: bool) -> None:
    rows = outcome_rows(result(failures={operation: error}))

    assert rows == ((OutcomeRow(operation, "none", "failed", error=str(error)),) if kept else ())


def test_the_failure_of_a_job_names_every_operation() -> None:
    assert failure_of({}) is None
    failure = failure_of({"objects": ImageTooLarge("big"), "faces": PermanentError("no\nfaces")})
    assert isinstance(failure, PermanentError)
    assert str(failure) == "objects: big; faces: no faces"


def test_an_outage_among_the_failures_stays_an_outage() -> None:
    assert isinstance(failure_of({"objects": BackendUnavailable("away")}), BackendUnavailable)


def test_the_summary_of_a_job_holds_counts_and_models_only() -> None:
    rows = rows_of(job(), result(objects=dogs((0, 0, 1, 1)), models={Operation.OBJECTS: "yolo"}, failures={"ocr": PermanentError("no")}))

    assert rows.summary == {"objects": {"model": "yolo", "items": 1}}


def test_a_job_is_called_by_its_file_or_by_its_asset() -> None:
    assert name_of(job(b"/caf\xc3\xa9.jpg")) == "/café.jpg"
    assert name_of(job(b"")) == f"asset {UUID(int=2)}"


@given(st.binary(max_size=40))
def test_any_file_name_can_be_shown_and_stored(path: bytes) -> None:
    text = shown(path)

    assert "\0" not in text
    assert text.encode("utf-8").decode("utf-8") == text


def test_facts_become_the_record_that_the_statements_read() -> None:
    record = facts_record(PhotoFacts(4, 3, taken_at_local=NOON, utc_offset_minutes=-90, camera_make="A\0B"))

    assert (record["has_facts"], record["width"], record["orientation"]) == (True, 4, 1)
    assert (record["taken_at_local"], record["utc_offset_minutes"], record["taken_at_source"]) == ("2024-02-29T12:00:00", -90, "exif_offset")
    assert record["camera_make"] == "AB"
    assert facts_record(None) == {"has_facts": False}


def test_an_offset_without_a_time_means_nothing() -> None:
    record = facts_record(PhotoFacts(4, 3, utc_offset_minutes=60))

    assert (record["taken_at_local"], record["utc_offset_minutes"], record["taken_at_source"]) == (None, None, None)


def test_the_record_of_an_asset_is_json() -> None:
    record = asset_record(UUID(int=5), PhotoFacts(4, 3, camera_model="\udcff"), 7, b"\xff" * 32)

    assert json.loads(json.dumps(record))["sha256"] == "ff" * 32
    assert record["byte_size"] == 7
    assert asset_record(UUID(int=5), None, None, None)["sha256"] is None


@pytest.mark.parametrize(
    ("offset", "text"),
    [(None, "2024-02-29T12:00:00"), (0, "2024-02-29T12:00:00+00:00"), (330, "2024-02-29T12:00:00+05:30"), (-210, "2024-02-29T12:00:00-03:30")],
)
def test_wall_time_has_the_offset_that_the_file_states(offset: int | None, text: str) -> None:
    assert wall_time(NOON, offset) == text
    assert wall_time(None, offset) is None
