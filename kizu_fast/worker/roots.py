"""Which folders a worker may read: LIBRARY_ROOT, or the folders that ingest was given and remembered."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from kizu_fast.domain import Asset
from kizu_fast.sources import FileBytes, LibrarySource
from kizu_fast.store import AssetStore


class LibraryRoots:
    """Reads files of the library.

    Remembered roots are asked for again when a photo lies outside those known: ingest may add one at any time.
    """

    def __init__(self, configured: Sequence[Path], assets: AssetStore) -> None:
        self._assets = assets
        self._fixed = bool(configured)
        self._source = LibrarySource(list(configured))

    async def read(self, asset: Asset, max_bytes: int) -> FileBytes:
        """The file's bytes. Raises PermanentError, SourceUnavailable, FileUnsettled, ImageTooLarge, DatabaseUnavailable."""
        if not self._fixed and not self._source.inside(asset.path):
            self._source = LibrarySource([Path(os.fsdecode(root)) for root in await self._assets.roots()])
        return await asyncio.to_thread(self._source.read, asset, max_bytes)
