"""Which models are measured, and what memory says at which photo."""

from pathlib import Path

import graphs
import pytest

from benchmarks.bench import Bench
from benchmarks.memory import Sample, resident_at
from benchmarks.models import chosen, measurable
from kizu_fast.backends.fake import IMAGE, OBJECTS, PPOCR
from kizu_fast.settings import Settings


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


def test_readers_are_told_with_where_they_are_measured_and_end_no_run(tmp_path: Path) -> None:
    specs = (IMAGE, OBJECTS, *PPOCR)
    for spec in specs:
        graphs.install(tmp_path, spec, b"graph")
    bench = Bench(Settings(KIZU_MODEL_REPOSITORY=tmp_path, KIZU_DATA_DIR=tmp_path / "data"))

    assert measurable(bench, tuple(spec.name for spec in specs)) == (IMAGE.name, OBJECTS.name)
    assert [(skipped.name, "benchmarks ocr" in skipped.reason) for skipped in bench.skipped] == [(spec.name, True) for spec in PPOCR]


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
