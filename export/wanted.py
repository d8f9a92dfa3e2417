"""What is to be exported, in two nouns. How words become these, and where their weights lie, is known by export/sources."""

from dataclasses import dataclass

from kizu_fast.specs import RANDOM, Family


@dataclass(frozen=True, slots=True)
class Original:
    """The weights that one or more exported models share."""

    family: str  # a key of sources.FAMILIES; export.<family> builds it
    model: str  # ViT-B-32 | yolov8m | buffalo_l
    tag: str = ""  # pretrained tag of open_clip; empty for the others
    random: bool = False

    def __str__(self) -> str:
        return f"{self.model}/{RANDOM if self.random else self.tag}" if self.family == "clip" else self.model


@dataclass(frozen=True, slots=True)
class Wanted:
    """One folder of the model repository."""

    name: str
    family: Family
    original: Original
