"""A library of three pictures for the command line, in a data folder of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import ROOT, Line, paint


@pytest.fixture
def painter() -> Callable[..., Path]:
    return paint


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    """A library of three pictures, the fake backend, an embedded server that goes with the test."""
    library = tmp_path / "photos"
    for seed in range(3):
        paint(library / f"{seed}.jpg", seed)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KIZU_")}
    env = {
        **kept,
        "KIZU_DATA_DIR": str(tmp_path / "data"),
        "KIZU_BACKEND": "fake",
        "LIBRARY_ROOT": str(library),
        "KIZU_MODEL_REPOSITORY": str(ROOT / "model_repository"),
    }
    opened = Line(env, library, tmp_path)
    yield opened
    subprocess.run([sys.executable, "-m", "kizu_fast.cli", "db", "reset", "--yes"], env=env, cwd=tmp_path, capture_output=True, check=False)
