"""Where trained weights come from: the official places, a folder, or nowhere (seeded random)."""

from dataclasses import dataclass
from pathlib import Path

from export import packs, sources
from export.digests import digest
from export.download import Downloader, Unreachable, how_to_bring
from export.wanted import Original
from kizu_fast.errors import ConfigError

OFFICIAL, RANDOM, FOLDER = "official", "random", "folder"


@dataclass(frozen=True, slots=True)
class Weights:
    """A checkpoint or a folder of files, or none (path and sha256 None) for seeded random."""

    path: Path | None
    source: str  # official | folder | random
    sha256: str | None
    licence: str


@dataclass(frozen=True, slots=True)
class Extras:
    """Where a family may look for files beside its weights, such as a tokenizer of the hub."""

    source: str | Path
    cache: Path
    downloader: Downloader


def find(original: Original, source: str | Path, cache: Path, downloader: Downloader) -> Weights:
    """The weights of one original. Raises ConfigError, with the way to bring them, when they are not to be had."""
    family = sources.of(original)
    if original.random and not family.HAS_RANDOM:
        raise ConfigError(f"{original}: there are no random weights of this family; run: python -m export --models {original.family}")
    if original.random:
        return Weights(None, RANDOM, None, "none: untrained")
    path = in_folder(original, source) if isinstance(source, Path) else _official(original, cache, downloader)
    return Weights(path, FOLDER if isinstance(source, Path) else OFFICIAL, digest_of(path), family.licence(original))


def digest_of(path: Path) -> str:
    """sha256 of a checkpoint, or of a pack's folder."""
    return packs.pack_digest(path) if path.is_dir() else digest(path)


def in_folder(original: Original, folder: Path) -> Path:
    """The file or folder of one original in a weights folder. Raises ConfigError that lists what was looked for."""
    if not folder.is_dir():
        raise ConfigError(f"--weights {folder} is no folder")
    found = sources.of(original).in_folder(original, folder)
    if found is None:
        raise ConfigError(f"{original}: {folder} holds none of {', '.join(sources.of(original).candidates(original))}")
    return found


def _official(original: Original, cache: Path, downloader: Downloader) -> Path:
    family = sources.of(original)
    try:
        return family.official(original, cache, downloader)
    except Unreachable as error:
        bring = how_to_bring(family.candidates(original)[0], random=family.HAS_RANDOM)
        raise ConfigError(f"{original} could not be downloaded from {error}; {bring}") from error
