"""The suite of backends: what it needs, what it says where nothing can be measured."""

from pathlib import Path

import pytest

from benchmarks import accelerators
from benchmarks.bench import Bench
from benchmarks.command import SUITES
from kizu_fast.backends import fake
from kizu_fast.backends.fake import FakeBackend
from kizu_fast.engine import EngineConfig, open_engine
from kizu_fast.settings import Settings


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Settings(KIZU_MODEL_REPOSITORY=tmp_path, KIZU_DATA_DIR=tmp_path / "data"))


def put(root: Path, *names: str) -> None:
    """Folders that count as exported models."""
    for name in names:
        (root / name / "1").mkdir(parents=True)
        (root / name / "1" / "model.onnx").touch()
        (root / name / "manifest.json").touch()


def test_the_command_knows_the_suite() -> None:
    assert SUITES["accelerators"] is accelerators.run


async def test_without_models_it_says_which_are_missing_and_measures_nothing(bench: Bench) -> None:
    await accelerators.run(bench)

    assert bench.figures == []
    assert [(one.name, "CLIP or YOLOv8m" in one.reason) for one in bench.skipped] == [("all", True)]


def test_the_face_pack_is_asked_for_by_name(bench: Bench, tmp_path: Path) -> None:
    put(tmp_path, "clip-vit-b-32-random-image", "yolov8m-random")
    assert accelerators.lacking(bench) == "model_repository lacks the face pack buffalo_l; run: python -m export --models face"

    put(tmp_path, "face-buffalo-l-detector", "face-buffalo-l-embedder")
    assert accelerators.lacking(bench) is None


def test_both_sides_run_the_same_models_and_operations(bench: Bench) -> None:
    cpu, other = (accelerators.config_of(bench, backend) for backend in ("cpu", "openvino"))

    assert (cpu.backend, other.backend) == ("cpu", "openvino")
    assert cpu.chosen == other.chosen
    assert cpu.operations == other.operations == accelerators.OPERATIONS
    assert cpu.chosen.yolo_size == "m"
    assert cpu.allow_random


async def test_what_runs_is_told_and_bf16_is_not_assumed() -> None:
    async with open_engine(EngineConfig(model_repository=Path("/nowhere"), backend="fake"), backend=FakeBackend()) as engine:
        await engine.load("embedder", fake.IMAGE.name)

        assert accelerators.told(engine) == "fake none"
        assert not accelerators.in_bf16(engine)
