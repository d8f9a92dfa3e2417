"""kizu_fast/store/results.py and spaces.py on PostgreSQL: what lands in the tables, all of it or nothing, and side by side with others."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import numpy as np
import pytest
from samples import ALICE, BOTH, FACTS, SPACE, YOLO, Stores, axis, claim_all, complete_all, detections, file, registered, result, sha, unit
from stores import postgres_stores

from kizu_fast.domain import PhotoFacts
from kizu_fast.errors import DatabaseUnavailable, ImageTooLarge, ImageUnreadable, PermanentError
from kizu_fast.store.pool import Database, open_database

Fetch = Callable[..., Awaitable[list[asyncpg.Record]]]


@pytest.fixture
def stores(database: Database) -> Stores:
    return postgres_stores(database)


@pytest.fixture
async def pair(database_dsn: str, pg_user: str) -> AsyncIterator[list[Stores]]:
    """Two pools on one database."""
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(open_database(database_dsn, Path("/nonexistent"), pg_user, "direct")) for _ in range(2)]
        yield [postgres_stores(database) for database in opened]


async def settled_asset(stores: Stores, fetch: Fetch, facts: PhotoFacts | None) -> asyncpg.Record:
    """The row of an asset whose worker found these facts."""
    await stores.assets.register(ALICE, [file("/photos/a.jpg", "a", None)], BOTH)
    (job,) = await claim_all(stores)
    await stores.results.settle([(job, result(job, axis(0), facts=facts))])
    return (await fetch("select * from assets"))[0]


async def test_boxes_are_stored_as_fractions_of_the_upright_picture(stores: Stores, fetch: Fetch) -> None:
    await registered(stores, 1)
    (job,) = await claim_all(stores)

    await stores.results.settle([(job, result(job, objects=detections(("dog", 0.5))))])

    (row,) = await fetch("select * from detected_objects")
    assert row["bbox"] == pytest.approx([0.25, 0.25, 0.5, 0.5])
    assert (row["user_id"], row["model"], row["class_id"], row["label"], row["confidence"]) == (ALICE, YOLO, 0, "dog", 0.5)


async def test_vectors_are_stored_in_half_precision_and_stay_unit_vectors(stores: Stores, fetch: Fetch) -> None:
    await registered(stores, 1)
    (job,) = await claim_all(stores)
    vector = unit(7, 512)

    await stores.results.settle([(job, result(job, vector))])

    (row,) = await fetch("select embedding::real[] as stored, dim, user_id from image_embeddings")
    assert (row["dim"], row["user_id"]) == (512, ALICE)
    assert np.dot(row["stored"], vector) > 0.9999


async def test_a_time_with_an_offset_is_an_instant_too(stores: Stores, fetch: Fetch) -> None:
    row = await settled_asset(stores, fetch, FACTS)

    assert row["taken_at_local"] == datetime(2024, 5, 17, 14, 30, 5)
    assert row["taken_at"] == datetime(2024, 5, 17, 5, 30, 5, tzinfo=UTC)
    assert (row["utc_offset_minutes"], row["taken_at_source"]) == (540, "exif_offset")


async def test_a_time_without_an_offset_is_no_instant(stores: Stores, fetch: Fetch) -> None:
    row = await settled_asset(stores, fetch, replace(FACTS, utc_offset_minutes=None))

    assert row["taken_at_local"] == datetime(2024, 5, 17, 14, 30, 5)
    assert (row["taken_at"], row["utc_offset_minutes"], row["taken_at_source"]) == (None, None, "exif_naive")


async def test_no_time_is_nothing_at_all(stores: Stores, fetch: Fetch) -> None:
    row = await settled_asset(stores, fetch, PhotoFacts(10, 20))

    assert [row[name] for name in ("taken_at_local", "taken_at", "utc_offset_minutes", "taken_at_source", "latitude", "camera_make")] == [None] * 6
    assert (row["width"], row["height"], row["exif_orientation"]) == (10, 20, 1)


async def test_all_facts_land_in_their_columns(stores: Stores, fetch: Fetch) -> None:
    row = await settled_asset(stores, fetch, FACTS)

    assert (row["width"], row["height"], row["exif_orientation"], row["mime_type"]) == (400, 200, 6, "image/jpeg")
    assert (row["latitude"], row["longitude"], row["altitude_m"]) == (35.6895, 139.6917, 40.5)
    assert (row["camera_make"], row["camera_model"], row["byte_size"]) == ("Maker", "Model 7", 10)
    assert (row["storage_path"], row["original_filename"], row["content_sha256"]) == ("/photos/a.jpg", "a.jpg", sha("a"))


async def test_facts_of_changed_bytes_replace_the_old_ones_even_by_nothing(stores: Stores, fetch: Fetch) -> None:
    await settled_asset(stores, fetch, FACTS)
    await stores.assets.register(ALICE, [file("/photos/a.jpg", "edited", PhotoFacts(7, 8))], BOTH)

    (row,) = await fetch("select * from assets")
    assert (row["width"], row["taken_at_local"], row["latitude"], row["camera_model"]) == (7, None, None, None)


async def test_a_time_that_the_user_set_stays(stores: Stores, fetch: Fetch) -> None:
    (asset,) = await registered(stores, 1)
    await fetch("update assets set taken_at_local = '1999-01-01', taken_at_source = 'user', taken_at = null, utc_offset_minutes = null")

    await complete_all(stores)

    details = await stores.assets.details(ALICE, asset)
    assert details is not None
    assert (details.taken_at, details.width) == ("1999-01-01T00:00:00", 400)


async def test_without_facts_the_known_ones_stay(stores: Stores, fetch: Fetch) -> None:
    await settled_asset(stores, fetch, FACTS)
    (asset,) = [row["id"] for row in await fetch("select id from assets")]
    await stores.queue.enqueue(ALICE, [asset], BOTH)
    (job,) = await claim_all(stores)

    await stores.results.settle([(job, result(job, axis(1), facts=None, objects=detections(("dog", 0.5))))])

    (row,) = await fetch("select a.width, a.camera_make, o.bbox from assets a join detected_objects o on o.asset_id = a.id")
    assert (row["width"], row["camera_make"]) == (400, "Maker")
    assert row["bbox"] == pytest.approx([0.25, 0.25, 0.5, 0.5])


async def test_text_that_no_database_takes_is_made_storable(stores: Stores, fetch: Fetch) -> None:
    row = await settled_asset(stores, fetch, replace(FACTS, camera_make="Ma\0ker", camera_model="M\udcff"))

    assert (row["camera_make"], row["camera_model"]) == ("Maker", "M\\udcff")


async def test_outcomes_tell_what_ran_and_how_much_it_found(stores: Stores, fetch: Fetch) -> None:
    await registered(stores, 1)
    (job,) = await claim_all(stores)

    await stores.results.settle([(job, result(job, axis(0), detections(("dog", 0.5), ("cat", 0.5))))])

    rows = await fetch("select operation, model, outcome, items, error from asset_operations order by operation")
    assert [tuple(row) for row in rows] == [("embedding", SPACE, "done", 1, None), ("objects", YOLO, "done", 2, None)]
    (summary,) = [json.loads(row["result"]) for row in await fetch("select result from processing_queue")]
    assert summary == {"embedding": {"model": SPACE, "items": 1}, "objects": {"model": YOLO, "items": 2}}


async def test_a_failed_operation_is_an_outcome_until_it_succeeds(stores: Stores, fetch: Fetch) -> None:
    (asset,) = await registered(stores, 1)
    (job,) = await claim_all(stores)
    settled = await stores.results.settle([(job, result(job, axis(0), failures={"objects": PermanentError("too odd")}))])
    await stores.queue.fail([job], [settled.failed[job.id]], retry=False)
    rows = await fetch("select operation, model, outcome, error from asset_operations order by operation")
    assert [tuple(row) for row in rows] == [("embedding", SPACE, "done", None), ("objects", "none", "failed", "too odd")]

    await stores.queue.enqueue(ALICE, [asset], ["objects"])
    (again,) = await claim_all(stores)
    await stores.results.settle([(again, result(again, objects=detections(("dog", 0.5))))])

    rows = await fetch("select operation, model, outcome from asset_operations order by operation")
    assert [tuple(row) for row in rows] == [("embedding", SPACE, "done"), ("objects", YOLO, "done")]


async def test_a_cap_and_a_word_that_is_no_operation_are_no_outcome(stores: Stores, fetch: Fetch) -> None:
    await registered(stores, 1)
    (job,) = await claim_all(stores)
    failures = {"objects": ImageTooLarge("raise KIZU_MAX_PIXELS"), "paint": PermanentError("no operation")}

    settled = await stores.results.settle([(job, result(job, failures=dict(failures)))])

    assert str(settled.failed[job.id]) == "objects: raise KIZU_MAX_PIXELS; paint: no operation"
    assert await fetch("select 1 from asset_operations") == []


async def test_an_unreadable_file_is_an_outcome_of_every_operation_that_has_none(stores: Stores, fetch: Fetch) -> None:
    await registered(stores, 1)
    (job,) = await claim_all(stores)

    await stores.queue.fail([job], [ImageUnreadable("a.jpg: no picture")], retry=False)

    rows = await fetch("select operation, model, outcome, error from asset_operations order by operation")
    assert [tuple(row) for row in rows] == [(operation, "none", "failed", "a.jpg: no picture") for operation in BOTH]


async def test_a_row_that_only_the_database_refuses_fails_alone(stores: Stores, fetch: Fetch) -> None:
    await registered(stores, 9)
    jobs = await claim_all(stores)
    bad = jobs[4]
    wrong = replace(FACTS, latitude=123.0)  # beyond the check of the table

    settled = await stores.results.settle([(job, result(job, axis(0), facts=wrong if job is bad else FACTS)) for job in jobs])

    assert settled.completed == {job.id for job in jobs} - {bad.id}
    assert settled.failed.keys() == {bad.id}
    assert str(settled.failed[bad.id]).startswith(bad.asset.path.decode())
    assert "\n" not in str(settled.failed[bad.id])
    assert (await fetch("select count(*) from image_embeddings"))[0]["count"] == 8


async def test_two_jobs_of_one_asset_in_one_group_both_end(stores: Stores, fetch: Fetch) -> None:
    (asset,) = await registered(stores, 1)
    first = await claim_all(stores)
    await stores.queue.enqueue(ALICE, [asset], BOTH)
    jobs = first + await claim_all(stores)

    settled = await stores.results.settle([(job, result(job, axis(0), detections(("dog", 0.5)))) for job in jobs])

    assert len(jobs) == 2
    assert settled.completed == {job.id for job in jobs}
    assert (await fetch("select count(*) from detected_objects"))[0]["count"] == 1


async def test_two_workers_that_settle_the_same_assets_do_not_deadlock(pair: list[Stores], fetch: Fetch) -> None:
    ids = await registered(pair[0], 40)
    for _ in range(4):
        first = await pair[0].queue.claim("one", 100, 60)
        await pair[0].queue.enqueue(ALICE, ids, BOTH)
        second = await pair[1].queue.claim("two", 100, 60)
        batches = [(pair[0], first), (pair[1], list(reversed(second)))]

        ended = await asyncio.gather(*(s.results.settle([(j, result(j, axis(0), detections(("dog", 0.5)))) for j in jobs]) for s, jobs in batches))

        assert [len(settled.completed) for settled in ended] == [40, 40]
        await pair[0].queue.enqueue(ALICE, ids, BOTH)

    assert (await fetch("select count(*) from detected_objects"))[0]["count"] == 40


async def test_forgetting_and_settling_at_once_never_deadlock(pair: list[Stores], fetch: Fetch) -> None:
    ids = await registered(pair[0], 60)
    jobs = await claim_all(pair[0])

    settled, _ = await asyncio.gather(
        pair[0].results.settle([(job, result(job, axis(0), detections(("dog", 0.5)))) for job in jobs]),
        pair[1].assets.forget(ALICE, list(reversed(ids[:30]))),
    )

    assert len(settled.completed) + len(settled.lost) == 60
    assert {row["asset_id"] for row in await fetch("select asset_id from image_embeddings")} == set(ids[30:])


async def test_an_outage_is_raised_and_nothing_is_written(database: Database, stores: Stores, fetch: Fetch) -> None:
    await registered(stores, 2)
    jobs = await claim_all(stores)
    await fetch("alter table detected_objects add constraint slow check (pg_terminate_backend(pg_backend_pid()))")

    with pytest.raises(DatabaseUnavailable):
        await stores.results.settle([(job, result(job, axis(0), detections(("dog", 0.5)))) for job in jobs])

    await database.reopen()
    await fetch("alter table detected_objects drop constraint slow")
    assert await fetch("select 1 from image_embeddings") == []
    assert await complete_all(stores) == 0
    again = await stores.results.settle([(job, result(job, axis(0), detections(("dog", 0.5)))) for job in jobs])
    assert len(again.completed) == 2


async def test_spaces_of_512_and_768_live_side_by_side_and_a_wrong_width_is_refused(stores: Stores, fetch: Fetch) -> None:
    await registered(stores, 1)
    (job,) = await claim_all(stores)
    await stores.results.settle([(job, result(job, unit(1, 512), space="s/512"))])
    await stores.queue.enqueue(ALICE, [job.asset.id], ["embedding"])
    (again,) = await claim_all(stores)
    await stores.results.settle([(again, result(again, unit(1, 768), space="s/768"))])

    rows = await fetch("select m.name, e.dim from image_embeddings e join embedding_models m on m.id = e.model_id order by e.dim")
    assert [tuple(row) for row in rows] == [("s/512", 512), ("s/768", 768)]
    (old,) = await fetch("select * from embedding_models where name = 's/512'")
    with pytest.raises(PermanentError, match="foreign key"):  # past the store: three numbers into a space of 512
        await fetch("update image_embeddings set embedding = '[1,0,0]' where model_id = $1", old["id"])


async def test_twenty_workers_make_one_space(pair: list[Stores], fetch: Fetch) -> None:
    ids = await asyncio.gather(*(stores.spaces.ensure_space("s/new", 64) for stores in pair * 10))

    assert len(set(ids)) == 1
    assert len(await fetch("select 1 from embedding_models where name = 's/new'")) == 1


async def test_switching_the_space_at_once_leaves_one_active(pair: list[Stores], fetch: Fetch) -> None:
    for name in ("s/a", "s/b"):
        await pair[0].spaces.ensure_space(name, 8)

    await asyncio.gather(*(stores.spaces.activate_if_whole(name) for stores in pair for name in ("s/a", "s/b")))

    assert len(await fetch("select 1 from embedding_models where kind = 'image' and is_active")) == 1


async def test_switching_the_space_changes_what_search_counts(stores: Stores) -> None:
    await registered(stores, 1)
    (job,) = await claim_all(stores)
    await stores.results.settle([(job, result(job, axis(0), space="s/a"))])
    await stores.spaces.activate_if_whole("s/a")
    await stores.queue.enqueue(ALICE, [job.asset.id], ["embedding"])
    (again,) = await claim_all(stores)
    await stores.results.settle([(again, result(again, axis(1, 16), space="s/b"))])

    before = await stores.assets.details(ALICE, job.asset.id)
    assert await stores.spaces.activate_if_whole("s/b")
    after = await stores.assets.details(ALICE, job.asset.id)

    assert before is not None
    assert after is not None
    assert before.embedding is not None
    assert after.embedding is not None
    assert [(e.model, e.dim) for e in (before.embedding, after.embedding)] == [("s/a", 8), ("s/b", 16)]
