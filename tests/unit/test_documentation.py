"""README and docs say what is true: their examples run, their commands and files exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "adding-a-model.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.split("## From outside")[1], flags=re.DOTALL)  # the rest: tests/onnx/test_sixth_family.py
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("block", BLOCKS, ids=["a model of one's own", "the original's calls"])
def test_the_worked_example_runs(block: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_file_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"`((?:kizu_fast|docs|setup|benchmarks)/[\w./-]+)`", README)) | set(re.findall(r"\]\(([^)#:]+)\)", README))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_a_photos_way_is_read_in_ten_files_or_fewer() -> None:
    way = README.split("a photo's way", maxsplit=1)[1].split("Adding a model", maxsplit=1)[0]
    files = re.findall(r"`(kizu_fast/[\w/]+\.py)`", way)
    assert 5 <= len(files) <= 10
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_every_make_target_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)", README)) | set(re.findall(r"^make ([a-z]+)", README, flags=re.MULTILINE))
    assert named <= targets, named - targets


def test_make_help_lists_every_target() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("setup", "run", "export", "test", "check", "bench", "help"):
        assert f"make {target}" in listed


def test_decisions_are_numbered_without_gaps_or_doubles() -> None:
    numbers = sorted(int(page.name[:3]) for page in (ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert numbers == list(range(1, len(numbers) + 1))
