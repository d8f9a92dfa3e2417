"""Which InsightFace packs a weights folder holds whole: `python -m export.held DIR` prints their names, one a line, the best first."""

import sys
from collections.abc import Sequence
from pathlib import Path

from export import packs
from export.sources.face import PACKS
from kizu_fast.errors import ConfigError


def complete(weights: Path) -> list[str]:
    """Packs with a detector and an embedder that the export takes; known ones in the order of PACKS, then others by name."""
    home = weights / packs.HOME
    names = sorted(folder.name for folder in home.iterdir() if folder.is_dir()) if home.is_dir() else []
    order = [*(name for name in PACKS if name in names), *(name for name in names if name not in PACKS)]
    return [name for name in order if _is_whole(home / name)]


def _is_whole(folder: Path) -> bool:
    try:
        pack = packs.read(folder)
        packs.detector(pack)
        packs.embedder(pack)
    except ConfigError:
        return False
    return True


def main(arguments: Sequence[str]) -> int:
    """Exit 0, also when there is none."""
    for name in complete(Path(arguments[0])):
        sys.stdout.write(f"{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
