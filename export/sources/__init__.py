"""Families as the export knows them before any heavy library is imported: names, words of --models, and where weights come from.

A family takes a module here and a line in FAMILIES; export/<word>.py builds its graphs with load() and build().
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from export.download import Downloader
from export.sources import clip, face, yolo
from export.wanted import Original, Wanted
from kizu_fast.errors import ConfigError
from kizu_fast.settings import Settings


class Source(Protocol):
    """What a module of this package offers."""

    HAS_RANDOM: bool  # whether there are seeded random weights of it
    SHAPING: tuple[str, ...]  # files below export/ beside the shared ones; a change in any of them exports its models again

    def standard(self, settings: Settings, /) -> list[Wanted]:
        """The models that the settings name."""
        ...

    def asked(self, settings: Settings, /) -> bool:
        """Whether the settings need it, so that a plain export brings it."""
        ...

    def named(self, word: str, settings: Settings, /) -> list[Wanted]:
        """The models that a word of --models means, other than the family's own name; none when the word is not of this family. Raises ConfigError."""
        ...

    def untrained(self, wanted: Wanted, /) -> Wanted:
        """The same architecture with random weights."""
        ...

    def candidates(self, original: Original, /) -> list[str]:
        """Where its file or folder may lie below a weights folder, for messages."""
        ...

    def in_folder(self, original: Original, folder: Path, /) -> Path | None:
        """Its file or folder in a weights folder."""
        ...

    def official(self, original: Original, cache: Path, downloader: Downloader, /) -> Path:
        """Its file or folder in the cache, downloaded at first use. Raises Unreachable, or ConfigError for bytes that are not the official ones."""
        ...

    def licence(self, original: Original, /) -> str:
        """What users have to be told."""
        ...


FAMILIES: Mapping[str, Source] = {"clip": clip, "yolo": yolo, "face": face}


def of(original: Original) -> Source:
    """The module of an original's family."""
    return FAMILIES[original.family]


def standard(settings: Settings, *, random: bool) -> list[Wanted]:
    """What a plain export brings. random: untrained twins; families that have none are left out."""
    asked = [family for family in FAMILIES.values() if family.asked(settings) and (family.HAS_RANDOM or not random)]
    return _twins([wanted for family in asked for wanted in family.standard(settings)], random=random)


def chosen(words: Sequence[str], settings: Settings, *, random: bool) -> list[Wanted]:
    """The models that --models names: a family's word, a folder's name, yolov8s or open_clip's MODEL/TAG. random: their untrained twins.

    Raises ConfigError for a word that is none of these.
    """
    return _twins([wanted for word in words for wanted in _meant(word, settings)], random=random)


def untrained(wanted: Wanted) -> Wanted:
    """The same architecture with random weights."""
    return of(wanted.original).untrained(wanted)


def _twins(models: Sequence[Wanted], *, random: bool) -> list[Wanted]:
    return list({wanted.name: wanted for wanted in (map(untrained, models) if random else models)}.values())


def _meant(word: str, settings: Settings) -> list[Wanted]:
    if word in FAMILIES:
        return FAMILIES[word].standard(settings)
    found = next((models for family in FAMILIES.values() if (models := family.named(word, settings))), None)
    if found is None:
        raise ConfigError(
            f"unknown model {word!r}: --models takes {', '.join(FAMILIES)}, yolov8n to yolov8x, a name such as clip-vit-b-32-openai-image, "
            "or open_clip's MODEL/TAG"
        )
    return found
