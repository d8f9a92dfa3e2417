"""Putting an exported folder into the repository: whole or not at all, whenever the process dies."""

import contextlib
import ctypes
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export import manifest as manifests
from kizu_fast.errors import ConfigError
from kizu_fast.specs import ModelSpec

_STAGING, _RETIRED = ".staging-", ".retired-"
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS
_AT_FDCWD = -100


@dataclass(frozen=True, slots=True)
class Built:
    """What a family's build() left in the staged folder."""

    spec: ModelSpec
    facts: Mapping[str, Any]  # for the manifest; "parity" holds the figures against the original
    sha256: str  # of the tensors: names weights that are no file


@contextlib.contextmanager
def alone(repository: Path) -> Iterator[None]:
    """Hold the repository against other exports, and finish or sweep away what a killed one left. Raises ConfigError if it cannot be written."""
    import fcntl  # noqa: PLC0415  # not on Windows, where the export is not verified

    try:
        repository.mkdir(parents=True, exist_ok=True)
        stream = (repository / ".lock").open("w")
    except OSError as error:
        raise ConfigError(
            f"model repository {repository}: {error.strerror}; set KIZU_MODEL_REPOSITORY or --repository to a folder you can write"
        ) from error
    with stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        _recover(repository)
        yield


@contextlib.contextmanager
def staging(repository: Path, name: str) -> Iterator[Path]:
    """An empty folder beside the installed models, gone again unless install() took it."""
    folder = Path(tempfile.mkdtemp(prefix=f"{_STAGING}{name}-", dir=repository))
    folder.chmod(0o755)  # mkdtemp makes 0700: the worker may run as another account
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def install(staged: Path, manifest: Mapping[str, Any], repository: Path) -> None:
    """Complete the staged folder with its manifest and put it in the place of an older one in a single step.

    Raises OSError (disk full, no permission): the older one is still there then.
    """
    name = manifest["name"]
    (staged / manifests.NAME).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for path in [*staged.rglob("*"), staged]:
        _flush(path)
    target = repository / name
    if not target.exists():
        staged.rename(target)
    elif not exchange(staged, target):
        _replace_in_two_steps(staged, target)
    _flush(repository)


def exchange(one: Path, other: Path) -> bool:
    """Let two folders change places in one step. False where the system or the file system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    first, second = os.fsencode(one), os.fsencode(other)
    if sys.platform == "darwin" and hasattr(libc, "renamex_np"):
        return bool(libc.renamex_np(first, second, ctypes.c_uint(_EXCHANGE)) == 0)
    if hasattr(libc, "renameat2"):
        return bool(libc.renameat2(_AT_FDCWD, first, _AT_FDCWD, second, ctypes.c_uint(_EXCHANGE)) == 0)
    return False


def _replace_in_two_steps(staged: Path, target: Path) -> None:
    """For file systems without exchange. A process that dies between the two leaves the old folder under another name: _recover puts it back."""
    retired = target.with_name(_RETIRED + target.name)
    target.rename(retired)
    staged.rename(target)
    shutil.rmtree(retired, ignore_errors=True)


def _recover(repository: Path) -> None:
    for retired in repository.glob(f"{_RETIRED}*"):
        target = repository / retired.name.removeprefix(_RETIRED)
        if target.exists():
            shutil.rmtree(retired, ignore_errors=True)
        else:
            retired.rename(target)
    for left in repository.glob(f"{_STAGING}*"):
        shutil.rmtree(left, ignore_errors=True)


def _flush(path: Path) -> None:
    """Ask the disk to keep what was written: a manifest must not outlive its graph in a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
