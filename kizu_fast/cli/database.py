"""`kizu-fast db`: the embedded server's life, and migrations of any server."""

import asyncio
from typing import Annotated

import typer

from kizu_fast.cli.output import print_json, remark
from kizu_fast.cli.status import AsJson
from kizu_fast.errors import ConfigError
from kizu_fast.settings import Settings, load_settings
from kizu_fast.store import embedded
from kizu_fast.store.portraits import Portraits
from kizu_fast.worker.session import library_of

app = typer.Typer(no_args_is_help=True, help="The database: where it is, its migrations, stopping and removing the embedded server.")


@app.command()
def url(as_json: AsJson = False) -> None:
    """Print one DSN. Starts the embedded server if need be and keeps it up until `kizu-fast db stop`.

    Example: psql "$(kizu-fast db url)"
    """
    settings = load_settings()
    if settings.database_url is not None:
        dsn = settings.database_url.get_secret_value()
    else:
        asyncio.run(_migrated(settings))
        server = embedded.EmbeddedServer.start(settings.data_dir, settings.pg_user)
        embedded.keep(settings.data_dir)
        dsn = server.dsn
        server.leave()
    if as_json:
        print_json({"url": dsn})
    else:
        typer.echo(dsn)


@app.command()
def migrate(as_json: AsJson = False) -> None:
    """Bring the database's schema up to date. Every command does it by itself; this one only does it.

    Example: DATABASE_URL=postgresql://... kizu-fast db migrate
    """
    server, pgvector = asyncio.run(_migrated(load_settings()))
    if as_json:
        print_json({"server": server, "pgvector": pgvector})
    else:
        remark(f"up to date: PostgreSQL {server}, pgvector {pgvector}")


@app.command()
def stop(as_json: AsJson = False) -> None:
    """Stop the embedded server. A process that still works with it starts it again."""
    settings = _with_embedded()
    stopped = embedded.stop(settings.data_dir)
    if as_json:
        print_json({"stopped": stopped})
    else:
        remark("stopped" if stopped else "no embedded server was running")


@app.command()
def reset(yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False, as_json: AsJson = False) -> None:
    """Delete the embedded database with everything in it, thumbnails of faces included. Photos are never touched."""
    settings = _with_embedded()
    if not yes and not typer.confirm(f"Delete the database under {settings.data_dir.absolute()} with all results?", err=True):
        raise typer.Exit(1)
    removed = embedded.reset(settings.data_dir)
    Portraits(settings.data_dir).clear()
    if as_json:
        print_json({"removed": removed})
    else:
        remark("removed" if removed else "there was no embedded database")


async def _migrated(settings: Settings) -> tuple[str, str]:
    async with library_of(settings) as library:
        return await library.versions()


def _with_embedded() -> Settings:
    settings = load_settings()
    if settings.database_url is not None:
        raise ConfigError("DATABASE_URL is set, and that server is not ours to stop or delete; unset it to speak of the embedded one")
    return settings
