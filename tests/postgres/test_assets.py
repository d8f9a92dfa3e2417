"""kizu_fast/store/assets.py on PostgreSQL: round trips, races, cascades, and a library against a model of itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from samples import ALICE, BOB, BOTH, SPACE, Stores, axis, claim_all, complete_all, file, registered, result, sha
from stores import postgres_stores

from kizu_fast.errors import TransientError
from kizu_fast.store import Registered
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


async def statements_of(database: Database, call: Callable[[], Awaitable[object]]) -> list[str]:
    """The statements that a call sends, transaction control apart."""
    sent: list[str] = []
    holder = [await database.pool.acquire() for _ in range(database.pool.get_max_size())]

    def note(record: Any) -> None:
        sent.append(record.query)

    for connection in holder:
        connection.add_query_logger(note)
    for connection in holder:
        await database.pool.release(connection)
    await call()
    return [query for query in sent if not query.rstrip(";").upper().startswith(("BEGIN", "COMMIT"))]


async def test_a_thousand_files_take_a_handful_of_round_trips(database: Database, stores: Stores) -> None:
    files = [file(f"/photos/{number}.jpg", str(number)) for number in range(1000)]

    first = await statements_of(database, lambda: stores.assets.register(ALICE, files, BOTH))
    again = await stores.assets.register(ALICE, files, BOTH)

    assert len(first) <= 8
    assert again == Registered(known=1000)


async def test_new_photos_ask_for_the_operations_of_their_import_only(stores: Stores, fetch: Fetch) -> None:
    await stores.assets.register(ALICE, [file("/photos/a.jpg", "a")], ["objects"])

    assert [row["operations"] for row in await fetch("select operations from processing_queue")] == [["objects"]]
    await fetch("insert into assets (user_id) values ($1)", ALICE)
    assert ["embedding", "objects", "faces", "ocr"] in [row["operations"] for row in await fetch("select operations from processing_queue")]


async def test_the_owner_of_a_library_is_made_at_first_use_and_once(stores: Stores, fetch: Fetch) -> None:
    await asyncio.gather(*(stores.assets.register(ALICE, [file(f"/photos/{number}.jpg", str(number))], BOTH) for number in range(4)))

    assert [row["id"] for row in await fetch("select id from auth.users")] == [ALICE]


async def test_two_imports_of_the_same_folder_at_once_make_one_asset_a_file(pair: list[Stores], fetch: Fetch) -> None:
    files = [file(f"/photos/{number}.jpg", str(number)) for number in range(200)]
    orders = [files, list(reversed(files))]

    counts = await asyncio.gather(*(stores.assets.register(ALICE, order, BOTH) for stores, order in zip(pair, orders, strict=True)))

    assert sum(count.registered for count in counts) == 200
    assert sum(count.queued for count in counts) == 200
    assert (await fetch("select count(*) from assets"))[0]["count"] == 200
    assert (await fetch("select count(*) from processing_queue"))[0]["count"] == 200


async def test_importing_and_settling_changed_files_at_once_never_deadlock(pair: list[Stores], fetch: Fetch) -> None:
    await registered(pair[0], 60)
    jobs = await claim_all(pair[0])
    edited = [file(f"/photos/photo{number:05}.jpg", f"edited {number}") for number in range(60)]

    settled, counts = await asyncio.gather(
        pair[0].results.settle([(job, result(job, axis(0), word="edited " + str(int(job.asset.path[-9:-4])))) for job in jobs]),
        pair[1].assets.register(ALICE, edited, BOTH),
    )

    assert (len(settled.completed), len(settled.failed)) == (60, 0)
    assert (counts.registered, counts.known) == (0, 60)
    assert (await fetch("select count(*) from assets where deleted_at is null"))[0]["count"] == 60


async def test_a_worker_that_takes_the_bytes_of_a_new_file_first_makes_the_import_look_again(stores: Stores, fetch: Fetch) -> None:
    """The asset gets the new file's bytes after the import read the library and before it writes: played by a trigger."""
    await registered(stores, 1)
    await fetch(
        """create function play() returns trigger language plpgsql as $$
           begin
             if not exists (select from assets where content_sha256 = '\\x"""
        + sha("late").hex()
        + """') then
               update assets set content_sha256 = '\\x"""
        + sha("late").hex()
        + """' where content_sha256 = '\\x"""
        + sha(f"{ALICE}photo0").hex()
        + """';
             end if;
             return null;
           end $$"""
    )
    await fetch("create trigger play before insert on assets for each statement execute function play()")

    with pytest.raises(TransientError, match="run kizu-fast ingest again"):
        await stores.assets.register(ALICE, [file("/photos/late.jpg", "late")], BOTH)

    await fetch("drop trigger play on assets")
    await fetch("update assets set content_sha256 = $1", sha("late"))
    assert await stores.assets.register(ALICE, [file("/photos/late.jpg", "late")], BOTH) == Registered(known=1)


async def test_an_import_wakes_the_workers_once_a_call(stores: Stores, database_dsn: str) -> None:
    heard: list[str] = []
    listener = await asyncpg.connect(database_dsn)
    await listener.add_listener("processing_queue", lambda *message: heard.append(message[-1]))

    await registered(stores, 300)
    await listener.execute("select 1")
    await listener.close()

    assert heard == [""]


async def test_a_known_file_is_touched_once_a_day(stores: Stores, fetch: Fetch) -> None:
    await registered(stores, 1)
    same = file("/photos/photo00000.jpg", f"{ALICE}photo0")
    (before,) = await fetch("select xmin::text, seen_at from asset_paths")

    await stores.assets.register(ALICE, [same], BOTH)
    assert (await fetch("select xmin::text, seen_at from asset_paths")) == [before]

    await fetch("update asset_paths set seen_at = now() - interval '2 days'")
    await stores.assets.register(ALICE, [same], BOTH)
    assert (await fetch("select seen_at > now() - interval '1 minute' as fresh from asset_paths"))[0]["fresh"]


async def test_a_soft_deleted_asset_is_unknown_and_its_bytes_become_a_new_one(stores: Stores, fetch: Fetch) -> None:
    (asset,) = await registered(stores, 1)
    await complete_all(stores)
    await stores.spaces.activate_if_whole(SPACE)
    await fetch("update assets set deleted_at = now()")

    assert await stores.assets.by_path(ALICE, b"/photos/photo00000.jpg") is None
    assert await stores.assets.by_id(ALICE, asset) is None
    assert await stores.assets.by_sha256(ALICE, sha(f"{ALICE}photo0")) is None
    assert await stores.assets.known_paths(ALICE, b"/") == {}
    assert await stores.assets.copies(ALICE, [sha(f"{ALICE}photo0")]) == {}
    assert await stores.search.by_vector(ALICE, SPACE, axis(0), 10) == []
    assert await stores.search.by_objects(ALICE, ["dog"], 10) == []
    assert await stores.search.cards(ALICE, [asset]) == {}
    assert await stores.queue.queue_missing(ALICE, "embedding", "new/space") == 0
    assert await stores.queue.enqueue(ALICE, [asset], BOTH) == 0
    counts = await stores.assets.counts(ALICE)
    assert (counts.assets, counts.embeddings, counts.objects) == (0, 0, 0)
    (again,) = await registered(stores, 1)
    assert again != asset


async def test_deleting_an_asset_removes_every_derived_row(stores: Stores, fetch: Fetch) -> None:
    await registered(stores, 2)
    await complete_all(stores)
    kept, gone = [row["id"] for row in await fetch("select id from assets order by storage_path")]
    await fetch(
        "insert into face_embeddings (asset_id, user_id, detector, face_index, bbox, det_score) values ($1, $2, 'd', 0, '{0,0,1,1}', 1)", gone, ALICE
    )
    await fetch("insert into ocr_texts (asset_id, model, user_id, full_text, lines) values ($1, 'm', $2, 'a', '[{}]')", gone, ALICE)
    await fetch("insert into captions (asset_id, model, user_id, caption) values ($1, 'm', $2, 'a')", gone, ALICE)

    await stores.assets.forget(ALICE, [gone])

    tables = await fetch("select table_name as name from information_schema.columns where column_name = 'asset_id' and table_schema = 'public'")
    assert len(tables) >= 9
    for table in tables:
        assert await fetch(f'select 1 from "{table["name"]}" where asset_id = $1', gone) == [], table["name"]
    assert await stores.assets.by_id(ALICE, kept) is not None


async def test_forgetting_a_user_forgets_the_people_too_and_keeps_the_account(stores: Stores, fetch: Fetch) -> None:
    await registered(stores, 1)
    await registered(stores, 1, user=BOB)
    for user in (ALICE, BOB):
        await fetch("insert into face_clusters (user_id, name) values ($1, 'Someone')", user)
        await fetch("insert into people_state (user_id) values ($1)", user)

    await stores.assets.forget_user(ALICE)

    assert [row["user_id"] for row in await fetch("select user_id from face_clusters union all select user_id from people_state")] == [BOB, BOB]
    assert len(await fetch("select 1 from auth.users")) == 2


async def test_forgetting_more_than_one_transaction_takes(stores: Stores, fetch: Fetch) -> None:
    await fetch("insert into auth.users (id) values ($1)", ALICE)
    await fetch("insert into assets (id, user_id) select gen_random_uuid(), $1 from generate_series(1, 4100)", ALICE)

    forgotten = await stores.assets.forget_user(ALICE)

    assert (forgotten.assets, forgotten.jobs) == (4100, 4100)
    assert await fetch("select 1 from assets") == []


async def test_the_file_to_show_is_the_one_that_the_asset_names(stores: Stores, fetch: Fetch) -> None:
    await stores.assets.register(ALICE, [file("/photos/z first.jpg", "a")], BOTH)
    await stores.assets.register(ALICE, [file("/photos/a copy.jpg", "a")], BOTH)

    (job,) = await claim_all(stores)

    assert job.asset.path == b"/photos/z first.jpg"
    await stores.assets.forget_below(ALICE, b"/photos/z first.jpg")
    (row,) = await fetch("select storage_path, original_filename from assets")
    assert tuple(row) == ("/photos/a copy.jpg", "a copy.jpg")


async def test_paths_are_looked_up_by_their_index(fetch: Fetch, stores: Stores) -> None:
    await registered(stores, 1)
    await fetch(
        """insert into asset_paths (user_id, path, asset_id)
           select user_id, convert_to('/photos/' || n || '/' || n || '.jpg', 'UTF8'), id from assets cross join generate_series(1, 20000) n"""
    )
    await fetch("analyze asset_paths")

    plan = await fetch(
        "explain select path from asset_paths where user_id = $1 and (path = $2 or (path >= $3 and path < $4))", ALICE, b"/x", b"/x/", b"/x0"
    )

    text = "\n".join(row[0] for row in plan)
    assert "asset_paths_pkey" in text
    assert "Seq Scan" not in text
