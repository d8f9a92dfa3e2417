"""Many small photos, a database that is ready at once, and a rig for each test."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.rig import FEW, MANY, Rig, new_folder, opened
from processes import paint

ALL = 2000


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,000 photos in the folders `few`, `many` and `rest`."""
    folder = tmp_path_factory.mktemp("library")
    for seed in range(ALL):
        part = "few" if seed < FEW else "many" if seed < FEW + MANY else "rest"
        paint(folder / part / f"{seed:04}.jpg", seed, (64, 48))
    return folder


@pytest.fixture(scope="session")
def template(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data dir with a migrated database that no longer runs."""
    folder = new_folder()
    with opened(folder, None, library, tmp_path_factory.mktemp("template")) as rig:
        rig.line.run("status")
        for settings in folder.glob("pg*/postgresql.auto.conf"):
            with settings.open("a") as lines:
                lines.write("fsync = off\n")  # processes die here, the machine does not
        yield folder
    shutil.rmtree(folder)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    folder = new_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def rig(data_dir: Path, template: Path, library: Path, tmp_path: Path) -> Iterator[Rig]:
    """A running server without rows. The library is shared by all tests: none may touch it."""
    with opened(data_dir, template, library, tmp_path) as ready:
        ready.keep_server()
        yield ready


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 MB in memory that any account can enter."""
    folder = new_folder()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m,mode=0755", "tmpfs", folder], capture_output=True, text=True, check=False)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"no right to mount a small disk: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()
