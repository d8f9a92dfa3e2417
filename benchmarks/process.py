"""A worker as a process of its own on the benchmarks' database."""

import asyncio
import os
import sys
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.workspace import Workspace


async def start_worker(bench: Bench, workspace: Workspace, folder: Path, report: Path, **chosen: str) -> asyncio.subprocess.Process:
    """`kizu_fast.worker --drain` on the photos of folder. chosen: variables that differ from the surroundings."""
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    own = {
        "KIZU_DATA_DIR": str(workspace.data_dir),
        "LIBRARY_ROOT": str(folder),
        "KIZU_MODEL_REPOSITORY": str(bench.settings.model_repository.absolute()),
        "KIZU_ALLOW_RANDOM": "true",
    }
    command = [sys.executable, "-m", "kizu_fast.worker", "--drain", "--report", str(report)]
    return await asyncio.create_subprocess_exec(
        *command, env={**kept, **own, **chosen}, cwd=workspace.folder, stdout=asyncio.subprocess.DEVNULL
    )  # no .env there
