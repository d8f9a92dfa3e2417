"""The commands of docker-compose.triton.yml, run here as they are written there: no engine is needed for that.

Three words are exchanged: the backend (tests/triton has a real server for `triton`), the port, and the paths of the container.
"""

import os
import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from faults.rig import Rig, free_port, until
from processes import ROOT

PLANS: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "deploy/compose.plans.yml").read_text())["services"]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.triton.yml").read_text())["services"]
EXPORT = ROOT / ".venv-export" / "bin" / "python"


def written(command: list[str], **exchanged: str) -> list[str]:
    """A command with variables at their defaults and some words exchanged."""
    words = [re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", word) for word in command]
    return [exchanged.get(word.strip("/"), word) for word in words]


def health_check(rig: Rig, command: list[str]) -> subprocess.CompletedProcess[str]:
    """`kizu-fast ...` as a process of its own, beside the rig's server."""
    words = [rig.python, "-m", "kizu_fast.cli", *command[1:]]
    env = {**os.environ, **rig.line.env, "PYTHONPATH": str(ROOT)}
    return subprocess.run(words, env=env, cwd=rig.line.cwd, capture_output=True, text=True, check=False)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
            return b"kizu_up" in reply.read()
    except urllib.error.URLError:
        return False


def test_the_worker_s_command_works_shows_metrics_and_ends_in_good_order(rig: Rig, library: Path) -> None:
    rig.line.json("ingest", *sorted((library / "few").iterdir())[:4])
    port = free_port()
    command = written(SERVICES["worker"]["command"], triton="fake", **{"9464": str(port)})
    assert command[:3] == ["python", "-m", "kizu_fast.worker"]

    worker = rig.worker(*command[3:])
    until(lambda: rig.done() == 4, "the photos are done")
    until(lambda: answers(port), "/metrics answers")
    worker.send(signal.SIGTERM)

    assert worker.ended() == 0


def test_the_worker_s_health_check_infers_and_asks_the_database(rig: Rig) -> None:
    command = written(SERVICES["worker"]["healthcheck"]["test"][1:], triton="fake")
    assert command[0] == "kizu-fast"

    done = health_check(rig, command)

    assert done.returncode == 0, done.stderr
    assert "model fake-clip-text" in done.stdout
    assert "PostgreSQL" in done.stdout


def test_the_health_check_fails_where_the_backend_does_not_answer(rig: Rig) -> None:
    command = written(SERVICES["worker"]["healthcheck"]["test"][1:], triton="cuda")

    done = health_check(rig, command)

    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_the_export_s_command_is_understood_and_a_second_run_does_nothing(models: Path) -> None:
    """As written it would download: here the models are there already, as on the second `up`."""
    if not EXPORT.exists():
        pytest.skip("no export environment; run: make setup")
    command = written(SERVICES["export"]["command"], official="random", models=str(models))
    env = {**{name: value for name, value in os.environ.items() if not name.startswith("KIZU_")}, "YOLO_SIZE": "n"}

    done = subprocess.run([EXPORT, *command[1:]], env=env, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "yolov8n-random: up to date" in done.stderr


def test_the_configurations_are_rendered_for_a_gpu_and_the_models_stay_up_to_date(models: Path, tmp_path: Path) -> None:
    if not EXPORT.exists():
        pytest.skip("no export environment; run: make setup")
    name = "yolov8n-random"
    shutil.copytree(models / name, tmp_path / name)
    command = written(SERVICES["configs"]["command"], official="random", models=str(tmp_path))
    env = {name: value for name, value in os.environ.items() if not name.startswith("KIZU_")}

    done = subprocess.run([EXPORT, *command[1:]], env=env, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "gpu_execution_accelerator" in (tmp_path / name / "config.pbtxt").read_text()
    again = [EXPORT, "-m", "export", "--models", name, "--weights", "random", "--repository", tmp_path]
    assert f"{name}: up to date" in subprocess.run(again, env=env, cwd=ROOT, capture_output=True, text=True, check=True).stderr


def test_plans_are_not_served_where_there_is_no_gpu_to_have_built_them(models: Path) -> None:
    if not EXPORT.exists():
        pytest.skip("no export environment; run: make setup")
    if shutil.which("nvidia-smi"):
        pytest.skip("a GPU is here: tests/export/test_plans.py has machines of all kinds")
    command = written(PLANS["check"]["command"], models=str(models))

    done = subprocess.run([EXPORT, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("plans: no NVIDIA GPU here")
    assert len(done.stderr.splitlines()) == 1


def test_an_account_that_may_not_write_the_bind_mount_is_told_which_folder(tmp_path: Path) -> None:
    mount = tmp_path / "models"
    mount.mkdir(mode=0o755)
    if not EXPORT.exists():
        pytest.skip("no export environment; run: make setup")
    if os.geteuid() != 0:
        mount.chmod(0o555)
    command = [EXPORT, "-c", READ_ONLY, str(mount)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 1, done.stderr
    assert f"model repository {mount}: Permission denied; set KIZU_MODEL_REPOSITORY or --repository to a folder you can write" in done.stderr
    assert "Traceback" not in done.stderr


# An ordinary account cannot read the interpreter's home when root owns it: everything is imported first, then the rights are laid down.
READ_ONLY = """
import os, sys
import export.__main__ as command
from export.download import Downloader
Downloader()
if os.geteuid() == 0:
    os.setgid(10001); os.setuid(10001)
sys.exit(command.main(["--models", "yolov8n", "--weights", "random", "--repository", sys.argv[1]]))
"""
