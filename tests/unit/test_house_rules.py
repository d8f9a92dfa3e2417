"""The rules of docs/style that no linter checks: lengths, names, broad excepts, who may print, who reads the environment."""

import ast
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for folder in ("kizu_fast", "export", "benchmarks", "setup") for path in (ROOT / folder).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FUNCTION_LINES, FILE_LINES = 60, 400
VAGUE = {"utils", "util", "helpers", "common", "misc", "base", "manager"}
BROAD = {"kizu_fast/worker/loop.py", "kizu_fast/worker/exits.py"}  # a photo's attempt, and the outermost edge of a process


def nodes() -> Iterator[tuple[str, ast.AST]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            yield str(path.relative_to(ROOT)), node


def functions() -> list[tuple[int, str]]:
    found = []
    for path, node in nodes():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = len((ast.get_docstring(node, clean=False) or "").splitlines())
            found.append(((node.end_lineno or node.lineno) - node.lineno + 1 - docstring, f"{path}:{node.name}"))
    return sorted(found)


def test_no_function_is_longer_than_a_screen() -> None:
    assert [f for f in functions() if f[0] > FUNCTION_LINES] == []


def test_nine_of_ten_functions_are_short() -> None:
    lengths = [length for length, _ in functions()]
    assert statistics.quantiles(lengths, n=10)[-1] <= 25


def test_no_file_is_longer_than_four_hundred_lines() -> None:
    assert [(path.name, n) for path in SOURCES if (n := len(path.read_text().splitlines())) > FILE_LINES] == []


def test_no_module_has_a_vague_name() -> None:
    assert [str(path) for path in SOURCES if path.stem in VAGUE or path.parent.name in VAGUE] == []


def test_broad_excepts_stand_only_where_they_are_named_here() -> None:
    broad = sorted(
        path
        for path, node in nodes()
        if isinstance(node, ast.ExceptHandler) and ast.unparse(node.type or ast.Name("bare")) in ("bare", "Exception", "BaseException")
    )
    assert broad == sorted(BROAD)


def test_only_the_settings_read_configuration_from_the_environment() -> None:
    readers = {
        path
        for path, node in nodes()
        if path.startswith(("kizu_fast", "export")) and isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
    }
    assert readers <= {"kizu_fast/settings.py", "kizu_fast/worker/exits.py", "export/quiet.py"}  # the last only sets what keeps libraries quiet


def test_no_unfinished_mark_is_left() -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "XX" + "X", "raise NotImplemented" + "Error")
    assert [(str(path), mark) for path in [*SOURCES, *TESTS] for mark in marks if mark in path.read_text()] == []


def test_tests_neither_mock_nor_sleep() -> None:
    forbidden = ("Mock" + "(", "monkeypatch.set" + "attr", "time.sle" + "ep(")
    assert [(str(path), word) for path in TESTS for word in forbidden if word in path.read_text()] == []


def test_there_is_at_least_as_much_test_as_source() -> None:
    source = sum(len(path.read_text().splitlines()) for path in SOURCES if not str(path.relative_to(ROOT)).startswith(("benchmarks", "setup")))
    assert sum(len(path.read_text().splitlines()) for path in TESTS) >= source


def test_every_decision_has_its_parts() -> None:
    for page in sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md")):
        text = page.read_text().lower()
        assert text.startswith("# "), page.name
        missing = [part for part in ("question", "decision", "cost", "what would change") if part not in text]
        assert not missing, f"{page.name} lacks {missing}"


OURS = "export/tiny_shapes/weights/open_clip/Tiny-Shapes_own.safetensors"  # trained on pictures that the project draws itself


def test_no_picture_and_no_weight_but_our_own_is_committed() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no git checkout: nothing says what is committed")
    endings = (".jpg", ".jpeg", ".png", ".heic", ".onnx", ".pt", ".pth", ".safetensors", ".xz")
    assert [name for name in listed.stdout.splitlines() if name.endswith(endings)] == [OURS]
    assert (ROOT / OURS).stat().st_size < 2_000_000
