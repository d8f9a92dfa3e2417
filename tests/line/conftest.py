"""The command line as a user types it: real processes, a data folder of their own, pictures rendered here."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Line:
    """Runs kizu-fast in an environment of its own."""

    env: dict[str, str]
    library: Path
    cwd: Path

    def run(self, *arguments: object, check: bool = True, timeout: float = 120, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kizu_fast.cli", *map(str, arguments)]
        done = subprocess.run(command, env={**self.env, **more}, cwd=self.cwd, capture_output=True, text=True, timeout=timeout, check=False)
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        if check:
            assert done.returncode == 0, done.stderr
        return done

    def json(self, *arguments: object, **more: str) -> Any:
        return json.loads(self.run(*arguments, "--json", **more).stdout)

    def drain(self, *arguments: object, **more: str) -> dict[str, Any]:
        report = self.cwd / "report.json"
        self.run("worker", "--drain", "--report", report, *arguments, **more)
        document: dict[str, Any] = json.loads(report.read_text())
        return document

    def start(self, *arguments: object, **more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "kizu_fast.cli", *map(str, arguments)]
        return subprocess.Popen(command, env={**self.env, **more}, cwd=self.cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def paint(path: Path, seed: int, size: tuple[int, int] = (320, 240), **options: Any) -> Path:
    """A picture unlike any other: smooth noise of its own seed."""
    small = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(path, **options)
    return path


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
    env = {**kept, "KIZU_DATA_DIR": str(tmp_path / "data"), "KIZU_BACKEND": "fake", "LIBRARY_ROOT": str(library), "KIZU_MODEL_REPOSITORY": str(ROOT / "model_repository")}
    opened = Line(env, library, tmp_path)
    yield opened
    subprocess.run([sys.executable, "-m", "kizu_fast.cli", "db", "reset", "--yes"], env=env, cwd=tmp_path, capture_output=True, check=False)
