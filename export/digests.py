"""sha256 of files: what names weights, graphs and the code that made them."""

import hashlib
from pathlib import Path


def digest(path: Path) -> str:
    """sha256 of a file, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def folder_digest(folder: Path) -> str:
    """sha256 of the names and digests of a folder's files, those below it left out."""
    lines = [f"{path.name} {digest(path)}\n" for path in sorted(folder.iterdir()) if path.is_file()]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
