"""Faces in PostgreSQL and in memory: replaced and never appended, but whoever was seen before keeps the row and what a person said about it."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID

import asyncpg
import numpy as np
import pytest
from samples import ALICE, FACTS, Stores, axis, claim_all, registered, result
from stores import postgres_stores

from kizu_fast.domain import Faces, Job, Operation, PhotoResult
from kizu_fast.errors import PermanentError
from kizu_fast.store.pool import Database

Fetch = Callable[..., Awaitable[list[asyncpg.Record]]]
SPACE = "insightface/test/a1/00000000"
LEFT, RIGHT = (10.0, 10.0, 30.0, 40.0), (50.0, 10.0, 70.0, 40.0)


@pytest.fixture
def stores(database: Database) -> Stores:
    return postgres_stores(database)


def faces(*boxes: tuple[float, float, float, float], space: str = SPACE) -> Faces:
    count = len(boxes)
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    points = np.repeat(((corners[:, :2] + corners[:, 2:]) / 2)[:, None], 5, axis=1)
    scores = np.linspace(0.9, 0.6, count, dtype=np.float32)
    vectors = np.array([axis(i) for i in range(count)], np.float32).reshape(count, 8)
    return Faces(corners, scores, points, np.full(count, 0.5, np.float32), vectors, space)


def found(job: Job, seen: Faces) -> PhotoResult:
    return replace(result(job), faces=seen, models={Operation.FACES: "buffalo_s"})


async def again(stores: Stores, seen: Faces) -> UUID:
    """Settle one photo whose worker saw these faces. The asset's id."""
    known = await stores.assets.known_paths(ALICE, b"/photos")
    ids = [file.asset_id for file in known.values()] or await registered(stores, 1, ("faces",))
    if known:
        await stores.queue.enqueue(ALICE, ids, ["faces"])
    (job,) = await claim_all(stores)
    settled = await stores.results.settle([(job, found(job, seen))])
    assert settled.completed == {job.id}
    return ids[0]


async def test_a_face_is_shown_in_pixels_of_the_upright_picture(stores: Stores) -> None:
    asset = await again(stores, faces(LEFT, RIGHT))
    await stores.spaces.activate_if_whole(SPACE)

    details = await stores.assets.details(ALICE, asset, vectors=True)

    assert details is not None
    first, second = details.faces
    assert first.box == pytest.approx(LEFT, abs=1e-3)
    assert second.box == pytest.approx(RIGHT, abs=1e-3)
    assert first.score == pytest.approx(0.9)
    assert np.array(first.landmarks) == pytest.approx(np.full((5, 2), (20.0, 25.0)), abs=1e-3)
    assert first.vector == pytest.approx(tuple(axis(0)), abs=1e-3)
    assert (await stores.assets.counts(ALICE)).faces == 2


async def test_the_same_faces_again_keep_their_rows(stores: Stores, fetch: Fetch) -> None:
    await again(stores, faces(LEFT, RIGHT))
    before = await fetch("select id, face_index from face_embeddings order by face_index")

    await again(stores, faces(RIGHT, LEFT))

    assert await fetch("select id, face_index from face_embeddings order by face_index") == before
    assert [row["n"] for row in await fetch("select count(*) as n from face_vectors")] == [2]


async def test_a_face_that_is_gone_loses_its_row_and_a_new_one_gets_a_new_index(stores: Stores, fetch: Fetch) -> None:
    await again(stores, faces(LEFT, RIGHT))

    await again(stores, faces(LEFT, (100, 10, 120, 40)))

    assert [row["face_index"] for row in await fetch("select face_index from face_embeddings order by face_index")] == [0, 2]


async def test_no_face_is_a_result_too(stores: Stores, fetch: Fetch) -> None:
    await again(stores, faces(LEFT))

    await again(stores, faces())

    assert await fetch("select id from face_embeddings") == []
    assert [tuple(row) for row in await fetch("select model, outcome, items from asset_operations where operation = 'faces'")] == [(SPACE, "done", 0)]


async def test_a_face_that_a_person_spoke_about_stays_although_it_is_not_seen(stores: Stores, fetch: Fetch) -> None:
    await again(stores, faces(LEFT, RIGHT))
    (person,) = await fetch("insert into face_clusters (user_id) values ($1) returning id", ALICE)
    (kept,) = await fetch("select id from face_embeddings where face_index = 1")
    await fetch(
        "insert into face_decisions (face_id, cluster_id, user_id, decision) values ($1, $2, $3, 'confirmed')", kept["id"], person["id"], ALICE
    )

    await again(stores, faces())

    assert [row["id"] for row in await fetch("select id from face_embeddings")] == [kept["id"]]


async def test_what_was_called_no_face_does_not_come_back(stores: Stores, fetch: Fetch) -> None:
    asset = await again(stores, faces(LEFT))
    (row,) = await fetch("delete from face_embeddings returning bbox")
    statement = "insert into face_tombstones (asset_id, user_id, bbox, reason) values ($1, $2, $3, 'not_a_face')"
    await fetch(statement, asset, ALICE, row["bbox"])

    await again(stores, faces(LEFT, RIGHT))

    assert len(await fetch("select id from face_embeddings")) == 1


async def test_a_new_pack_fills_a_space_beside_the_old_one_and_takes_over_when_whole(stores: Stores) -> None:
    first, second = await registered(stores, 2, ("faces",))
    for job in await claim_all(stores):
        await stores.results.settle([(job, found(job, faces(LEFT)))])
    assert await stores.spaces.activate_if_whole(SPACE)
    await stores.queue.enqueue(ALICE, [first, second], ["faces"])
    one, other = await claim_all(stores)

    await stores.results.settle([(one, found(one, faces(LEFT, space="new")))])
    assert not await stores.spaces.activate_if_whole("new")
    await stores.results.settle([(other, found(other, faces(space="new")))])
    assert await stores.spaces.activate_if_whole("new")

    active = await stores.spaces.active_space("face")
    assert active is not None
    assert active.name == "new"


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (replace(faces(LEFT), vectors=np.full((1, 8), 0.5, np.float32)), "length"),
        (replace(faces(LEFT), scores=np.array([np.nan], np.float32)), "not finite"),
        (replace(faces(LEFT), landmarks=np.zeros((2, 5, 2), np.float32)), "differ in length"),
    ],
)
async def test_values_that_no_table_may_hold_fail_their_photo_alone(stores: Stores, odd: Faces, reason: str) -> None:
    await registered(stores, 2, ("faces",))
    bad, good = await claim_all(stores)

    settled = await stores.results.settle([(bad, found(bad, odd)), (good, found(good, faces(LEFT)))])

    assert settled.completed == {good.id}
    assert isinstance(settled.failed[bad.id], PermanentError)
    assert reason in str(settled.failed[bad.id])


async def test_forgetting_a_photo_forgets_its_faces(stores: Stores, fetch: Fetch) -> None:
    asset = await again(stores, faces(LEFT, RIGHT))

    assert (await stores.assets.forget(ALICE, [asset])).faces == 2

    assert await fetch("select id from face_embeddings") == []
    assert await fetch("select face_id from face_vectors") == []


def test_the_sample_photo_is_large_enough_for_its_faces() -> None:
    assert FACTS.width >= 100
    assert FACTS.height >= 40
