"""TensorRT plans: what they are tied to, and when they must not serve. No GPU is needed to know that."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from kizu_fast.backends import plans
from kizu_fast.backends.plans import Machine, describe_gpu, differences, plans_of, read, refusal
from kizu_fast.errors import ConfigError

L4 = Machine("NVIDIA L4", "8.9", "10.13.3", "570.1")


def plan(root: Path, name: str = "yolov8m", **more: Any) -> Path:
    folder = root / name
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.plan").write_bytes(b"plan")
    written = {"name": name, "machine": asdict(L4), "onnx_sha256": "a1", "precision": "fp16", **more}
    (folder / "manifest.json").write_text(json.dumps(written))
    return folder


def test_a_plan_serves_on_the_machine_that_built_it(tmp_path: Path) -> None:
    assert refusal(plan(tmp_path), L4, "a1") is None


def test_a_newer_driver_runs_older_plans() -> None:
    assert differences(L4, replace(L4, driver="580.9")) == []


@pytest.mark.parametrize(
    ("here", "complaint"),
    [
        (replace(L4, gpu="NVIDIA A10"), "GPU NVIDIA L4, here is NVIDIA A10"),
        (replace(L4, compute_capability="8.6"), "compute capability 8.9, here is 8.6"),
        (replace(L4, tensorrt="11.0.0"), "TensorRT 10.13.3, here is 11.0.0"),
    ],
)
def test_another_machine_is_told_with_the_command_that_rebuilds(tmp_path: Path, here: Machine, complaint: str) -> None:
    told = refusal(plan(tmp_path), here, "a1")

    assert told is not None
    assert complaint in told
    assert told.endswith("rebuild it: python -m export --target tensorrt --precision fp16 --models yolov8m")


def test_a_model_that_was_exported_again_makes_its_plan_stale(tmp_path: Path) -> None:
    assert "exported again" in (refusal(plan(tmp_path), L4, "b2") or "")
    assert refusal(tmp_path / "yolov8m", L4, None) is None  # the graph is gone: nothing to compare with


def test_a_plan_without_its_file_does_not_serve(tmp_path: Path) -> None:
    folder = plan(tmp_path, precision="fp32")
    (folder / "1" / "model.plan").unlink()

    assert "1/model.plan is missing; rebuild it: python -m export --target tensorrt --precision fp32" in (refusal(folder, L4, "a1") or "")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"machine": {"gpu": "L4"}}'], ids=["empty", "list", "no machine", "half a machine"])
def test_a_broken_manifest_is_told_with_its_path(tmp_path: Path, text: str) -> None:
    folder = plan(tmp_path)
    (folder / "manifest.json").write_text(text)

    with pytest.raises(ConfigError, match=r"yolov8m/manifest\.json is not whole: .*build the plan anew"):
        read(folder)


def test_a_missing_manifest_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read(tmp_path)


def test_what_nvidia_smi_says_becomes_a_machine() -> None:
    assert describe_gpu("NVIDIA H100 80GB HBM3, 9.0, 570.124.06") == ("NVIDIA H100 80GB HBM3", "9.0", "570.124.06")
    with pytest.raises(ConfigError, match="update NVIDIA's driver"):
        describe_gpu("[N/A]")


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("exit 9", "no NVIDIA GPU here: nvidia-smi says"),
        ("echo 'NVIDIA-SMI has failed' >&2; exit 9", "NVIDIA-SMI has failed"),
        ("echo", "no NVIDIA GPU here"),
    ],
)
def test_a_driver_without_a_gpu_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, complaint: str) -> None:
    tool(tmp_path, script)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    with pytest.raises(ConfigError, match=complaint):
        plans.gpu()


def test_the_first_gpu_is_the_machine_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tmp_path, "echo 'NVIDIA L4, 8.9, 570.1'")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    assert plans.gpu() == ("NVIDIA L4", "8.9", "570.1")


def test_without_a_driver_it_says_where_plans_are_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ConfigError, match="nvidia-smi is not installed; build and run plans on the machine that has the GPU"):
        plans.gpu()


def test_plans_have_a_repository_of_their_own_and_the_models_names(tmp_path: Path) -> None:
    assert plans_of(tmp_path / "model_repository") == tmp_path / "model_repository-plans"


def tool(folder: Path, script: str) -> None:
    """A stand-in for nvidia-smi."""
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
