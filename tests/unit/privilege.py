"""Permissions mean nothing to root, as whom tests run in containers: they lay the privilege down for a moment."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def forbidden(*names: str) -> Iterator[Path]:
    """A folder in which the named files and folders may not be read, seen by a user who is not root. Parents of `names` are made."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if Path(name).suffix:
            (folder / name).write_bytes(b"x")
        else:
            (folder / name).mkdir(exist_ok=True)
        (folder / name).chmod(0)
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(NOBODY)
        yield folder
    finally:
        if root:
            os.seteuid(0)
        for name in names:
            (folder / name).chmod(0o700)
        shutil.rmtree(folder)
