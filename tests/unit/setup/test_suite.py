"""setup/suite.py: every folder of tests is run, once; what a part printed and how it ended is not lost."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def suite(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("suite")


def test_every_folder_of_tests_is_in_one_part(suite: ModuleType) -> None:
    folders = sorted({f"tests/{path.relative_to(ROOT / 'tests').parts[0]}" for path in (ROOT / "tests").rglob("test_*.py")})
    assert sorted(folder for part in suite.PARTS for folder in part.folders) == folders


@pytest.fixture
def run(suite: ModuleType, tmp_path: Path) -> Callable[..., int]:
    """Runs one part that passes and one that fails, in this environment."""
    for name, body in (("good", "assert True"), ("bad", "assert 1 == 2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"test_{name}.py").write_text(f"def test_{name}() -> None:\n    {body}\n")
    parts = [suite.Part(name, sys.prefix, (name,), originals=name == "bad") for name in ("good", "bad")]
    (tmp_path / "setup").mkdir()
    (tmp_path / "setup" / "environments.py").touch()
    return lambda *arguments: asyncio.run(suite.run(list(arguments), parts, tmp_path))


def test_a_part_that_fails_fails_the_whole_and_is_named(run: Callable[..., int], capfd: pytest.CaptureFixture[str]) -> None:
    assert run() == 1
    lines = capfd.readouterr().out.splitlines()
    assert lines[-1] == "== failed: bad"
    assert any(line.startswith("bad       | ") and "assert 1 == 2" in line for line in lines)
    assert any(line.startswith("good      | ") and "1 passed" in line for line in lines)


def test_with_a_selection_a_part_without_tests_is_no_failure(run: Callable[..., int]) -> None:
    assert run("-k", "good") == 0
    assert run("-k", "neither_of_them") == 0


def test_modules_are_compiled_once_whatever_the_shell_says(run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    run("-k", "good")
    assert list(tmp_path.glob("good/__pycache__/*.pyc"))


def test_without_the_original_libraries_their_parts_fail_and_the_others_run(
    run: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "setup" / "environments.py").write_text("import sys; sys.exit('export' in sys.argv and 'no room for export')")
    assert run("-k", "good") == 1
    said = capfd.readouterr()
    assert said.out.splitlines()[-1] == "== failed: bad"
    assert "no room for export" in said.err
    assert "1 passed" in said.out
    assert "bad       | " not in said.out


def test_without_its_own_environments_nothing_runs(run: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "setup" / "environments.py").write_text("import sys; sys.exit('run' in sys.argv)")
    assert run() == 1
    assert capfd.readouterr().out.splitlines() == ["== failed: good, bad"]
