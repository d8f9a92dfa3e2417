"""kizu_fast/store/coverage.py, in PostgreSQL and in memory: whose results come from another model than the settings name, and how they are queued again."""

from dataclasses import replace
from uuid import UUID

import numpy as np
import pytest
from samples import ALICE, BOB, Stores, axis, claim_all, detections, registered, result
from stores import memory_stores, postgres_stores

from kizu_fast.domain import Faces, Job, Operation, PhotoResult, Texts
from kizu_fast.errors import PermanentError
from kizu_fast.store import Outdated

NOW = {Operation.OBJECTS: "yolov8m", Operation.OCR: "ppocr-v6-small", Operation.EMBEDDING: "s/new"}


@pytest.fixture(params=["memory", "postgres"])
def stores(request: pytest.FixtureRequest) -> Stores:
    return memory_stores() if request.param == "memory" else postgres_stores(request.getfixturevalue("database"))


def seen(job: Job, model: str = "yolov8n", reader: str = "easyocr-english_g2", space: str = "s/old") -> PhotoResult:
    """An embedding, a dog and no text."""
    found = result(job, axis(0), detections(("dog", 0.9)), model=model, space=space)
    return replace(found, texts=Texts(()), models={**found.models, Operation.OCR: reader})


async def library(stores: Stores, count: int, user: UUID = ALICE) -> list[UUID]:
    ids = await registered(stores, count, ("embedding", "objects", "ocr"), user=user, name=str(user))
    await stores.results.settle([(job, seen(job)) for job in await claim_all(stores)])
    return ids


async def test_photos_of_other_models_are_counted_by_operation(stores: Stores) -> None:
    await library(stores, 3)
    await library(stores, 1, BOB)

    assert await stores.coverage.outdated(ALICE, NOW) == [
        Outdated("embedding", ("s/old",), 3),
        Outdated("objects", ("yolov8n",), 3),
        Outdated("ocr", ("easyocr-english_g2",), 3),
    ]
    assert [found.photos for found in await stores.coverage.outdated(None, {Operation.OBJECTS: "yolov8m"})] == [4]
    assert await stores.coverage.outdated(ALICE, {Operation.OBJECTS: "yolov8n"}) == []
    assert await stores.coverage.outdated(ALICE, {}) == []


async def test_a_photo_without_that_result_wants_no_re_run(stores: Stores) -> None:
    await registered(stores, 1, ("embedding",))
    await stores.results.settle([(job, result(job, axis(0), space="s/new")) for job in await claim_all(stores)])

    assert await stores.coverage.outdated(ALICE, NOW) == []
    assert await stores.coverage.queue_outdated(ALICE, Operation.OBJECTS, "yolov8m") == 0


async def test_what_is_queued_is_not_counted_again_and_the_new_results_replace_the_old(stores: Stores) -> None:
    (asset, _) = await library(stores, 2)

    assert await stores.coverage.queue_outdated(ALICE, Operation.OBJECTS, "yolov8m") == 2
    assert [found.operation for found in await stores.coverage.outdated(ALICE, NOW)] == ["embedding", "ocr"]
    assert await stores.coverage.queue_outdated(ALICE, Operation.OBJECTS, "yolov8m") == 0
    jobs = await claim_all(stores)
    assert [job.operations for job in jobs] == [("objects",)] * 2
    await stores.results.settle([(job, result(job, objects=detections(("cat", 0.5)), model="yolov8m")) for job in jobs])

    assert [found.operation for found in await stores.coverage.outdated(ALICE, NOW)] == ["embedding", "ocr"]
    assert (await stores.coverage.stored_models(ALICE))["objects"] == ("yolov8m",)
    details = await stores.assets.details(ALICE, asset)
    assert details is not None
    assert [found.label for found in details.objects] == ["cat"]
    assert await stores.search.by_objects(ALICE, ["dog"], 10) == []


async def test_photos_of_others_are_not_queued_unless_all_are_meant(stores: Stores) -> None:
    await library(stores, 1)
    await library(stores, 2, BOB)

    assert await stores.coverage.queue_outdated(ALICE, Operation.OCR, NOW[Operation.OCR]) == 1
    assert await stores.coverage.queue_outdated(None, Operation.OCR, NOW[Operation.OCR]) == 2


async def test_a_photo_that_fails_with_the_new_model_for_good_is_left_alone(stores: Stores) -> None:
    (asset,) = await library(stores, 1)
    await stores.queue.enqueue(ALICE, [asset], ["ocr"])
    (job,) = await claim_all(stores)
    await stores.results.settle([(job, result(job, failures={"objects": PermanentError("odd")}))])
    await stores.queue.fail([job], ["odd"], retry=False)

    assert [found.operation for found in await stores.coverage.outdated(ALICE, NOW)] == ["embedding", "ocr"]


async def test_a_model_that_nothing_is_of_queues_all_that_have_a_result(stores: Stores) -> None:
    await library(stores, 2)
    assert await stores.coverage.queue_outdated(ALICE, Operation.OBJECTS, "") == 2


async def test_a_filled_space_beside_the_old_one_is_no_re_run(stores: Stores) -> None:
    (asset,) = await library(stores, 1)
    await stores.queue.enqueue(ALICE, [asset], ["embedding"])
    (job,) = await claim_all(stores)
    await stores.results.settle([(job, result(job, axis(1), space="s/new"))])

    assert [found.operation for found in await stores.coverage.outdated(ALICE, NOW)] == ["objects", "ocr"]
    assert (await stores.coverage.stored_models(ALICE))["embedding"] == ("s/new", "s/old")


async def test_the_packs_that_found_faces_are_known(stores: Stores) -> None:
    await registered(stores, 1, ("faces",))
    (job,) = await claim_all(stores)
    box, points = np.array([[10, 10, 30, 40]], np.float32), np.full((1, 5, 2), 20, np.float32)
    one = np.array([0.9], np.float32)
    faces = Faces(box, one, points, one, axis(0)[None], "insightface/w600k_mbf/a1/00000000")
    await stores.results.settle([(job, replace(result(job), faces=faces, models={Operation.FACES: "buffalo_s"}))])

    assert await stores.coverage.stored_models(ALICE) == {"faces": ("insightface/w600k_mbf/a1/00000000",), "packs": ("buffalo_s",)}
    assert await stores.coverage.stored_models(BOB) == {}
