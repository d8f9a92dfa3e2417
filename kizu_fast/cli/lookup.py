"""PATH or asset id on the command line to an asset: by id, by path, then by the file's bytes."""

import asyncio
import hashlib
import os
from pathlib import Path
from uuid import UUID

from kizu_fast.domain import Asset
from kizu_fast.errors import PermanentError
from kizu_fast.store import AssetStore


async def find_asset(assets: AssetStore, user: UUID, text: str) -> Asset:
    """The live asset that text names. Raises PermanentError in one line when there is none."""
    asset = await _by_id(assets, user, text) or await _by_path(assets, user, Path(text))
    if asset is None:
        raise PermanentError(f"{text}: no such photo in the library; kizu-fast ingest brings it in")
    return asset


async def _by_id(assets: AssetStore, user: UUID, text: str) -> Asset | None:
    try:
        return await assets.by_id(user, UUID(text))
    except ValueError:
        return None


async def _by_path(assets: AssetStore, user: UUID, path: Path) -> Asset | None:
    for candidate in as_given_and_resolved(path):
        asset = await assets.by_path(user, os.fsencode(candidate))
        if asset is not None:
            return asset
    digest = await asyncio.to_thread(_digest, path)
    return None if digest is None else await assets.by_sha256(user, digest)


def as_given_and_resolved(path: Path) -> tuple[Path, ...]:
    """The absolute path with links left alone, and with links followed."""
    return tuple(dict.fromkeys((Path(os.path.abspath(path)), path.resolve())))  # noqa: PTH100  # Path.absolute() keeps '..'


def _digest(path: Path) -> bytes | None:
    """SHA-256 of a file's bytes; None if it is no file that can be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError:
        return None
