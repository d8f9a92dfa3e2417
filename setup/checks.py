"""`make check`: every static check, each named, all run even when one fails. `--format` lets ruff rewrite the layout instead."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = ("docker-compose.triton.yml", "deploy/compose.decode.yml", "deploy/compose.plans.yml")
MANIFESTS = ("export.yaml", "triton.yaml", "worker.yaml")  # scaling.yaml is KEDA's, of which no schema is at hand: tests read it
SOURCES = ["kizu_fast", "export", "benchmarks", "setup", "tests"]


def tool(name: str) -> Path:
    """The program of a package in the development environment: thin environments link packages, not programs."""
    for folder in sys.path:
        program = Path(folder).parents[2] / "bin" / name if folder.endswith("site-packages") else None
        if program is not None and program.exists():
            return program
    sys.stderr.write(f"check: {name} is not installed; run: make setup\n")
    raise SystemExit(1)


def main() -> int:
    """Exit 0 when all checks are clean."""
    python, ruff = sys.executable, tool("ruff")
    if "--format" in sys.argv[1:]:
        return (
            subprocess.run([ruff, "format", *SOURCES], cwd=ROOT, check=False).returncode
            or subprocess.run([ruff, "check", "--fix", *SOURCES], cwd=ROOT, check=False).returncode
        )
    checks: dict[str, list[str | Path]] = {
        "ruff": [ruff, "check", *SOURCES],
        "ruff format": [ruff, "format", "--check", *SOURCES],
        "mypy": [python, "-m", "mypy"],
        "import contracts": [python, "-c", "from importlinter.cli import lint_imports_command as run; run()"],
        "Triton configurations": [python, "-m", "export.configs", "--check"],
        "Dockerfiles": [tool("hadolint"), *sorted((ROOT / "deploy" / "docker").glob("*.Dockerfile"))],
        "compose files": [
            python,
            "-m",
            "check_jsonschema",
            "--builtin-schema",
            "vendor.compose-spec",
            *(ROOT / name for name in COMPOSE),
        ],
        "Kubernetes manifests": [
            python,
            "-m",
            "kubernetes_validate",
            "--strict",
            "--quiet",
            *(ROOT / "deploy" / "kubernetes" / name for name in MANIFESTS),
        ],
    }
    failed = []
    for name, command in checks.items():
        sys.stderr.write(f"check: {name}\n")
        sys.stderr.flush()
        if subprocess.run(list(map(str, command)), cwd=ROOT, check=False).returncode:
            failed.append(name)
    sys.stderr.write(f"check: {'failed: ' + ', '.join(failed) if failed else 'all clean'}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
