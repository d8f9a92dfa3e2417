"""InsightFace packs, or a folder of one's own: one folder with a detector and an embedder."""

from pathlib import Path

from export import packs
from export.download import Downloader
from export.wanted import Original, Wanted
from kizu_fast.domain import Operation
from kizu_fast.errors import ConfigError
from kizu_fast.settings import Settings
from kizu_fast.specs import Family, face_names

HAS_RANDOM: bool = False  # a pack is a set of ONNX files
SHAPING: tuple[str, ...] = ("face.py", "face_graph.py", "packs.py")
PACKS = ("buffalo_l", "buffalo_m", "buffalo_s", "buffalo_sc", "antelopev2")


def pack(name: str, *, random: bool = False) -> list[Wanted]:
    """Detector and embedder. There are none with random weights: asking for them fails by name."""
    original = Original("face", name, random=random)
    return [Wanted(part, family, original) for part, family in zip(face_names(name), (Family.FACE_DETECTOR, Family.FACE_EMBEDDER), strict=True)]


def standard(settings: Settings) -> list[Wanted]:
    """The pack that FACE_MODEL_NAME names."""
    return pack(settings.face_model_name)


def asked(settings: Settings) -> bool:
    """Only when faces are among the operations: most packs are for research alone."""
    return Operation.FACES in settings.operations


def named(word: str, settings: Settings) -> list[Wanted]:
    """One half of a pack: of the settings' own, of a known one, or of the folder that the name leads to."""
    if not word.startswith("face-"):
        return []
    stem = word.removeprefix("face-").removesuffix("-detector").removesuffix("-embedder")
    found = [wanted for name in (settings.face_model_name, *PACKS, stem) for wanted in pack(name) if wanted.name == word]
    if not found:
        raise ConfigError(f"unknown model {word!r}: the halves of a pack are named {' and '.join(face_names(stem))}")
    return found[:1]


def untrained(wanted: Wanted) -> Wanted:
    """What cannot be had, by name."""
    return next(part for part in pack(wanted.original.model, random=True) if part.family == wanted.family)


def candidates(original: Original) -> list[str]:
    """The folder's ONNX files."""
    return [f"{place}/*.onnx" for place in packs.candidates(original.model)]


def in_folder(original: Original, folder: Path) -> Path | None:
    """The pack's folder."""
    return packs.in_folder(original.model, folder)


def official(original: Original, cache: Path, downloader: Downloader) -> Path:
    """From InsightFace's release. Raises Unreachable, ConfigError."""
    return packs.official(original.model, cache, downloader)


def licence(_original: Original) -> str:
    """The packs' own words."""
    return packs.LICENCE
