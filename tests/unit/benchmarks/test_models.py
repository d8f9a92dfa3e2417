"""Which models are measured, and what memory says at which photo."""

import pytest

from benchmarks.memory import Sample, resident_at
from benchmarks.models import chosen


@pytest.mark.parametrize(
    ("there", "measured"),
    [
        ((), ()),
        (("yolov8n", "yolov8n-random"), ("yolov8n",)),
        (("yolov8m-random", "yolov8n"), ("yolov8m-random", "yolov8n")),
        (("clip-vit-b-32-openai-image", "clip-vit-b-32-random-image"), ("clip-vit-b-32-openai-image",)),
        (("clip-vit-b-32-openai-image", "clip-vit-b-32-random-text"), ("clip-vit-b-32-openai-image", "clip-vit-b-32-random-text")),
        (("clip-vit-b-32-random-image", "clip-vit-b-32-random-text"), ("clip-vit-b-32-random-image", "clip-vit-b-32-random-text")),
    ],
)
def test_a_random_twin_is_measured_only_where_the_real_model_is_missing(there: tuple[str, ...], measured: tuple[str, ...]) -> None:
    assert chosen(there) == measured


def samples(*pairs: tuple[int, int]) -> list[Sample]:
    return [Sample(completed, megabytes * 1_000_000) for completed, megabytes in pairs]


def test_memory_at_a_photo_is_the_largest_of_the_looks_just_before_it() -> None:
    assert resident_at(samples((100, 700), (400, 720), (480, 710), (600, 900)), 500) == 720


def test_looks_long_before_do_not_count() -> None:
    early = [(0, 2000)] + [(number, 500) for number in range(1, 10)]
    assert resident_at(samples(*early), 500) == 500


def test_a_process_that_is_already_gone_counts_nothing() -> None:
    assert resident_at(samples((400, 700), (450, 0)), 500) == 700


def test_no_look_is_no_memory() -> None:
    assert resident_at(samples((900, 700)), 500) == 0.0
