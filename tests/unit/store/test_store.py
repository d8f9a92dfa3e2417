"""kizu_fast/store/__init__.py: values, and errors as the queue keeps them."""

from uuid import UUID

import pytest

from kizu_fast.errors import ImageTooLarge, ImageUnreadable, PermanentError, TransientError
from kizu_fast.store import Forgotten, LibraryCounts, QueueCounts, Registered, is_outcome, reason_of, storable
from kizu_fast.store.details import AssetDetails, JobState, StoredEmbedding, StoredObject

ASSET = UUID(int=7)


def test_counts_of_calls_add_up() -> None:
    assert Registered(1, 2, 3, 4, 5) + Registered(10, 20, 30, 40, 50) == Registered(11, 22, 33, 44, 55)
    assert Forgotten(1, 2, 3, 4, 5) + Forgotten(assets=1) == Forgotten(2, 2, 3, 4, 5)


def test_the_status_document_has_every_count() -> None:
    shown = LibraryCounts(QueueCounts(1, 2, 3, 4), assets=5).as_json()

    assert shown == {
        "queue": {"pending": 1, "processing": 2, "completed": 3, "failed": 4},
        "assets": 5,
        "embeddings": 0,
        "faces": 0,
        "objects": 0,
        "texts": 0,
        "captions": 0,
    }


def test_a_photo_of_which_nothing_is_known_has_all_keys_all_the_same() -> None:
    shown = AssetDetails(ASSET, None).as_json()

    assert shown.pop("asset_id") == str(ASSET)
    assert {key for key, value in shown.items() if value == []} == {"objects", "faces", "texts"}
    assert {value for key, value in shown.items() if key not in {"objects", "faces", "texts"} and value is not None} == set()


def test_a_full_photo_is_shown_with_boxes_and_on_request_with_its_vector() -> None:
    details = AssetDetails(
        ASSET,
        "/a.jpg",
        gps=(1.5, -2.5),
        job=JobState("failed", 3, "why"),
        embedding=StoredEmbedding("space", 2, (0.6, 0.8)),
        objects=(StoredObject("dog", 0.9, (1, 2, 3, 4)),),
    )

    shown = details.as_json(vectors=True)

    assert shown["gps"] == [1.5, -2.5]
    assert shown["job"] == {"status": "failed", "attempts": 3, "error": "why"}
    assert shown["embedding"] == {"model": "space", "dim": 2, "vector": [0.6, 0.8]}
    assert shown["objects"] == [{"label": "dog", "score": 0.9, "box": [1, 2, 3, 4]}]
    assert details.as_json()["embedding"] == {"model": "space", "dim": 2}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermanentError("a.jpg: broken"), "a.jpg: broken"),
        (PermanentError("two\nlines\r\n  and\ttabs"), "two lines and tabs"),
        ("plain text", "plain text"),
        (TransientError(""), "TransientError"),
        ("nul\0 and \udcff", "nul and \\udcff"),
        ("x" * 5000, "x" * 2000),
    ],
)
def test_a_reason_is_one_line_that_a_database_takes(error: PermanentError | str, reason: str) -> None:
    assert reason_of(error) == reason


def test_storable_text_is_left_alone_where_it_can_be() -> None:
    assert storable("Café 東京 \U0001f600") == "Café 東京 \U0001f600"


def test_only_unreadable_bytes_are_an_outcome() -> None:
    assert is_outcome(ImageUnreadable("no picture"))
    assert not any(is_outcome(error) for error in (ImageTooLarge("cap"), PermanentError("missing"), TransientError("later"), "text"))
