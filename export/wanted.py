"""What is to be exported: names of models to what they are made of. No heavy import here: the no-op must stay fast."""

from collections.abc import Sequence
from dataclasses import dataclass

from export.quiet import quiet
from kizu_fast.errors import ConfigError
from kizu_fast.specs import RANDOM, Family, clip_name, is_random, yolo_name

YOLO_SIZES = ("n", "s", "m", "l", "x")
TOWERS = {"image": Family.CLIP_IMAGE, "text": Family.CLIP_TEXT}


@dataclass(frozen=True, slots=True)
class Original:
    """The weights that one or two exported models share."""

    family: str  # clip | yolo
    model: str  # ViT-B-32 | yolov8m
    tag: str = ""  # pretrained tag of open_clip; empty for yolo
    random: bool = False

    def __str__(self) -> str:
        return f"{self.model}/{RANDOM if self.random else self.tag}" if self.family == "clip" else self.model


@dataclass(frozen=True, slots=True)
class Wanted:
    """One folder of the model repository."""

    name: str
    family: Family
    original: Original


def defaults(clip_model: str, clip_pretrained: str, yolo_size: str, *, random: bool) -> list[Wanted]:
    """The models that the settings name."""
    return [*clip_towers(clip_model, clip_pretrained, random=random), yolo_detector(yolo_size, random=random)]


def clip_towers(model: str, tag: str, *, random: bool = False) -> list[Wanted]:
    """Both towers of one open_clip model. The tag RANDOM asks for untrained weights."""
    random = random or tag == RANDOM
    original = Original("clip", model, "" if random else tag, random)
    return [Wanted(clip_name(model, RANDOM if random else tag, tower), family, original) for tower, family in TOWERS.items()]


def yolo_detector(size: str, *, random: bool = False) -> Wanted:
    """One YOLOv8."""
    return Wanted(yolo_name(size, random=random), Family.YOLO, Original("yolo", f"yolov8{size}", random=random))


def chosen(words: Sequence[str], standard: Sequence[Wanted], *, random: bool) -> list[Wanted]:
    """The models that --models names: clip, yolo, a folder's name, yolov8s or open_clip's MODEL/TAG.

    Raises ConfigError for a word that is none of these.
    """
    found: dict[str, Wanted] = {}
    for word in words:
        for wanted in _meant(word, standard, random=random):
            found[wanted.name] = wanted
    return list(found.values())


def _meant(word: str, standard: Sequence[Wanted], *, random: bool) -> list[Wanted]:
    if word in ("clip", "yolo"):
        return [wanted for wanted in standard if wanted.original.family == word]
    for size in YOLO_SIZES:
        if word in (yolo_name(size), yolo_name(size, random=True)):
            return [yolo_detector(size, random=random or is_random(word))]
    if "/" in word:
        model, _, tag = word.partition("/")
        return clip_towers(model, tag, random=random)
    named = [wanted for wanted in standard for twin in _twins(wanted, random=random) if twin.name == word]
    return [twin for wanted in named for twin in _twins(wanted, random=random) if twin.name == word or random] or _by_folder(word, random=random)


def _twins(wanted: Wanted, *, random: bool) -> list[Wanted]:
    """The model itself and the one with untrained weights in its place."""
    if wanted.original.family != "clip":
        return [wanted]
    towers = [*clip_towers(wanted.original.model, wanted.original.tag or RANDOM), *clip_towers(wanted.original.model, RANDOM)]
    return [tower for tower in towers if tower.family == wanted.family and (tower.original.random or not random)]


def _by_folder(word: str, *, random: bool) -> list[Wanted]:
    """Look a folder's name up among all models of open_clip: slow, since it imports the library."""
    with quiet():
        import open_clip  # noqa: PLC0415  # takes seconds
    pairs = [*open_clip.list_pretrained(), *((model, RANDOM) for model in open_clip.list_models())]
    for model, tag in pairs:
        for tower in clip_towers(model, tag):
            if tower.name == word:
                return [twin for twin in clip_towers(model, tag, random=random) if twin.family == tower.family]
    raise ConfigError(
        f"unknown model {word!r}: --models takes clip, yolo, yolov8n to yolov8x, a name such as clip-vit-b-32-openai-image, or open_clip's MODEL/TAG"
    )
