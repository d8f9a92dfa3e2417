"""kizu_fast/worker/reruns.py: who wants a re-run after a setting changed, and who does not."""

import hashlib
from collections.abc import Mapping

import numpy as np
import pytest

from kizu_fast.domain import LIBRARY_OWNER, Detections, Embedding, Job, Operation, PhotoFacts, PhotoResult
from kizu_fast.settings import Settings
from kizu_fast.store import FoundFile
from kizu_fast.store.memory import MemoryQueue, MemoryResults
from kizu_fast.store.memory_library import MemoryAssets, MemoryCoverage
from kizu_fast.store.memory_state import MemoryDatabase
from kizu_fast.survey import Survey
from kizu_fast.worker.reruns import SETTINGS, Rerun, is_untrained, wanted_reruns

SPACE = "open_clip/ViT-B-32/openai/p1/40d36571"
NOTHING = Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64), ())


async def library(space: str = SPACE, detector: str = "yolov8n", count: int = 2) -> MemoryCoverage:
    """Photos with an embedding and without an object."""
    database = MemoryDatabase()
    files = [FoundFile(b"/p/%d.jpg" % n, 1, 1, hashlib.sha256(b"%d" % n).digest(), PhotoFacts(4, 3)) for n in range(count)]
    await MemoryAssets(database).register(LIBRARY_OWNER, files, ["embedding", "objects"])
    jobs = await MemoryQueue(database).claim("w", count, 60)
    await MemoryResults(database).settle([(job, found(job, space, detector)) for job in jobs])
    return MemoryCoverage(database)


def found(_job: Job, space: str, detector: str) -> PhotoResult:
    vector = np.eye(4, dtype=np.float32)[0]
    models = {Operation.EMBEDDING: "clip", Operation.OBJECTS: detector}
    return PhotoResult(None, None, None, None, embedding=Embedding(space, vector), objects=NOTHING, models=models)


async def reruns(coverage: MemoryCoverage, filed: Mapping[Operation, str], settings: Settings | None = None) -> list[Rerun]:
    return await wanted_reruns(coverage, Survey(filed, {}), settings or Settings(), LIBRARY_OWNER)


async def test_a_changed_setting_is_said_with_the_number_of_photos_and_the_command() -> None:
    (rerun,) = await reruns(await library(), {Operation.OBJECTS: "yolov8m", Operation.EMBEDDING: SPACE})

    assert str(rerun) == "2 photos have objects of yolov8n; YOLO_SIZE now means yolov8m"
    assert rerun.command == "kizu-fast reindex --operations objects"
    assert not rerun.out_of_nothing


async def test_one_photo_is_not_many() -> None:
    (rerun,) = await reruns(await library(count=1), {Operation.OBJECTS: "yolov8m", Operation.EMBEDDING: SPACE})
    assert str(rerun).startswith("1 photo has objects")


async def test_an_unchanged_setting_wants_nothing() -> None:
    assert await reruns(await library(), {Operation.OBJECTS: "yolov8n", Operation.EMBEDDING: SPACE, Operation.OCR: "ppocr-v6-small"}) == []
    assert await reruns(await library(count=0), {Operation.OBJECTS: "yolov8m"}) == []


async def test_a_clip_that_is_not_exported_yet_is_known_by_its_name() -> None:
    kept = await reruns(await library(), {Operation.OBJECTS: "yolov8n"})
    (changed,) = await reruns(await library(), {Operation.OBJECTS: "yolov8n"}, Settings(clip_model="ViT-L-14"))

    assert kept == []
    assert str(changed) == f"2 photos have embedding of {SPACE}; CLIP_MODEL now means open_clip/ViT-L-14/openai"


async def test_random_weights_are_no_reason_to_do_anything_again_and_a_good_one_to_be_replaced() -> None:
    real = await library()
    assert await reruns(real, {Operation.OBJECTS: "yolov8m-random", Operation.EMBEDDING: "open_clip/ViT-B-32/random/p1/0"}) == []

    (rerun,) = await reruns(await library(detector="yolov8n-random"), {Operation.OBJECTS: "yolov8n", Operation.EMBEDDING: SPACE})
    assert rerun.out_of_nothing


@pytest.mark.parametrize(
    ("model", "untrained"), [("yolov8m-random", True), ("open_clip/ViT-B-32/random/p1/0", True), ("yolov8m", False), (SPACE, False)]
)
def test_random_weights_show_in_the_name(model: str, untrained: bool) -> None:
    assert is_untrained(model) is untrained


def test_every_operation_has_its_setting() -> None:
    assert set(SETTINGS) == set(Operation)
    assert {name.lower() for name in SETTINGS.values()} <= set(Settings.model_fields)
