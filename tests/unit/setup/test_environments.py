"""setup/environments.py: locks that are complete and clean, environments that are shared and repairable."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]
LOCKS = sorted((ROOT / "setup").glob("*.lock"))
TRAINING = {"torch", "torchvision", "ultralytics", "open_clip_torch", "easyocr", "insightface", "transformers", "optimum"}


@pytest.fixture
def environments(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("environments")


def packages(lock: Path) -> dict[str, str]:
    lines = [line.split(";")[0].strip() for line in lock.read_text().splitlines() if "==" in line]
    return dict(line.split("==") for line in lines)


def test_there_is_a_lock_for_each_environment(environments: ModuleType) -> None:
    assert {lock.stem for lock in LOCKS} == set(environments.FOLDERS)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_every_line_of_a_lock_pins_one_package_and_names_no_address(lock: Path) -> None:
    head, *lines = lock.read_text().splitlines()
    assert head.startswith("# ")
    assert lines
    assert all("==" in line and "://" not in line and "@" not in line for line in lines)


def test_no_training_library_is_in_the_run_time() -> None:
    assert not TRAINING & set(packages(ROOT / "setup" / "run.lock"))


def test_development_repeats_nothing_of_the_run_time() -> None:
    assert not set(packages(ROOT / "setup" / "run.lock")) & set(packages(ROOT / "setup" / "dev.lock"))


@pytest.mark.parametrize("name", ["numpy", "onnxruntime", "opencv-python-headless", "pillow", "pillow_heif", "simplejpeg", "asyncpg", "pgvector"])
def test_what_decides_about_numbers_has_one_version_everywhere(name: str) -> None:
    assert packages(ROOT / "setup" / "run.lock")[name] == packages(ROOT / "setup" / "export.lock")[name]


def test_both_builds_of_onnxruntime_are_never_together() -> None:
    assert all("onnxruntime-gpu" not in packages(lock) for lock in LOCKS)


def test_packages_of_one_platform_are_marked(environments: ModuleType) -> None:
    assert environments._marked("numpy==1.0") == "numpy==1.0"
    assert "win32" in environments._marked("uvloop==1.0")
    assert "linux" in environments._marked("nvidia-cublas==1.0")


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["lock"], ["lock", "nonsense"]])
def test_wrong_usage_is_exit_2_with_the_way_to_use_it(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, ROOT / "setup" / "environments.py", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "environments.py run" in done.stderr


def test_too_little_disk_is_said_before_anything_is_installed(environments: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIZU_ENVIRONMENTS", str(tmp_path / "envs"))
    monkeypatch.setitem(environments.FREE_GB, "run", 1e9)
    with pytest.raises(OSError, match=r"GB are needed under .* KIZU_ENVIRONMENTS"):
        environments.shared("run")
    assert not list((tmp_path / "envs").glob("run-*/bin"))


def test_a_complete_environment_is_used_as_it_is(environments: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIZU_ENVIRONMENTS", str(tmp_path))
    digest = environments._digest(ROOT / "setup" / "run.lock")[:16]
    base = tmp_path / f"run-py{sys.version_info.major}.{sys.version_info.minor}-{digest}"
    base.mkdir()
    (base / environments.STAMP).write_text("x")
    assert environments.shared("run") == base
