"""kizu_fast/store/search.py on PostgreSQL: exact whatever indexes there are, and only what the user has."""

import json
from collections.abc import Awaitable, Callable

import asyncpg
import numpy as np
import pytest
from pgvector import HalfVector
from samples import ALICE, BOB, SPACE, Stores, axis, claim_all, complete_all, detections, registered, result, unit
from stores import postgres_stores

from kizu_fast.store import Person
from kizu_fast.store.pool import Database
from kizu_fast.store.sql import statement

Fetch = Callable[..., Awaitable[list[asyncpg.Record]]]
DIM = 32


@pytest.fixture
def stores(database: Database) -> Stores:
    return postgres_stores(database)


async def library(stores: Stores, count: int) -> tuple[list[object], np.ndarray]:
    """count photos of Alice with random vectors, and as many of Bob between them. Her ids, her vectors (count, DIM)."""
    kept: dict[object, np.ndarray] = {}
    for user in (ALICE, BOB):
        await registered(stores, count, ("embedding",), user=user, name=str(user))
    jobs = await claim_all(stores)
    for number, job in enumerate(jobs):
        if job.asset.user_id == ALICE:
            kept[job.asset.id] = unit(number, DIM)
    for start in range(0, len(jobs), 500):
        part = jobs[start : start + 500]
        await stores.results.settle([(job, result(job, unit(start + number, DIM))) for number, job in enumerate(part)])
    return list(kept), np.stack(list(kept.values()))


async def with_graph(fetch: Fetch) -> None:
    """The approximate index that `db index` would build for the space."""
    (model,) = await fetch("select id from embedding_models where name = $1", SPACE)
    (ddl,) = await fetch("select embedding_index_ddl($1::smallint) as sql", model["id"])
    await fetch(ddl["sql"].replace("concurrently ", ""))
    await fetch("analyze image_embeddings")


async def test_the_answer_is_exact_and_complete_with_an_approximate_index_present(stores: Stores, fetch: Fetch) -> None:
    ids, vectors = await library(stores, 600)
    await with_graph(fetch)

    for seed in range(5):
        query = unit(10_000 + seed, DIM)
        hits = await stores.search.by_vector(ALICE, SPACE, query, 20)

        best = np.argsort(-(vectors @ query))[:20]
        assert len(hits) == 20
        assert len({hit.asset_id for hit in hits} & {ids[i] for i in best}) >= 19  # halves may swap two neighbours
        assert [hit.score for hit in hits] == pytest.approx(sorted(vectors @ query, reverse=True)[:20], abs=2e-3)


async def test_the_answer_is_never_shorter_than_the_library_allows(stores: Stores, fetch: Fetch) -> None:
    ids, _ = await library(stores, 50)
    await with_graph(fetch)

    assert {hit.asset_id for hit in await stores.search.by_vector(ALICE, SPACE, unit(1, DIM), 1000)} == set(ids)


async def test_the_exact_form_never_uses_the_graph(database: Database, stores: Stores, fetch: Fetch) -> None:
    await library(stores, 300)
    await with_graph(fetch)

    async with database.connection() as connection:
        await connection.execute("set enable_seqscan = off; set enable_sort = off")
        arguments = (HalfVector(unit(1, DIM)), ALICE, SPACE, 20)
        plan = json.loads(await connection.fetchval("explain (format json) " + statement("search_by_vector"), *arguments))
        (model,) = await connection.fetch("select id from embedding_models where name = $1", SPACE)
        approximate = f"select asset_id from image_embeddings where model_id = {model['id']} order by embedding::halfvec({DIM}) <=> $1 limit 5"
        other = await connection.fetchval("explain (format json) " + approximate, arguments[0])
        await connection.execute("reset enable_seqscan; reset enable_sort")

    assert "hnsw" not in json.dumps(plan)
    assert "image_embeddings_user" in json.dumps(plan)
    assert "hnsw" in json.dumps(json.loads(other))  # the graph is there and would be used


async def test_photos_of_others_never_show_even_when_they_are_nearer(stores: Stores) -> None:
    await registered(stores, 1)
    await registered(stores, 1, user=BOB)
    jobs = {job.asset.user_id: job for job in await claim_all(stores)}
    await stores.results.settle([(jobs[ALICE], result(jobs[ALICE], axis(1))), (jobs[BOB], result(jobs[BOB], axis(0)))])

    hits = await stores.search.by_vector(ALICE, SPACE, axis(0), 10)

    assert [hit.asset_id for hit in hits] == [jobs[ALICE].asset.id]


async def test_vectors_of_two_spaces_are_never_compared(stores: Stores) -> None:
    (asset,) = await registered(stores, 1)
    (job,) = await claim_all(stores)
    await stores.results.settle([(job, result(job, axis(0), space="s/a"))])
    await stores.queue.enqueue(ALICE, [asset], ["embedding"])
    (again,) = await claim_all(stores)
    await stores.results.settle([(again, result(again, axis(1), space="s/b"))])

    (first,), (second,) = [await stores.search.by_vector(ALICE, space, axis(0), 10) for space in ("s/a", "s/b")]

    assert (first.score, second.score) == pytest.approx((1, 0), abs=1e-3)


async def test_object_search_uses_its_index(stores: Stores, fetch: Fetch) -> None:
    await registered(stores, 50)
    await complete_all(stores)
    await fetch(
        """insert into detected_objects (asset_id, user_id, model, class_id, label, confidence, bbox)
           select id, user_id, 'm', 1, 'label ' || n, 0.5, '{0,0,1,1}' from assets cross join generate_series(1, 400) n"""
    )
    await fetch("analyze detected_objects")

    plan = await fetch("explain " + statement("search_by_objects"), ALICE, ["dog"], 20)

    text = "\n".join(row[0] for row in plan)
    assert "detected_objects_user_label" in text
    assert "Seq Scan on detected_objects" not in text


async def test_a_card_shows_a_path_that_is_no_text(stores: Stores, fetch: Fetch) -> None:
    (asset,) = await registered(stores, 1)
    await fetch("update asset_paths set path = $1", b"/photos/\xff.jpg")

    assert (await stores.search.cards(ALICE, [asset]))[asset].path == "/photos/\udcff.jpg"


async def test_a_card_names_the_people_best_seen_first_and_counts_the_unknown(stores: Stores, fetch: Fetch) -> None:
    (asset,) = await registered(stores, 1)
    (anna,) = await fetch("insert into face_clusters (user_id, name) values ($1, 'Anna') returning id", ALICE)
    for index, (score, cluster) in enumerate([(0.6, None), (0.9, anna["id"])]):
        await fetch(
            "insert into face_embeddings (asset_id, user_id, detector, face_index, bbox, det_score, cluster_id) values ($1, $2, 'd', $3, '{0,0,1,1}', $4, $5)",
            asset,
            ALICE,
            index,
            score,
            cluster,
        )

    assert (await stores.search.cards(ALICE, [asset]))[asset].faces == (Person(anna["id"], "Anna"), Person())


async def test_a_photo_without_any_file_has_a_card(stores: Stores, fetch: Fetch) -> None:
    (asset,) = await registered(stores, 1)
    (job,) = await claim_all(stores)
    await stores.results.settle([(job, result(job, objects=detections(("dog", 0.5))))])
    await fetch("delete from asset_paths")

    card = (await stores.search.cards(ALICE, [asset]))[asset]

    assert (card.path, card.objects) == (None, ("dog",))
    details = await stores.assets.details(ALICE, asset)
    assert details is not None
    assert details.path is None
