"""docs/adding-a-model.md adds a family to a copy of the project, word for word: exported, opened on the CPU, golden numbers met."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXPORT = ROOT / ".venv-export" / "bin" / "python"
CHAPTER = (ROOT / "docs" / "adding-a-model.md").read_text().split("## A new family, end to end")[1].split("## From outside")[0]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", CHAPTER, flags=re.DOTALL)


@dataclass
class Copy:
    """A copy of the project with the page's family in it."""

    root: Path
    touched: set[str]

    def run(self, python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """In the copy: its own packages come before the project's."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("KIZU_", "CLIP_"))}
        env = {**kept, "PYTHONPATH": str(self.root)}
        done = subprocess.run([str(python), *arguments], cwd=self.root, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    made = Copy(tmp_path_factory.mktemp("copy"), set())
    for package in ("kizu_fast", "export"):
        shutil.copytree(ROOT / package, made.root / package, ignore=shutil.ignore_patterns("__pycache__", "weights"))
    for kind, block in BLOCKS:
        name, text = _applied(kind, block, made.root)
        if name is not None:
            (made.root / name).parent.mkdir(parents=True, exist_ok=True)
            (made.root / name).write_text(text)
            made.touched.add(name)
    return made


def _applied(kind: str, block: str, root: Path) -> tuple[str | None, str]:
    """(file that a block touches, what it holds afterwards); None for the block that uses it all."""
    first, _, rest = block.partition("\n")
    if kind == "json":
        return "tests/golden/palette.json", block
    if kind == "diff":
        name = first.removeprefix("--- ")
        return name, _inserted((root / name).read_text(), rest)
    if first.startswith("# at the end of "):
        name = first.removeprefix("# at the end of ")
        return name, (root / name).read_text() + rest
    name = first.removeprefix("# ")
    return (name, rest) if name.endswith(".py") else (None, block)


def _inserted(text: str, diff: str) -> str:
    """Lines with + go below the lines before them, which must be there once."""
    for anchor, added in re.findall(r"((?:^ .*\n)+)((?:^\+.*\n)+)", diff, flags=re.MULTILINE):
        below, lines = ("".join(line[1:] for line in part.splitlines(keepends=True)) for part in (anchor, added))
        assert text.count(below) == 1, f"{below!r} is there {text.count(below)} times: the page is out of date"
        text = text.replace(below, below + lines)
    return text


@pytest.fixture(scope="module")
def exported_palette(copy: Copy) -> dict[str, object]:
    if not EXPORT.exists():
        pytest.skip("no export environment; run: make setup")
    said = copy.run(EXPORT, "-m", "export", "--models", "palette", "--repository", "model_repository", "--json").stdout
    manifest: dict[str, object] = json.loads(said)["models"][0]
    return manifest


def test_it_touches_one_module_of_each_half_one_spec_one_registration_and_its_goldens(copy: Copy) -> None:
    assert copy.touched == {
        "kizu_fast/models/palette.py",
        "export/sources/palette.py",
        "kizu_fast/specs.py",
        "kizu_fast/catalogue.py",
        "tests/golden/palette.json",
    }
    rows = [line for kind, block in BLOCKS if kind == "diff" and "catalogue.py" in block for line in block.splitlines() if line.startswith("+ ")]
    assert len(rows) == 1


def test_the_export_proves_it_and_writes_what_every_backend_reads(copy: Copy, exported_palette: dict[str, object]) -> None:
    parity = exported_palette["parity"]
    assert isinstance(parity, dict)
    assert parity["cosine_min"] >= 0.9999
    folder = copy.root / "model_repository" / "palette"
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == ["1/model.onnx", "config.pbtxt", "manifest.json"]
    assert 'name: "palette"' in (folder / "config.pbtxt").read_text()


def test_the_engine_runs_it_on_the_cpu_and_meets_the_golden_numbers(copy: Copy, exported_palette: dict[str, object]) -> None:
    uses = [block for kind, block in BLOCKS if kind == "python" and _applied(kind, block, copy.root)[0] is None]
    assert len(uses) == 1
    assert copy.run(Path(sys.executable), "-c", uses[0]).stdout.strip() == "CPUExecutionProvider"


def test_golden_numbers_that_are_not_met_are_found(copy: Copy, exported_palette: dict[str, object]) -> None:
    use = next(block for kind, block in BLOCKS if kind == "python" and _applied(kind, block, copy.root)[0] is None)
    with pytest.raises(AssertionError):
        copy.run(Path(sys.executable), "-c", use.replace("= 255", "= 0"))


def test_the_commands_know_it_without_being_told(copy: Copy, exported_palette: dict[str, object]) -> None:
    listed = copy.run(Path(sys.executable), "-m", "kizu_fast.cli", "models", "list", "--repository", "model_repository", "--json").stdout
    models = {model["name"]: model for model in json.loads(listed)["models"]}
    assert (models["palette"]["space"], models["palette"]["licence"]) == ("palette/1", "this project's")


def test_the_copy_still_passes_the_checks(copy: Copy) -> None:
    shutil.copy(ROOT / "pyproject.toml", copy.root)
    shutil.copytree(ROOT / "benchmarks", copy.root / "benchmarks", ignore=shutil.ignore_patterns("results", "__pycache__"), dirs_exist_ok=True)
    lint = "import sys; sys.argv[1:] = ['--no-cache']; from importlinter.cli import lint_imports_command as run; run()"
    assert "0 broken" in copy.run(Path(sys.executable), "-c", lint).stdout
    assert "All checks passed" in copy.run(ruff(), "check", *sorted(name for name in copy.touched if name.endswith(".py"))).stdout


def ruff() -> Path:
    """Thin environments link packages, not programs."""
    folders = [Path(folder).parents[2] / "bin" / "ruff" for folder in sys.path if folder.endswith("site-packages")]
    return next(program for program in folders if program.exists())
