"""What is to be exported: names of models to what they are made of. No heavy import here: the no-op must stay fast."""

from collections.abc import Sequence
from dataclasses import dataclass

from export.quiet import quiet
from kizu_fast.errors import ConfigError
from kizu_fast.specs import RANDOM, Family, clip_name, face_names, yolo_name

YOLO_SIZES = ("n", "s", "m", "l", "x")
PACKS = ("buffalo_l", "buffalo_m", "buffalo_s", "buffalo_sc", "antelopev2")
TOWERS = {"image": Family.CLIP_IMAGE, "text": Family.CLIP_TEXT}


@dataclass(frozen=True, slots=True)
class Original:
    """The weights that one or two exported models share."""

    family: str  # clip | yolo | face
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


def defaults(clip_model: str, clip_pretrained: str, yolo_size: str, face_model: str = "") -> list[Wanted]:
    """The models that the settings name; face_model empty: no pack."""
    return [*clip_towers(clip_model, clip_pretrained), yolo_detector(yolo_size), *(face_pack(face_model) if face_model else ())]


def face_pack(pack: str, *, random: bool = False) -> list[Wanted]:
    """Detector and embedder of one InsightFace pack, or of a folder of one's own. There are none with random weights: asking for them fails by name."""
    original = Original("face", pack, random=random)
    return [Wanted(name, family, original) for name, family in zip(face_names(pack), (Family.FACE_DETECTOR, Family.FACE_EMBEDDER), strict=True)]


def clip_towers(model: str, tag: str, *, random: bool = False) -> list[Wanted]:
    """Both towers of one open_clip model. The tag RANDOM asks for untrained weights."""
    random = random or tag == RANDOM
    original = Original("clip", model, "" if random else tag, random)
    return [Wanted(clip_name(model, RANDOM if random else tag, tower), family, original) for tower, family in TOWERS.items()]


def yolo_detector(size: str, *, random: bool = False) -> Wanted:
    """One YOLOv8."""
    return Wanted(yolo_name(size, random=random), Family.YOLO, Original("yolo", f"yolov8{size}", random=random))


def untrained(wanted: Wanted) -> Wanted:
    """The same architecture with random weights."""
    if wanted.original.family == "yolo":
        return yolo_detector(wanted.original.model.removeprefix("yolov8"), random=True)
    if wanted.original.family == "face":
        return next(part for part in face_pack(wanted.original.model, random=True) if part.family == wanted.family)
    return next(tower for tower in clip_towers(wanted.original.model, RANDOM) if tower.family == wanted.family)


def chosen(words: Sequence[str], standard: Sequence[Wanted], *, random: bool) -> list[Wanted]:
    """The models that --models names: clip, yolo, face, a folder's name, yolov8s or open_clip's MODEL/TAG. random: their untrained twins.

    standard are those of the settings, as trained. Raises ConfigError for a word that is none of these.
    """
    meant = [wanted for word in words for wanted in _meant(word, standard)]
    return list({wanted.name: wanted for wanted in (map(untrained, meant) if random else meant)}.values())


def _meant(word: str, standard: Sequence[Wanted]) -> list[Wanted]:
    if word in ("clip", "yolo", "face"):
        return [wanted for wanted in standard if wanted.original.family == word]
    if "/" in word:
        model, _, tag = word.partition("/")
        return clip_towers(model, tag)
    if word.startswith("face-"):
        return _face(word, standard)
    known = [*standard, *map(yolo_detector, YOLO_SIZES)]
    return next(([wanted] for each in known for wanted in (each, untrained(each)) if wanted.name == word), None) or _by_folder(word)


def _face(word: str, standard: Sequence[Wanted]) -> list[Wanted]:
    """One half of a pack: of the settings' own, of a known one, or of the folder that the name leads to."""
    stem = word.removeprefix("face-").removesuffix("-detector").removesuffix("-embedder")
    packs = [*(wanted.original.model for wanted in standard if wanted.original.family == "face"), *PACKS, stem]
    found = [wanted for pack in packs for wanted in face_pack(pack) if wanted.name == word]
    if not found:
        raise ConfigError(f"unknown model {word!r}: the halves of a pack are named {' and '.join(face_names(stem))}")
    return found[:1]


def _by_folder(word: str) -> list[Wanted]:
    """Look a folder's name up among all models of open_clip: slow, since it imports the library."""
    with quiet():
        import open_clip  # noqa: PLC0415  # takes seconds
    pairs = [*open_clip.list_pretrained(), *((model, RANDOM) for model in open_clip.list_models())]
    for model, tag in pairs:
        for tower in clip_towers(model, tag):
            if tower.name == word:
                return [tower]
    raise ConfigError(
        f"unknown model {word!r}: --models takes clip, yolo, face, yolov8n to yolov8x, a name such as clip-vit-b-32-openai-image, or open_clip's MODEL/TAG"
    )
