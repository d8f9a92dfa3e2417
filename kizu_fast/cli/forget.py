"""`kizu-fast forget`: removes photos from the index. Files are never touched."""

import asyncio
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from kizu_fast.cli.lookup import as_given_and_resolved, find_asset
from kizu_fast.cli.output import print_json, remark
from kizu_fast.cli.status import AsJson, User
from kizu_fast.errors import PermanentError
from kizu_fast.settings import load_settings
from kizu_fast.store import Forgotten
from kizu_fast.store.library import Library
from kizu_fast.worker.session import library_of


def forget(
    what: Annotated[str | None, typer.Argument(help="file, folder or asset id", metavar="PATH|ASSET_ID")] = None,
    everything: Annotated[bool, typer.Option("--everything", help="the whole library of the user")] = False,
    user: User = None,
    as_json: AsJson = False,
) -> None:
    """Remove photos with all their rows (embedding, objects, faces, texts, caption, jobs) from the index. The files stay where they are.

    Example: kizu-fast forget ~/Pictures/private
    """
    if (what is None) != everything:
        raise typer.BadParameter("name a file, a folder or an asset id, or give --everything")
    settings = load_settings()

    async def ask() -> Forgotten:
        async with library_of(settings) as library:
            owner = user or settings.user
            return await library.assets.forget_user(owner) if what is None else await _forget(library, owner, what)

    gone = asyncio.run(ask())
    if as_json:
        print_json(asdict(gone))
    else:
        remark(
            f"forgot {gone.assets} photos: {gone.paths} paths, {gone.jobs} jobs, {gone.embeddings} embeddings, {gone.objects} objects, "
            f"{gone.faces} faces, {gone.texts} texts, {gone.captions} captions; no file was touched"
        )


async def _forget(library: Library, user: UUID, what: str) -> Forgotten:
    """A path, whether it still exists or not, with everything below it; else an id, or a file known by its bytes."""
    gone = Forgotten()
    for path in as_given_and_resolved(Path(what)):
        gone += await library.assets.forget_below(user, os.fsencode(path))
    if gone.paths:
        return gone
    if await asyncio.to_thread(Path(what).is_dir):
        raise PermanentError(f"{what}: no photo of the library lies there")
    asset = await find_asset(library.assets, user, what)
    return await library.assets.forget(user, [asset.id])
