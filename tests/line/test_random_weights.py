"""Random weights run only with permission, and that their results mean nothing is said once by every command that uses them."""

from pathlib import Path

import graphs
import pytest
from processes import Line


@pytest.fixture
def untrained(line: Line, tmp_path: Path) -> Line:
    """Nothing but random twins in the repository."""
    root = tmp_path / "repository"
    graphs.install_clip(root, "random", source="random")
    graphs.install_text(root, "random", source="random")
    graphs.install_yolo(root, "yolov8m-random", source="random")
    line.env.update(KIZU_MODEL_REPOSITORY=str(root), KIZU_BACKEND="cpu", KIZU_ALLOW_RANDOM="true")
    return line


def test_worker_and_search_say_once_that_results_mean_nothing_and_what_mends_it(untrained: Line) -> None:
    untrained.json("ingest", untrained.library)
    for command in (("worker", "--drain"), ("search", "a dog"), ("search", "a dog", "--json")):
        done = untrained.run(*command)
        said = done.stdout + done.stderr
        assert said.count("meaningless") == 1, command
        assert "make export WEIGHTS=dir" in said, command
        assert "meaningless" not in done.stdout, command


def test_doctor_names_them_and_stays_content(untrained: Line) -> None:
    checks = [check for check in untrained.json("doctor")["checks"] if "random" in check["detail"] and check["name"] == "weights"]
    assert len(checks) == 1
    assert checks[0]["ok"] is True
    assert "mean nothing" in checks[0]["detail"]
    assert "make export" in checks[0]["fix"]


def test_without_permission_they_do_not_run(untrained: Line) -> None:
    untrained.json("ingest", untrained.library)
    done = untrained.run("worker", "--drain", check=False, KIZU_ALLOW_RANDOM="false")
    assert done.returncode == 1
    assert "python -m export --models clip-vit-b-32-openai-image,yolov8m" in done.stderr
    assert untrained.json("status")["queue"]["pending"] == 3
