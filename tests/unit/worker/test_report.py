"""kizu_fast/worker/report.py: the JSON of --report."""

import json
import os
import time
from pathlib import Path

import pytest

from kizu_fast.engine import EngineStats, ModelTime
from kizu_fast.lanes import StageTime
from kizu_fast.worker.report import Tally, report, write_whole

STATS = EngineStats(stages={"decode": StageTime(1.5, 3), "infer": StageTime(4.0, 6)}, models={"yolov8n": ModelTime(3, 2, 3.25)})


def test_the_report_has_every_key_of_the_contract() -> None:
    tally = Tally(completed=4, failed=1, retried=2, started=time.monotonic() - 10)
    tally.add_stage("fetch", 0.5, 5)
    document = report(tally, STATS)
    assert set(document) == {"completed", "failed", "retried", "seconds", "photos_per_second", "peak_rss_mb", "stages", "models"}
    assert (document["completed"], document["failed"], document["retried"]) == (4, 1, 2)
    assert document["stages"] == {
        "decode": {"seconds": 1.5, "items": 3},
        "infer": {"seconds": 4.0, "items": 6},
        "fetch": {"seconds": 0.5, "items": 5},
    }
    assert document["models"] == {"yolov8n": {"inferences": 3, "executions": 2, "seconds": 3.25}}


def test_photos_per_second_counts_every_photo_that_ended() -> None:
    rate = report(Tally(completed=15, failed=5, started=time.monotonic() - 10), STATS)["photos_per_second"]
    assert isinstance(rate, float)
    assert rate == pytest.approx(2.0, rel=0.05)


def test_stages_add_up() -> None:
    tally = Tally()
    tally.add_stage("store", 0.25, 2)
    tally.add_stage("store", 0.5, 3)
    assert tally.stages["store"] == StageTime(0.75, 5)


def test_a_report_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    write_whole(target, {"completed": 1})
    write_whole(target, {"completed": 2})
    assert json.loads(target.read_text()) == {"completed": 2}
    assert os.listdir(tmp_path) == ["report.json"]  # noqa: PTH208
