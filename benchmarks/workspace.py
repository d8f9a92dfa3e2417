"""A place that is gone afterwards: a folder for pictures and an embedded server of its own, with a fresh database per suite."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psutil

from kizu_fast.domain import Operation
from kizu_fast.store.embedded import reset
from kizu_fast.store.library import Library, open_library

OPERATIONS = (Operation.EMBEDDING, Operation.OBJECTS)  # what suites measure unless they say otherwise, whatever `all` means


class Workspace:
    """Made by open_workspace."""

    def __init__(self, folder: Path, main: Library, postmaster: psutil.Process | None) -> None:
        self.folder = folder
        self.postmaster = postmaster  # its CPU time is ours; None if the operating system does not show it
        self._main = main

    @property
    def data_dir(self) -> Path:
        """A KIZU_DATA_DIR: a worker's process may share its server."""
        return self.folder / "data"

    @property
    def main(self) -> Library:
        """The database that every process of this data dir uses."""
        return self._main

    @asynccontextmanager
    async def library(self, name: str) -> AsyncIterator[Library]:
        """A new database of that name on the same server, migrated and empty."""
        await self._main.database.pool.execute(sql("create_database").replace("benchmark_name", name))
        parts = urlsplit(self._main.database.address.dsn)
        dsn = urlunsplit(parts._replace(netloc="postgres@", path=f"/{name}"))
        async with open_library(dsn, self.data_dir, "", "direct") as library:
            yield library


@asynccontextmanager
async def open_workspace(pg_user: str) -> AsyncIterator[Workspace]:
    """Raises ConfigError when no embedded server can be had. Everything is stopped and deleted at the end, interrupted or not."""
    folder = await asyncio.to_thread(_make)
    try:
        async with open_library(None, folder / "data", pg_user, "auto") as library:
            yield Workspace(folder, library, await _postmaster(library))
    finally:
        await asyncio.to_thread(_remove, folder)


@cache
def sql(name: str) -> str:
    """The text of benchmarks/sql/<name>.sql."""
    return files(__package__).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


async def _postmaster(library: Library) -> psutil.Process | None:
    with suppress(psutil.Error):
        return psutil.Process(int(await library.database.pool.fetchval(sql("backend_pid")))).parent()
    return None


def _make() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="kizu-bench-"))
    folder.chmod(0o755)  # as root the server runs as another account, which has to enter
    return folder


def _remove(folder: Path) -> None:
    reset(folder / "data")
    shutil.rmtree(folder, ignore_errors=True)
