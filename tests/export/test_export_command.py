"""`python -m export` as users call it: fast when nothing is to be done, whole or nothing otherwise, and plain about what is missing."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import ROOT

from export import manifest as manifests
from export.digests import digest

NO_NETWORK = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "NO_PROXY": "", "no_proxy": ""}  # nothing listens on port 9


def environment(**env: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KIZU_", "CLIP_", "YOLO_"))}
    return {**kept, **NO_NETWORK, **env}


def call(*arguments: str | Path, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    env = {"PYTHONPATH": str(ROOT), **env}
    return subprocess.run(
        [sys.executable, "-m", "export", *map(str, arguments)], cwd=cwd, env=environment(**env), capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one small model with random weights."""
    repository = tmp_path_factory.mktemp("installed")
    done = call("--models", "yolov8n", "--weights", "random", "--repository", repository, cwd=repository)
    assert done.returncode == 0, done.stderr
    return repository


def test_random_weights_show_in_name_manifest_and_words(installed: Path) -> None:
    manifest = manifests.read(installed / "yolov8n-random")
    assert manifest is not None
    assert manifest["source"] == "random"
    assert not (installed / "yolov8n").exists()
    done = call("--models", "yolov8n", "--weights", "random", "--repository", installed)
    assert "results mean nothing" in done.stderr
    assert "python -m export --weights" in done.stderr


def test_a_second_call_does_nothing(installed: Path) -> None:
    before = (installed / "yolov8n-random" / "1" / "model.onnx").stat()
    began = time.monotonic()
    done = call("--models", "yolov8n", "--weights", "random", "--repository", installed)
    print(f"\nno-op export: {time.monotonic() - began:.2f} s")
    assert done.returncode == 0
    assert "up to date" in done.stderr
    after = (installed / "yolov8n-random" / "1" / "model.onnx").stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)


def test_doing_nothing_imports_none_of_the_heavy_libraries(installed: Path) -> None:
    code = (
        "import sys; from export.__main__ import main; "
        f"code = main(['--models', 'yolov8n', '--weights', 'random', '--repository', {str(installed)!r}]); "
        "heavy = [name for name in ('torch', 'open_clip', 'ultralytics', 'onnxruntime', 'transformers') if name in sys.modules]; "
        "sys.exit(code or (f'imported {heavy}' if heavy else 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_json_is_one_document_with_the_manifests(installed: Path) -> None:
    done = call("--models", "yolov8n,yolov8s", "--repository", installed, "--json", MODEL_CACHE_DIR=str(installed / "cache"))
    told = json.loads(done.stdout)
    assert done.returncode == 1
    assert told["models"] == []
    assert {entry["name"] for entry in told["failed"]} == {"yolov8n", "yolov8s"}
    done = call("--models", "yolov8n-random", "--repository", installed, "--json")
    assert json.loads(done.stdout)["models"] == [manifests.read(installed / "yolov8n-random")]


def test_without_a_network_it_says_what_is_missing_and_how_to_bring_it(tmp_path: Path) -> None:
    done = call("--models", "clip,yolo", "--repository", tmp_path / "models", MODEL_CACHE_DIR=str(tmp_path / "cache"))
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    clip = next(line for line in lines if "ViT-B-32/openai could not be downloaded" in line)
    yolo = next(line for line in lines if "yolov8m could not be downloaded" in line)
    assert "openaipublic.azureedge.net" in clip
    assert "DIR/open_clip/ViT-B-32_openai.pt" in clip
    assert "github.com" in yolo
    assert "DIR/yolov8m.pt" in yolo
    assert all("python -m export --weights DIR" in line and "python -m export --weights random" in line for line in (clip, yolo))
    assert "Traceback" not in done.stderr


def test_a_folder_without_the_model_lists_what_was_looked_for(tmp_path: Path) -> None:
    done = call("--weights", tmp_path, "--repository", tmp_path / "models")
    assert done.returncode == 1
    assert f"yolov8m: {tmp_path} holds none of yolov8m.pt" in done.stderr
    assert "open_clip/ViT-B-32_openai.pt, open_clip/ViT-B-32_openai.safetensors, open_clip/ViT-B-32_openai.bin" in done.stderr


def test_a_weights_folder_that_is_none_is_named(tmp_path: Path) -> None:
    done = call("--weights", tmp_path / "nowhere", "--repository", tmp_path / "models")
    assert done.returncode == 1
    assert f"--weights {tmp_path / 'nowhere'} is no folder" in done.stderr


def test_a_broken_checkpoint_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "yolov8n.pt").write_bytes(b"no checkpoint at all")
    done = call("--models", "yolov8n", "--weights", tmp_path, "--repository", tmp_path / "models")
    assert done.returncode == 1
    assert f"{tmp_path / 'yolov8n.pt'} is no YOLO checkpoint" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "models" / "yolov8n").exists()


def test_weights_of_another_size_name_expected_and_found_tensors(tmp_path: Path, trained_weights: Path | None) -> None:
    if trained_weights is None:
        pytest.skip("no trained yolov8n.pt at hand")
    (tmp_path / "yolov8s.pt").symlink_to(trained_weights / "yolov8n.pt")
    done = call("--models", "yolov8s", "--weights", tmp_path, "--repository", tmp_path / "models")
    assert done.returncode == 1
    assert "yolov8s.pt does not fit yolov8s: model.0.conv.weight expected [32, 3, 3, 3], found [16, 3, 3, 3]" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--target", "openvino"), "--target openvino is not needed"),
        (("--precision", "int8"), "--precision int8 is not offered"),
        (("--models", "resnet"), "unknown model 'resnet'"),
    ],
)
def test_what_this_version_cannot_do_is_refused_in_one_line(arguments: tuple[str, ...], text: str) -> None:
    done = call(*arguments)
    assert done.returncode == 1
    assert text in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_wrong_usage_exits_with_two() -> None:
    assert call("--target", "coffee").returncode == 2
    assert call("--surprise").returncode == 2


def test_a_setting_that_does_not_exist_is_refused() -> None:
    done = call(KIZU_MODEL_REPOSITRY="x")
    assert done.returncode == 1
    assert "did you mean KIZU_MODEL_REPOSITORY" in done.stderr


def test_help_shows_examples() -> None:
    done = call("--help")
    assert done.returncode == 0
    assert "python -m export --weights random" in done.stdout


def staged(repository: Path, process: subprocess.Popen[bytes]) -> Iterator[list[Path]]:
    """What lies in staging folders, looked at until the process ends."""
    while True:
        yield [path for folder in repository.glob(".staging-*") for path in folder.rglob("*.onnx")]
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        return


def test_a_kill_in_the_middle_leaves_the_old_model_and_the_next_call_finishes(installed: Path) -> None:
    folder = installed / "yolov8n-random"
    manifest = json.loads((folder / manifests.NAME).read_text())
    (folder / manifests.NAME).write_text(json.dumps({**manifest, "inputs_hash": "of an older version"}))
    old = digest(folder / manifests.GRAPH)
    command = [sys.executable, "-m", "export", "--models", "yolov8n", "--weights", "random", "--repository", str(installed)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for graphs in staged(installed, process):
        if graphs:
            process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert digest(folder / manifests.GRAPH) == old
    assert json.loads((folder / manifests.NAME).read_text())["inputs_hash"] == "of an older version"
    assert list(installed.glob(".staging-*"))
    done = call("--models", "yolov8n", "--weights", "random", "--repository", installed)
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / manifests.NAME).read_text())["inputs_hash"] == manifest["inputs_hash"]
    assert not list(installed.glob(".staging-*"))


def test_a_damaged_graph_is_exported_again(installed: Path) -> None:
    path = installed / "yolov8n-random" / manifests.GRAPH
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    done = call("--models", "yolov8n", "--weights", "random", "--repository", installed)
    assert done.returncode == 0, done.stderr
    assert "installed after" in done.stderr
    manifest = manifests.read(installed / "yolov8n-random")
    assert manifest is not None
    assert manifests.intact(installed / "yolov8n-random", manifest)
