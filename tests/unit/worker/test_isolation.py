"""A photo whose one operation fails keeps what the others found: a real worker, real files and the fake backend, one model broken."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import paint

from kizu_fast.budget import ByteBudget
from kizu_fast.domain import LIBRARY_OWNER, Operation, Photo, TextLine, Texts
from kizu_fast.engine import EngineConfig, open_engine
from kizu_fast.errors import PermanentError
from kizu_fast.ingest import IngestOrder, ingest
from kizu_fast.registry import ChainPart, ModelType, Registry, Runs
from kizu_fast.store.details import AssetDetails
from kizu_fast.store.memory import MemoryQueue, MemoryResults
from kizu_fast.store.memory_library import MemoryAssets, MemorySearch
from kizu_fast.store.memory_state import MemoryDatabase
from kizu_fast.worker.loop import Worker, WorkerOptions
from kizu_fast.worker.photo import PhotoProcess
from kizu_fast.worker.report import Tally
from kizu_fast.worker.roots import LibraryRoots

CAP = 1_000_000
OPERATIONS = (Operation.EMBEDDING, Operation.FACES, Operation.OCR)


@dataclass
class Reader:
    """Reads a line in every photo, but breaks on the wider ones."""

    breaks_at: int
    name: str = "test-reader"
    parts: Sequence[ChainPart] = ()

    async def analyse(self, photo: Photo, _runs: Runs) -> Any:
        if photo.width >= self.breaks_at:
            raise PermanentError("the line of text is odd")
        return Texts((TextLine("Gate 7", 0.9, np.array([[0, 0], [9, 0], [9, 9], [0, 9]], np.float32), "english"),))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    paint(tmp_path / "narrow.jpg", 1, (160, 120))
    paint(tmp_path / "wide.jpg", 2, (320, 240))
    return tmp_path


async def worked(folder: Path) -> tuple[MemoryDatabase, dict[str, AssetDetails]]:
    """Both photos after a worker that cannot read the wide one."""
    database, registry, tally = MemoryDatabase(), Registry(), Tally()
    registry.register(ModelType.OCR, "test-reader", lambda: Reader(breaks_at=300))
    assets = MemoryAssets(database)
    await ingest([folder], store=assets, order=IngestOrder(LIBRARY_OWNER, OPERATIONS, [folder], CAP, CAP))
    for job in database.jobs.values():
        job.due = 0  # files this young count as still being copied
    config = EngineConfig(model_repository=Path("nowhere"), backend="fake", lanes=2, operations=OPERATIONS)
    async with open_engine(config, registry=registry) as engine:
        process = PhotoProcess(engine, LibraryRoots([folder], assets), ByteBudget(CAP), CAP, tally)
        options = WorkerOptions(worker_id="test", slots=4, lease_s=60, poll_s=0.05, drain=True)
        worker = Worker((MemoryQueue(database), MemoryResults(database)), process, asyncio.Event(), options, tally, lambda *_: None)
        await worker.run(asyncio.Event())
    shown = {}
    for asset in database.live(LIBRARY_OWNER):
        details = await assets.details(LIBRARY_OWNER, asset.id)
        assert details is not None
        shown[Path(details.path or "").name] = details
    return database, shown


async def test_a_photo_whose_text_cannot_be_read_keeps_its_faces_and_its_embedding(folder: Path) -> None:
    database, shown = await worked(folder)

    wide, narrow = shown["wide.jpg"], shown["narrow.jpg"]
    assert wide.job is not None
    assert wide.job.status == "failed"
    assert wide.job.error is not None
    assert "ocr: " in wide.job.error
    assert "the line of text is odd" in wide.job.error
    assert wide.embedding is not None
    assert wide.texts == ()
    assert narrow.job is not None
    assert narrow.job.status == "completed"
    assert [line.text for line in narrow.texts] == ["Gate 7"]
    outcomes = {asset.primary: {key[0]: row.outcome for key, row in asset.outcomes.items()} for asset in database.live(None)}
    assert outcomes[bytes(folder / "wide.jpg")] == {"embedding": "done", "faces": "done", "ocr": "failed"}
    assert outcomes[bytes(folder / "narrow.jpg")] == {"embedding": "done", "faces": "done", "ocr": "done"}


async def test_what_was_read_is_found_at_once(folder: Path) -> None:
    database, shown = await worked(folder)

    (hit,) = await MemorySearch(database).by_text(LIBRARY_OWNER, "gate 7", 10)

    assert (hit.asset_id, hit.snippet) == (shown["narrow.jpg"].asset_id, "Gate 7")
