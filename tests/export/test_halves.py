"""python -m export.halves: what half precision changes, by gate, against the variants or against the worker's own backend."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from export import halves


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("painted")
    random = np.random.default_rng(4)
    for number in range(3):
        Image.fromarray(random.integers(0, 256, (64, 80, 3), np.uint8)).save(folder / f"{number}.png")
    return folder


def measured(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[dict[str, Any]]]:
    code = halves.main([*map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out or "[]")


def test_both_towers_of_a_clip_are_compared_with_the_worker_s_backend(
    meaningful_models: Path, painted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = measured(capsys, "--images", painted, "--repository", meaningful_models, "--against", "openvino")

    assert code == 0
    assert [line["figure"] for line in lines] == ["cosine_min of 3", "cosine_min of 100"]
    assert all(0.999 <= line["value"] <= 1.000001 and line["kept"] for line in lines)


def test_faces_found_by_the_worker_s_backend_are_those_of_full_precision(face_models: Path, shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = measured(capsys, "--images", shared / "images", "--repository", face_models, "--against", "openvino", "--pictures", 8)

    assert code == 0
    assert (lines[0]["figure"], lines[0]["value"]) == ("faces missing or extra", 0)
    assert lines[1]["model"] == "face-buffalo-s-embedder"
    assert int(lines[1]["figure"].split()[-1]) >= 8


def test_without_a_variant_the_command_that_makes_them_is_named(meaningful_models: Path, painted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert halves.main(["--images", str(painted), "--repository", str(meaningful_models)]) == 1
    assert "holds no fp16 variant; run: python -m export --precision fp16" in capsys.readouterr().err
