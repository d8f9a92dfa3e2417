"""The command line as a user types it, in this process (quick) or in one of its own (faults), over pictures rendered here."""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kizu_fast.cli.main import app
from kizu_fast.worker.exits import exit_code

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Line:
    """Runs kizu-fast in an environment of its own."""

    env: dict[str, str]
    library: Path
    cwd: Path

    def run(self, *arguments: object, check: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
        """One command in this process: the same code from arguments to exit code, without a second of start-up."""
        words, out, err = list(map(str, arguments)), io.StringIO(), io.StringIO()
        with _surroundings({**self.env, **more}, self.cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = exit_code(lambda: app(args=words, prog_name="kizu-fast"))
        done = subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())
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
        """A command in a process of its own."""
        command = [sys.executable, "-m", "kizu_fast.cli", *map(str, arguments)]
        return subprocess.Popen(command, env={**self.env, **more}, cwd=self.cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextlib.contextmanager
def _surroundings(env: Mapping[str, str], cwd: Path) -> Iterator[None]:
    before, folder = dict(os.environ), Path.cwd()
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    try:
        yield
    finally:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(before)


def paint(path: Path, seed: int, size: tuple[int, int] = (320, 240), **options: Any) -> Path:
    """A picture unlike any other: smooth noise of its own seed."""
    small = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(path, **options)
    return path
