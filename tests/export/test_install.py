"""Installing is one step: whoever looks, or dies, sees an old folder or a new one."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT

from export import install
from export import manifest as manifests
from export.digests import digest
from kizu_fast.errors import ConfigError

NAME = "model-x"

SWAPPER = """
import sys
from pathlib import Path
from export import install, manifest
repository = Path(sys.argv[1])
print("ready", flush=True)
turn = 0
while True:
    turn += 1
    content = str(turn % 7).encode() * 100_000
    with install.alone(repository), install.staging(repository, "model-x") as folder:
        (folder / "1").mkdir()
        (folder / "1" / "model.onnx").write_bytes(content)
        (folder / "tokenizer.json").write_text(str(turn % 7))
        install.install(folder, {"name": "model-x", "turn": turn % 7, "onnx_sha256": manifest.digest(folder / manifest.GRAPH)}, repository)
"""


def put(repository: Path, content: bytes, name: str = NAME) -> None:
    with install.alone(repository), install.staging(repository, name) as folder:
        (folder / "1").mkdir()
        (folder / manifests.GRAPH).write_bytes(content)
        install.install(folder, {"name": name, "onnx_sha256": digest(folder / manifests.GRAPH)}, repository)


def assert_whole(repository: Path) -> None:
    folder = repository / NAME
    manifest = json.loads((folder / manifests.NAME).read_text())
    assert digest(folder / manifests.GRAPH) == manifest["onnx_sha256"]
    assert (folder / "tokenizer.json").read_text() == str(manifest["turn"])


def test_the_first_model_and_its_successor_are_put_in_place(tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        put(tmp_path, content)
        assert (tmp_path / NAME / manifests.GRAPH).read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", NAME]


def test_a_folder_with_only_the_committed_configuration_is_replaced(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "config.pbtxt").write_text("committed")
    put(tmp_path, b"one")
    assert manifests.read(tmp_path / NAME) is not None


def test_other_accounts_may_read_what_is_installed(tmp_path: Path) -> None:
    put(tmp_path, b"one")
    assert (tmp_path / NAME).stat().st_mode & 0o055 == 0o055


def test_a_failure_before_installing_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), install.alone(tmp_path), install.staging(tmp_path, NAME) as folder:
        (folder / "half").write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_twenty_kills_at_random_moments_leave_a_whole_model(tmp_path: Path) -> None:
    chance = random.Random(3)
    for _ in range(20):
        process = subprocess.Popen([sys.executable, "-c", SWAPPER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            process.wait(chance.uniform(0.02, 0.1))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        if (tmp_path / NAME).exists():
            assert_whole(tmp_path)
    assert (tmp_path / NAME).exists()


def test_a_file_system_without_exchange_gets_the_old_folder_back_after_a_kill(tmp_path: Path) -> None:
    put(tmp_path, b"old")
    (tmp_path / NAME).rename(tmp_path / f".retired-{NAME}")  # the state between the two renames
    with install.alone(tmp_path):
        pass
    assert (tmp_path / NAME / manifests.GRAPH).read_bytes() == b"old"


def test_a_retired_folder_beside_its_successor_is_swept_away(tmp_path: Path) -> None:
    put(tmp_path, b"new")
    (tmp_path / f".retired-{NAME}").mkdir()
    (tmp_path / ".staging-model-x-abc").mkdir()
    with install.alone(tmp_path):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", NAME]


def test_two_folders_change_places(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not install.exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system has no exchange of folders: the two-step way is used")
    assert (tmp_path / "a" / "b").exists()
    assert (tmp_path / "b" / "a").exists()


def test_two_exports_at_once_take_turns(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from export import install\nwith install.alone(Path(sys.argv[1])): print('in', flush=True)"
    with install.alone(tmp_path):
        other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(1.0)
    assert other.communicate()[0] == b"in\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_repository_that_cannot_be_written_names_the_setting(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="KIZU_MODEL_REPOSITORY"), install.alone(tmp_path / "models"):
        pass


def test_a_repository_under_a_file_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="KIZU_MODEL_REPOSITORY"), install.alone(tmp_path / "file" / "models"):
        pass


def test_a_manifest_that_lies_is_not_intact(tmp_path: Path) -> None:
    put(tmp_path, b"one")
    folder = tmp_path / NAME
    files = {"1/model.onnx": 3}
    assert manifests.intact(folder, {"files": files, "onnx_sha256": digest(folder / manifests.GRAPH)})
    assert not manifests.intact(folder, {"files": files, "onnx_sha256": "0" * 64})
    assert not manifests.intact(folder, {"files": {**files, "tokenizer.json": 5}, "onnx_sha256": digest(folder / manifests.GRAPH)})
    assert not manifests.intact(folder, {})


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_a_broken_manifest_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / manifests.NAME).write_text(text)
    assert manifests.read(tmp_path) is None
