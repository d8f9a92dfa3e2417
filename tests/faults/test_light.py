"""The environment that runs photos holds no training library, and needs none."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from faults.rig import Rig, show, until
from processes import ROOT

HEAVY = ("torch", "open_clip", "ultralytics", "easyocr", "insightface", "transformers")
PYTHON = ROOT / ".venv" / "bin" / "python"
MODELS = ("clip-vit-b-32-*-image", "clip-vit-b-32-*-text", "yolov8n*")


@pytest.fixture
def light(rig: Rig) -> Rig:
    """The rig over the run-time environment, with exported models where there are any."""
    if not PYTHON.exists():
        pytest.skip("no run-time environment; run: make setup")
    exported = all(any((ROOT / "model_repository").glob(f"{name}/1/model.onnx")) for name in MODELS)
    rig.python = str(PYTHON)
    rig.line.env |= {"KIZU_BACKEND": "cpu" if exported else "fake", "YOLO_SIZE": "n", "KIZU_OPERATIONS": "embedding,objects"}
    return rig


def run(rig: Rig, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(PYTHON), *map(str, arguments)]
    env = {**rig.line.env, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=env, cwd=rig.line.cwd, capture_output=True, text=True, check=False)


def test_no_training_library_can_be_imported(light: Rig) -> None:
    for name in HEAVY:
        done = run(light, "-c", f"import {name}")
        assert done.returncode == 1, f"{name} can be imported"
        assert "ModuleNotFoundError" in done.stderr


def test_photos_become_rows_and_a_search_answers_without_training_libraries(light: Rig, library: Path) -> None:
    backend = light.line.env["KIZU_BACKEND"]
    folder = library / "few"
    picked = sorted(folder.iterdir())[:12]
    assert light.line.json("ingest", *picked)["queued"] == 12
    started = time.monotonic()
    worker = light.worker("--drain")
    until(lambda: light.done() > 0, "the first photo is done")
    show(f"--backend {backend}: {time.monotonic() - started:.1f} s from start to first photo, {os.cpu_count()} cores")
    assert worker.report()["completed"] == 12
    light.sound(12)
    found = run(light, "-m", "kizu_fast.cli", "search", "a dog on a beach", "--limit", "5", "--json")
    assert found.returncode == 0, found.stderr
    assert len(json.loads(found.stdout)["results"]) == 5
