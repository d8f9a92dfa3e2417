"""Row-level security: every table of ours has it, users see their own rows only, clients cannot run the queue's functions."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import pytest

from kizu_fast.errors import PermanentError
from kizu_fast.store.pool import Database

Fetch = Callable[..., Awaitable[list[asyncpg.Record]]]

ANN, BOB = uuid4(), uuid4()


@asynccontextmanager
async def acting(database: Database, role: str, user: UUID | None = None) -> AsyncIterator[asyncpg.Connection]:
    """A transaction as a client of that role, with the claims a gateway would set."""
    async with database.pool.acquire() as connection, connection.transaction():
        await connection.execute(f"set local role {role}")
        claims = "" if user is None else f'{{"sub": "{user}", "role": "{role}"}}'
        await connection.execute("select set_config('request.jwt.claims', $1, true)", claims)
        yield connection


@pytest.fixture
async def filled(fetch: Fetch) -> dict[UUID, UUID]:
    """One asset, with a row in every table that hangs on it, for each of two users. Returns asset id by user."""
    assets = {ANN: uuid4(), BOB: uuid4()}
    await fetch("insert into embedding_models (id, kind, name, dim) values (1, 'image', 'test', 2), (2, 'face', 'faces', 2)")
    for user, asset in assets.items():
        face, cluster = uuid4(), uuid4()
        await fetch("insert into auth.users (id, email) values ($1, $2)", user, f"{user}@example.org")
        await fetch("insert into assets (id, user_id) values ($1, $2)", asset, user)  # its trigger fills processing_queue
        await fetch("insert into album_assets (album_id, asset_id, user_id) values (gen_random_uuid(), $1, $2)", asset, user)
        await fetch(
            "insert into asset_operations (asset_id, operation, model, user_id, outcome) values ($1, 'embedding', 'test', $2, 'done')", asset, user
        )
        await fetch("insert into image_embeddings (asset_id, model_id, user_id, embedding) values ($1, 1, $2, '[1,0]')", asset, user)
        await fetch("insert into face_clusters (id, user_id) values ($1, $2)", cluster, user)
        await fetch(
            "insert into face_embeddings (id, asset_id, user_id, detector, face_index, bbox, det_score, cluster_id) "
            "values ($1, $2, $3, 'd', 0, '{0,0,1,1}', 1, $4)",
            face,
            asset,
            user,
            cluster,
        )
        await fetch("insert into face_vectors (face_id, model_id, user_id, embedding) values ($1, 2, $2, '[1,0]')", face, user)
        await fetch("insert into face_decisions (face_id, cluster_id, user_id, decision) values ($1, $2, $3, 'confirmed')", face, cluster, user)
        await fetch("insert into face_tombstones (asset_id, user_id, bbox, reason) values ($1, $2, '{0,0,1,1}', 'forget')", asset, user)
        await fetch("insert into people_state (user_id) values ($1)", user)
        await fetch(
            "insert into detected_objects (asset_id, user_id, model, class_id, label, confidence, bbox) "
            "values ($1, $2, 'm', 0, 'dog', 1, '{0,0,1,1}')",
            asset,
            user,
        )
        await fetch("insert into ocr_texts (asset_id, model, user_id, full_text, lines) values ($1, 'm', $2, 'text', '[]')", asset, user)
        await fetch("insert into captions (asset_id, model, user_id, caption) values ($1, 'm', $2, 'a dog')", asset, user)
    return assets


async def user_tables(fetch: Fetch) -> list[str]:
    """Our tables that carry a user."""
    rows = await fetch(
        "select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'user_id' "
        "where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace order by 1"
    )
    return [row["relname"] for row in rows]


async def test_every_table_has_row_level_security(fetch: Fetch) -> None:
    rows = await fetch("select relname, relrowsecurity from pg_class where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace")
    assert len(rows) > 15
    assert [row["relname"] for row in rows if not row["relrowsecurity"]] == []


async def test_every_function_that_runs_with_its_owners_rights_fixes_its_search_path(fetch: Fetch) -> None:
    rows = await fetch(
        "select p.oid::regprocedure::text as name, p.proconfig from pg_proc p where p.prosecdef and p.pronamespace = 'public'::regnamespace"
    )
    assert len(rows) > 10
    assert [row["name"] for row in rows if not any(setting.startswith("search_path=") for setting in row["proconfig"] or ())] == []


async def test_clients_can_execute_no_function_that_runs_with_its_owners_rights(fetch: Fetch) -> None:
    rows = await fetch("""
        select p.oid::regprocedure::text as name, r.rolname from pg_proc p cross join (values ('anon'), ('authenticated')) r(rolname)
         where p.prosecdef and p.pronamespace = 'public'::regnamespace and has_function_privilege(r.rolname, p.oid, 'execute')
    """)
    assert [(row["name"], row["rolname"]) for row in rows] == []


async def test_a_user_sees_rows_of_his_own_only(database: Database, fetch: Fetch, filled: dict[UUID, UUID]) -> None:
    seen: dict[str, set[UUID]] = {}
    async with acting(database, "authenticated", ANN) as client:
        for table in await user_tables(fetch):
            if await client.fetchval("select has_table_privilege($1, 'select')", table):
                seen[table] = {row["user_id"] for row in await client.fetch(f"select user_id from {table}")}
    assert {table: users for table, users in seen.items() if BOB in users} == {}
    assert sum(users == {ANN} for users in seen.values()) >= 14


async def test_without_claims_there_are_no_rows(database: Database, fetch: Fetch, filled: dict[UUID, UUID]) -> None:
    async with acting(database, "authenticated") as client:
        for table in await user_tables(fetch):
            if await client.fetchval("select has_table_privilege($1, 'select')", table):
                assert await client.fetchval(f"select count(*) from {table}") == 0, table


async def test_a_visitor_without_an_account_is_refused_every_table(database: Database, fetch: Fetch) -> None:
    async with acting(database, "anon") as client:
        for table in await user_tables(fetch):
            for right in ("select", "insert", "update", "delete"):
                assert not await client.fetchval("select has_table_privilege('anon', $1, $2)", table, right), (table, right)


async def test_a_user_cannot_make_an_asset_in_anothers_name(database: Database, filled: dict[UUID, UUID]) -> None:
    async with acting(database, "authenticated", ANN) as client:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with client.transaction():
                await client.execute("insert into assets (user_id) values ($1)", BOB)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with client.transaction():
                await client.execute("update assets set user_id = $1", BOB)


@pytest.mark.parametrize(
    "table", ["image_embeddings", "face_embeddings", "face_vectors", "face_clusters", "face_decisions", "processing_queue", "detected_objects"]
)
async def test_a_client_writes_neither_results_nor_people(database: Database, table: str) -> None:
    async with acting(database, "authenticated", ANN) as client:
        for right in ("insert", "update"):
            assert not await client.fetchval("select has_table_privilege($1, $2)", table, right), right


async def test_a_user_cancels_his_own_pending_job_and_no_other(database: Database, fetch: Fetch, filled: dict[UUID, UUID]) -> None:
    async with acting(database, "authenticated", ANN) as client:
        await client.execute("delete from processing_queue")
    assert [row["user_id"] for row in await fetch("select user_id from processing_queue")] == [BOB]


async def test_no_role_can_put_a_face_into_another_users_people(fetch: Fetch, filled: dict[UUID, UUID]) -> None:
    foreign = (await fetch("select id from face_clusters where user_id = $1", BOB))[0]["id"]
    with pytest.raises(PermanentError, match="foreign key"):
        await fetch("update face_embeddings set cluster_id = $1 where user_id = $2", foreign, ANN)


async def test_a_deleted_asset_takes_every_derived_row_along(fetch: Fetch, filled: dict[UUID, UUID]) -> None:
    await fetch("delete from assets where id = $1", filled[ANN])
    left = {}
    for table in await user_tables(fetch):
        if table not in ("people_state", "face_clusters"):
            left[table] = (await fetch(f"select count(*) as n from {table} where user_id = $1", ANN))[0]["n"]
    assert {table: n for table, n in left.items() if n} == {}


async def test_a_vector_of_the_wrong_width_is_refused(fetch: Fetch, filled: dict[UUID, UUID]) -> None:
    await fetch("insert into embedding_models (id, kind, name, dim) values (3, 'image', 'wider', 3)")
    await fetch("insert into image_embeddings (asset_id, model_id, user_id, embedding) values ($1, 3, $2, '[1,0,0]')", filled[ANN], ANN)
    with pytest.raises(PermanentError, match="foreign key"):
        await fetch("insert into image_embeddings (asset_id, model_id, user_id, embedding) values ($1, 3, $2, '[1,0]')", filled[BOB], BOB)


async def test_one_space_of_a_kind_is_active_at_most(fetch: Fetch) -> None:
    assert await fetch("select 1 from embedding_models") == []  # a fresh database has no space that nobody filled
    await fetch("insert into embedding_models (kind, name, dim, is_active) values ('image', 'one', 2, true)")
    with pytest.raises(PermanentError, match="one_active"):
        await fetch("insert into embedding_models (kind, name, dim, is_active) values ('image', 'two', 2, true)")


async def test_a_substring_of_japanese_and_a_word_without_its_accent_are_found(fetch: Fetch, filled: dict[UUID, UUID]) -> None:
    await fetch("update ocr_texts set full_text = $1 where user_id = $2", "東京都新宿区 Café 100%", ANN)
    found = "select count(*) as n from ocr_texts where user_id = $1 and search_text like $2"
    assert (await fetch(found, ANN, "%新宿%"))[0]["n"] == 1
    assert (await fetch("select count(*) as n from ocr_texts where user_id = $1 and tsv @@ plainto_tsquery('simple', kizu_normalize('CAFE'))", ANN))[
        0
    ]["n"] == 1
    assert (await fetch(found, ANN, r"%100\%%"))[0]["n"] == 1
    assert (await fetch(found, BOB, "%新宿%"))[0]["n"] == 0
