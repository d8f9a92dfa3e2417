"""--target tensorrt without a GPU: one clear line; and what is asked before a server starts on plans."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from export import __main__ as command
from export import plans
from kizu_fast.backends.plans import Machine, plans_of

L4 = Machine("NVIDIA L4", "8.9", "10.13.3", "570.1")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A plan of yolov8m built on an L4."""
    folder = plans_of(tmp_path / "models") / "yolov8m"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.plan").write_bytes(b"plan")
    (folder / "manifest.json").write_text(json.dumps({"name": "yolov8m", "graph": "yolov8m-fp16", "precision": "fp16", "machine": asdict(L4)}))
    return tmp_path / "models"


def run_here(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"})


def test_without_a_gpu_it_is_one_line_and_exit_1(tmp_path: Path) -> None:
    done = run_here("export", "--target", "tensorrt", "--precision", "fp16", "--repository", str(tmp_path))

    assert done.returncode == 1
    assert done.stderr.startswith("export: no NVIDIA GPU here")
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())  # nothing was begun


def test_with_a_gpu_but_without_tensorrt_the_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA L4, 8.9, 570.1'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setitem(sys.modules, "tensorrt", None)

    assert command.main(["--target", "tensorrt", "--repository", str(tmp_path / "r")]) == 1
    assert "pip install 'kizu-fast[tensorrt]'" in capsys.readouterr().err


def test_a_plan_of_this_machine_may_serve(repository: Path) -> None:
    assert list(plans.refusals(repository, L4)) == []


def test_plans_of_another_machine_and_broken_ones_are_all_named(repository: Path) -> None:
    broken = plans_of(repository) / "clip" / "manifest.json"
    broken.parent.mkdir()
    broken.write_text("{}")

    told = list(plans.refusals(repository, Machine("NVIDIA A10", "8.6", "10.13.3", "570.1")))

    assert len(told) == 2
    assert "clip/manifest.json is not whole" in told[0]
    assert "GPU NVIDIA L4, here is NVIDIA A10" in told[1]
    assert "python -m export --target tensorrt --precision fp16 --models yolov8m" in told[1]


def test_the_check_before_a_server_starts_fails_without_a_gpu(repository: Path) -> None:
    done = run_here("export.plans", "--check", "--repository", str(repository))

    assert done.returncode == 1
    assert done.stderr.startswith("plans: no NVIDIA GPU here")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [(["--target", "openvino"], "--backend openvino reads the ONNX files"), (["--precision", "int8"], "int8 is not offered")],
)
def test_what_makes_no_sense_is_said_before_anything_is_exported(
    arguments: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([*arguments, "--repository", str(tmp_path / "r")]) == 1

    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
