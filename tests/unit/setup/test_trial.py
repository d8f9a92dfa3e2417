"""setup/trial.py: what `make run` decides by itself, and how it ends when interrupted."""

import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("trial", ROOT / "setup" / "trial.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delenv("YOLO_SIZE", raising=False)
    yield module
    os.environ.pop("YOLO_SIZE", None)


@pytest.mark.parametrize(("held", "chosen"), [("n", "n"), ("nm", "m"), ("nsx", "x"), ("ns", "s"), ("", None)])
def test_the_size_is_taken_from_the_weights_folder(trial: ModuleType, tmp_path: Path, held: str, chosen: str | None) -> None:
    for size in held:
        (tmp_path / f"yolov8{size}.pt").touch()
    trial._choose_yolo(tmp_path)
    assert os.environ.get("YOLO_SIZE") == chosen


def test_a_size_given_from_outside_is_respected(trial: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOLO_SIZE", "l")
    (tmp_path / "yolov8n.pt").touch()
    trial._choose_yolo(tmp_path)
    assert os.environ["YOLO_SIZE"] == "l"


def test_a_size_that_was_exported_before_serves_when_nothing_can_be_downloaded(
    trial: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIZU_MODEL_REPOSITORY", str(tmp_path))
    assert trial._exported_yolo() is False
    (tmp_path / "yolov8n" / "1").mkdir(parents=True)
    (tmp_path / "yolov8n" / "1" / "model.onnx").touch()
    assert trial._exported_yolo() is True
    assert os.environ["YOLO_SIZE"] == "n"


def test_a_failing_step_ends_the_run_with_its_code(trial: ModuleType) -> None:
    with pytest.raises(trial.StepFailed) as failure:
        trial._step([sys.executable, "-c", "raise SystemExit(3)"])
    assert failure.value.code == 3
    assert trial._step([sys.executable, "-c", "raise SystemExit(3)"], check=False) == 3


def test_a_folder_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "setup" / "trial.py", "--photos", tmp_path / "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"run: PHOTOS={tmp_path / 'nowhere'} is no folder"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_reaches_the_step_once_waits_for_its_end_and_leaves_nothing(number: int, tmp_path: Path) -> None:
    script = tmp_path / "drive.py"
    step = f"""
import signal, sys
signal.signal({int(number)}, lambda *_: (print("asked to stop", flush=True), sys.exit(0)))
print("at work", flush=True)
signal.pause()
"""
    script.write_text(
        textwrap.dedent(f"""
        import importlib.util, signal, sys
        spec = importlib.util.spec_from_file_location("trial", {str(ROOT / "setup" / "trial.py")!r})
        trial = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(trial)
        signal.signal({int(number)}, trial._stop)
        try:
            trial._step([sys.executable, "-c", {step!r}])
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        """)
    )
    driver = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    assert driver.stdout.readline() == "at work\n"
    driver.send_signal(number)
    rest, _ = driver.communicate(timeout=30)
    assert rest.splitlines() == ["asked to stop", "interrupted"]
