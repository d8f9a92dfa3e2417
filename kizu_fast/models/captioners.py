"""What DESCRIBE_MODEL and DESCRIBE_DETAIL may say, and the captioners that are known by name and not run here."""

from collections.abc import Mapping
from dataclasses import dataclass

from kizu_fast.specs import RANDOM


@dataclass(frozen=True, slots=True)
class CaptionerWords:
    """What DESCRIBE_MODEL may name: how its models are called, and the levels of detail that it knows, the shortest first."""

    stem: str
    details: tuple[str, ...]


CAPTIONERS: Mapping[str, CaptionerWords] = {
    "florence2": CaptionerWords("florence-2-base", ("caption", "detailed", "more")),
    "vit-gpt2": CaptionerWords("vit-gpt2", ("caption",)),
}

_INSTEAD = "it is not part of this edition; set DESCRIBE_MODEL=florence2"
UNSERVED_CAPTIONERS: Mapping[str, str] = {
    "llava": f"llava has 7 billion parameters: 14 GB, about a minute a photo on two cores, and a second runtime beside this one; {_INSTEAD}",
    "moondream": f"moondream brings code of its own with its weights, which is never run here; {_INSTEAD}",
    "blip": f"blip has no export here yet; {_INSTEAD}, which captions better, or DESCRIBE_MODEL=vit-gpt2 for a small machine",
}


def caption_name(model: str, detail: str, *, random: bool = False) -> str:
    """('florence2', 'caption') to florence-2-base-caption, with RANDOM behind it for untrained weights."""
    return f"{CAPTIONERS[model].stem}-{detail}" + (f"-{RANDOM}" if random else "")
