"""Thumbnails of faces and their rows: written before the row is there, gone after the face is, whatever comes between."""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import asyncpg
import numpy as np
import pytest
from samples import ALICE, BOB, Stores, axis, claim_all, registered, result

from kizu_fast.domain import Faces, Job, Operation, PhotoResult, Thumbnail
from kizu_fast.errors import DatabaseUnavailable
from kizu_fast.store.library import Library
from kizu_fast.store.pool import Database
from kizu_fast.store.portraits import Portraits, path_of

Fetch = Callable[..., Awaitable[list[asyncpg.Record]]]
LEFT, RIGHT = (100.0, 50.0, 140.0, 90.0), (200.0, 50.0, 240.0, 90.0)
NUDGED, MOVED = (103.0, 50.0, 143.0, 90.0), (105.0, 50.0, 145.0, 90.0)  # by less and by more than a tenth of the 40 pixels


@pytest.fixture
def library(database: Database, tmp_path: Path) -> Library:
    return Library.over(database, tmp_path)


@pytest.fixture
def stores(library: Library) -> Stores:
    async def pass_time(_seconds: float) -> None: ...

    return Stores(library.queue, library.results, library.spaces, library.assets, library.search, library.coverage, pass_time)


@pytest.fixture
def portraits(library: Library) -> Portraits:
    return library.thumbnails.portraits


def faces(*boxes: tuple[float, float, float, float], look: str = "") -> Faces:
    """Faces whose thumbnails follow from their boxes, and from look."""
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    count = len(corners)
    points = np.repeat(((corners[:, :2] + corners[:, 2:]) / 2)[:, None], 5, axis=1)
    vectors = np.array([axis(i) for i in range(count)], np.float32).reshape(count, 8)
    pictures = tuple(Thumbnail(f"{uuid.uuid5(uuid.NAMESPACE_OID, f'{box}{look}').hex}", b"small", b"large") for box in boxes)
    return Faces(corners, np.full(count, 0.9, np.float32), points, np.full(count, 0.5, np.float32), vectors, "space", pictures)


def found(job: Job, seen: Faces, word: str | None = None) -> PhotoResult:
    return replace(result(job, word=word), faces=seen, models={Operation.FACES: "buffalo_s"})


async def settle(stores: Stores, seen: Faces, *, word: str | None = None, user: UUID = ALICE) -> UUID:
    """One photo of the user whose worker saw these faces. The asset's id."""
    known = await stores.assets.known_paths(user, b"/photos")
    ids = [file.asset_id for file in known.values()] or await registered(stores, 1, ("faces",), user)
    if known:
        await stores.queue.enqueue(user, ids, ["faces"])
    (job,) = await claim_all(stores)
    assert (await stores.results.settle([(job, found(job, seen, word))])).completed == {job.id}
    return ids[0]


async def named(fetch: Fetch) -> list[str]:
    return [row["thumbnail_path"] for row in await fetch("select thumbnail_path from face_embeddings order by face_index")]


def files(portraits: Portraits) -> set[str]:
    return {str(path.relative_to(portraits.folder)) for path in portraits.folder.rglob("*-*.webp")}


def both_sizes(*paths: str) -> set[str]:
    return {f"{path}-{side}.webp" for path in paths for side in (112, 224)}


async def test_every_new_face_has_both_files_and_a_row_that_names_them(stores: Stores, portraits: Portraits, fetch: Fetch) -> None:
    seen = faces(LEFT, RIGHT)
    asset = await settle(stores, seen)
    assert await named(fetch) == [path_of(ALICE, asset, thumbnail.digest) for thumbnail in seen.thumbnails]
    assert files(portraits) == both_sizes(*await named(fetch))


async def test_the_same_face_again_keeps_its_files(stores: Stores, portraits: Portraits, fetch: Fetch) -> None:
    await settle(stores, faces(LEFT, RIGHT))
    before = await named(fetch)
    await settle(stores, faces(LEFT, RIGHT))
    assert await named(fetch) == before
    assert files(portraits) == both_sizes(*before)


async def test_a_box_that_moved_by_less_than_a_tenth_keeps_its_thumbnail(stores: Stores, portraits: Portraits, fetch: Fetch) -> None:
    await settle(stores, faces(LEFT))
    before = await named(fetch)
    await settle(stores, faces(NUDGED, look="another detector"))
    assert await named(fetch) == before
    assert files(portraits) == both_sizes(*before)


async def test_a_box_that_moved_by_more_gets_a_new_one_and_the_old_one_goes(stores: Stores, portraits: Portraits, fetch: Fetch) -> None:
    await settle(stores, faces(LEFT))
    before = await named(fetch)
    await settle(stores, faces(MOVED))
    assert await named(fetch) != before
    assert files(portraits) == both_sizes(*await named(fetch))


async def test_a_thumbnail_whose_file_was_lost_is_made_again(stores: Stores, portraits: Portraits, fetch: Fetch) -> None:
    await settle(stores, faces(LEFT))
    portraits.clear()
    await settle(stores, faces(LEFT))
    assert files(portraits) == both_sizes(*await named(fetch))


async def test_other_bytes_in_the_file_mean_a_new_thumbnail(stores: Stores, portraits: Portraits, fetch: Fetch) -> None:
    await settle(stores, faces(LEFT))
    before = await named(fetch)
    await settle(stores, faces(LEFT, look="edited"), word="edited")
    assert await named(fetch) != before
    assert files(portraits) == both_sizes(*await named(fetch))


async def test_a_face_that_is_gone_takes_its_thumbnail_along(stores: Stores, portraits: Portraits, fetch: Fetch) -> None:
    await settle(stores, faces(LEFT, RIGHT))
    await settle(stores, faces(RIGHT))
    assert len(await named(fetch)) == 1
    assert files(portraits) == both_sizes(*await named(fetch))
    await settle(stores, faces())
    assert files(portraits) == set()


async def test_a_face_that_a_person_spoke_about_keeps_its_thumbnail(stores: Stores, portraits: Portraits, fetch: Fetch) -> None:
    await settle(stores, faces(LEFT))
    (person,) = await fetch("insert into face_clusters (user_id) values ($1) returning id", ALICE)
    (face,) = await fetch("select id from face_embeddings")
    decided = "insert into face_decisions (face_id, cluster_id, user_id, decision) values ($1, $2, $3, 'confirmed')"
    await fetch(decided, face["id"], person["id"], ALICE)
    await settle(stores, faces())
    assert len(await named(fetch)) == 1
    assert files(portraits) == both_sizes(*await named(fetch))


async def test_a_result_without_thumbnails_keeps_what_is_there(stores: Stores, portraits: Portraits, fetch: Fetch) -> None:
    await settle(stores, faces(LEFT))
    before = await named(fetch)
    await settle(stores, replace(faces(LEFT), thumbnails=()))
    assert await named(fetch) == before
    assert files(portraits) == both_sizes(*before)


async def test_forgetting_a_photo_takes_its_thumbnails_and_no_others(stores: Stores, portraits: Portraits, fetch: Fetch) -> None:
    mine, theirs = await settle(stores, faces(LEFT)), await settle(stores, faces(LEFT), user=BOB)
    await stores.assets.forget(ALICE, [theirs])  # not hers
    assert len(files(portraits)) == 4
    await stores.assets.forget(ALICE, [mine])
    assert files(portraits) == both_sizes(*await named(fetch))
    assert all(path.startswith(str(BOB)) for path in files(portraits))


async def test_forgetting_a_folder_or_a_user_takes_the_thumbnails(stores: Stores, portraits: Portraits) -> None:
    await settle(stores, faces(LEFT))
    await stores.assets.forget_below(ALICE, b"/photos")
    assert files(portraits) == set()
    await settle(stores, faces(LEFT))
    await stores.assets.forget_user(ALICE)
    assert files(portraits) == set()


async def test_a_result_that_comes_too_late_leaves_no_file(stores: Stores, portraits: Portraits) -> None:
    (asset,) = await registered(stores, 1, ("faces",))
    (job,) = await claim_all(stores)
    await stores.queue.release([job])
    assert (await stores.results.settle([(job, found(job, faces(LEFT)))])).lost == {job.id}
    (again,) = await claim_all(stores)
    await stores.assets.forget(ALICE, [asset])
    assert (await stores.results.settle([(again, found(again, faces(LEFT)))])).lost == {again.id}
    assert files(portraits) == set()


async def test_files_that_cannot_be_written_undo_the_whole_group_and_cost_nothing(stores: Stores, portraits: Portraits, fetch: Fetch) -> None:
    await registered(stores, 2, ("faces",))
    jobs = await claim_all(stores)
    portraits.folder.write_text("in the way")
    with pytest.raises(DatabaseUnavailable, match="thumbnails of faces cannot be written"):
        await stores.results.settle([(job, found(job, faces(LEFT))) for job in jobs])
    assert await named(fetch) == []
    portraits.folder.unlink()
    settled = await stores.results.settle([(job, found(job, faces(LEFT))) for job in jobs])
    assert settled.completed == {job.id for job in jobs}
    assert [row["attempts"] for row in await fetch("select attempts from processing_queue")] == [1, 1]


async def test_a_sweep_deletes_what_no_face_has(library: Library, stores: Stores, portraits: Portraits, fetch: Fetch) -> None:
    asset = await settle(stores, faces(LEFT))
    kept = await named(fetch)
    stray = Thumbnail("f" * 32, b"small", b"large")
    portraits.write({path_of(ALICE, asset, stray.digest): stray, path_of(ALICE, uuid.uuid4(), "e" * 32): stray, path_of(BOB, asset, "d" * 32): stray})
    assert await library.thumbnails.sweep() == 6
    assert files(portraits) == both_sizes(*kept)
    assert await library.thumbnails.sweep() == 0


async def test_a_sweep_leaves_the_folder_of_another_database_alone(library: Library, stores: Stores, portraits: Portraits) -> None:
    await settle(stores, faces(LEFT))
    portraits.write({path_of(ALICE, uuid.uuid4(), "e" * 32): Thumbnail("e" * 32, b"small", b"large")})
    (portraits.folder / "DATABASE").write_text("of another library")
    assert await library.thumbnails.sweep() == 0
    assert len(files(portraits)) == 4


async def test_a_sweep_of_nothing_makes_no_folder(library: Library, portraits: Portraits) -> None:
    assert await library.thumbnails.sweep() == 0
    assert not portraits.folder.exists()
