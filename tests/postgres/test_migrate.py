"""Migrations on a real server: twice, three at once, over tables that exist already, drift, failures that leave nothing."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
from running_server import Server

from kizu_fast.errors import ConfigError
from kizu_fast.store.migrate import FOLDER, migrate, read_migrations

SHAPE = """
    select array_agg(format('%s.%s %s', table_name, column_name, data_type) order by table_name, ordinal_position)
      from information_schema.columns where table_schema = 'public'
"""
NAMES = [path.stem for path in sorted(FOLDER.glob("[0-9]*.sql"))]


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """A folder of migrations made of the given files."""

    def make(**files: str) -> Path:
        for name, sql in files.items():
            (tmp_path / f"{name.removeprefix('m')}.sql").write_text(sql)
        return tmp_path

    return make


async def value(dsn: str, sql: str, *arguments: object) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql, *arguments)
    finally:
        await connection.close()


async def test_the_first_run_applies_everything_and_the_second_nothing(empty_database: str) -> None:
    assert await migrate(empty_database) == NAMES
    assert await migrate(empty_database) == []
    assert await value(empty_database, "select array_agg(name order by version) from kizu_migrations") == NAMES


async def test_each_file_may_run_again_by_hand_and_changes_nothing(empty_database: str) -> None:
    await migrate(empty_database)
    before = await value(empty_database, SHAPE)
    connection = await asyncpg.connect(empty_database)
    for file in read_migrations(FOLDER):
        async with connection.transaction():
            await connection.execute(file.sql)
    await connection.close()
    assert await value(empty_database, SHAPE) == before


async def test_three_at_once_apply_everything_exactly_once(empty_database: str) -> None:
    applied = await asyncio.gather(*(migrate(empty_database) for _ in range(3)))
    assert sorted(name for names in applied for name in names) == NAMES
    assert await value(empty_database, "select count(*) from kizu_migrations") == len(NAMES)


async def test_an_assets_table_that_is_there_already_keeps_its_rows_and_queues_none(empty_database: str) -> None:
    connection = await asyncpg.connect(empty_database)
    await connection.execute("""
        create schema auth;
        create table auth.users (id uuid primary key default gen_random_uuid(), email text);
        create function auth.uid() returns uuid language sql stable as 'select null::uuid';
        create table public.assets (id uuid primary key default gen_random_uuid(), user_id uuid not null references auth.users(id), note text);
        insert into auth.users (email) values ('a@example.org');
        insert into public.assets (user_id, note) select id, 'mine' from auth.users;
    """)
    await connection.close()
    await migrate(empty_database)
    assert await value(empty_database, "select note from public.assets where deleted_at is null") == "mine"
    assert await value(empty_database, "select count(*) from public.processing_queue") == 0
    assert await value(empty_database, "select obj_description('auth'::regnamespace)") is None
    assert await value(empty_database, "select auth.uid()") is None


async def test_pgvector_in_the_schema_public_is_left_there(empty_database: str) -> None:
    await value(empty_database, "create extension vector schema public")
    await migrate(empty_database)
    assert await value(empty_database, "select extnamespace::regnamespace::text from pg_extension where extname = 'vector'") == "public"


async def test_a_changed_file_is_refused_and_named(empty_database: str, tmp_path: Path) -> None:
    copy = shutil.copytree(FOLDER, tmp_path / "migrations")
    await migrate(empty_database, copy)
    first = copy / f"{NAMES[0]}.sql"
    first.write_text(first.read_text() + "-- one more word\n")
    with pytest.raises(ConfigError, match=NAMES[0]) as caught:
        await migrate(empty_database, copy)
    assert "git checkout migrations" in str(caught.value)


async def test_a_database_of_a_newer_program_is_refused(empty_database: str) -> None:
    await migrate(empty_database)
    await value(empty_database, "insert into kizu_migrations values (999, '999_from_the_future', '')")
    with pytest.raises(ConfigError, match=r"999_from_the_future.*newer"):
        await migrate(empty_database)


async def test_a_failing_file_leaves_nothing_and_the_mended_one_applies(empty_database: str, folder: Callable[..., Path]) -> None:
    broken = folder(m001_good="create table good (id int);", m002_bad="create table half (id int);\nselect 1/0;")
    with pytest.raises(ConfigError, match="002_bad: division by zero"):
        await migrate(empty_database, broken)
    assert await value(empty_database, "select to_regclass('good') is not null and to_regclass('half') is null")
    assert await value(empty_database, "select count(*) from kizu_migrations") == 1
    (broken / "002_bad.sql").write_text("create table half (id int);")
    assert await migrate(empty_database, broken) == ["002_bad"]


async def test_begin_and_commit_of_a_file_are_for_psql_only(empty_database: str, folder: Callable[..., Path]) -> None:
    broken = folder(m001_own="begin;\ncreate table half (id int);\ncommit;\nselect 1/0;")
    with pytest.raises(ConfigError, match="division by zero"):
        await migrate(empty_database, broken)
    assert await value(empty_database, "select to_regclass('half')") is None


async def test_a_role_that_may_not_is_a_matter_of_configuration(empty_database: str, server: Server) -> None:
    await server.run("do $$ begin if to_regrole('weak') is null then create role weak login; end if; end $$")
    with pytest.raises(ConfigError, match="permission denied") as caught:
        await migrate(empty_database.replace("postgres@", "weak@"))
    assert "\n" not in str(caught.value)


async def test_an_extension_that_is_too_old_is_named_with_the_mend(empty_database: str) -> None:
    await value(empty_database, "create extension vector")
    await value(empty_database, "update pg_extension set extversion = '0.7.4' where extname = 'vector'")
    with pytest.raises(ConfigError, match=r"0\.8\.0 or newer is needed, the server has 0\.7\.4.*ALTER EXTENSION vector UPDATE"):
        await migrate(empty_database)


async def test_nothing_to_do_costs_one_query(empty_database: str) -> None:
    await migrate(empty_database)
    connection = await asyncpg.connect(empty_database, statement_cache_size=0)
    asked: list[str] = []
    connection.add_query_logger(lambda record: asked.append(record.query))
    assert await migrate(connection) == []
    await connection.close()
    assert sum("kizu_migrations" in query for query in asked) == 1
    assert len([query for query in asked if not query.startswith(("BEGIN", "COMMIT"))]) == 1


def test_a_folder_without_migrations_is_a_matter_of_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no migrations"):
        read_migrations(tmp_path)


def test_files_are_taken_in_the_order_of_their_numbers(folder: Callable[..., Path]) -> None:
    files = read_migrations(folder(m010_late="select 1", m002_early="select 1", mreadme="select 1"))
    assert [(file.version, file.name) for file in files] == [(2, "002_early"), (10, "010_late")]


async def test_the_operators_postgresql_without_pgvector_is_told_how_to_get_it(plain_server: str) -> None:
    with pytest.raises(ConfigError, match=r"pgvector is not installed on the server.*apt install"):
        await migrate(plain_server)
