"""sha256 of files: what names weights, graphs and the code that made them."""

import hashlib
from pathlib import Path


def digest(path: Path) -> str:
    """sha256 of a file, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
