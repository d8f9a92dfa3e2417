"""The models that come with the project, as the registry wants them: a spec, and how one photo or text becomes one row.

Below them, where their specs come from: the model repository on disk, or the fake backend's own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as Rules

from kizu_fast.backends import fake
from kizu_fast.backends.repository import ModelRepository, export_command
from kizu_fast.domain import Detections, Embedding, Photo
from kizu_fast.errors import ConfigError
from kizu_fast.geometry import nearest_bucket
from kizu_fast.models import clip, yolo
from kizu_fast.models.caption import load_rules
from kizu_fast.models.captioners import caption_name
from kizu_fast.models.clip_text import load_tokenizer
from kizu_fast.models.easyocr_languages import known_languages, recogniser_for
from kizu_fast.registry import Prepared
from kizu_fast.specs import PPOCR_SETS, RANDOM, Family, ModelSpec, Tensors, clip_name, easyocr_names, face_names, is_random, ppocr_names, yolo_name


class ClipImage:
    """CLIP image tower: photo to a unit vector in its space."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        if spec.preprocessing not in clip.STEPS:
            raise ConfigError(f"{spec.name}: unknown preprocessing {spec.preprocessing!r}; export it again with this version: python -m export")

    def prepare(self, photo: Photo) -> Prepared[Embedding]:
        """The centre crop, uint8 (side, side, 3)."""
        pixels = clip.preprocess(photo, self.spec.inputs[0].shape[0], self.spec.preprocessing)
        return Prepared({self.spec.inputs[0].name: pixels}, self._finish)

    def _finish(self, outputs: Tensors) -> Embedding:
        return _embedding(self.spec, outputs)


class ClipText:
    """CLIP text tower: text to a unit vector in the space of its image tower."""

    def __init__(self, spec: ModelSpec, tokenize: Callable[[str], NDArray[np.int32]]) -> None:
        self.spec, self._tokenize = spec, tokenize

    def prepare(self, text: str) -> Prepared[Embedding]:
        """Token ids, int32 (context,). Any string has some."""
        return Prepared({self.spec.inputs[0].name: self._tokenize(text)}, self._finish)

    def _finish(self, outputs: Tensors) -> Embedding:
        return _embedding(self.spec, outputs)


class Yolo:
    """YOLOv8: photo to objects, in pixels of the upright original."""

    def __init__(self, spec: ModelSpec, *, min_score: float) -> None:
        self.spec, self._min_score = spec, min_score

    def prepare(self, photo: Photo) -> Prepared[Detections]:
        """The photo letterboxed to the bucket nearest to its own aspect, uint8 (*bucket, 3)."""
        bucket = nearest_bucket(photo.height, photo.width, self.spec.buckets)
        pixels, box = yolo.preprocess(photo, bucket)
        labels, min_score = self.spec.labels, self._min_score
        return Prepared(
            {self.spec.inputs[0].name: pixels}, lambda outputs: yolo.postprocess(outputs, box, labels=labels, min_score=min_score), bucket
        )


def _embedding(spec: ModelSpec, outputs: Tensors) -> Embedding:
    row = np.asarray(outputs[spec.outputs[0].name], np.float32)
    return Embedding(spec.space or spec.name, clip.postprocess(row))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which models the settings name, in the settings' own words."""

    clip_model: str = "ViT-B-32"
    clip_pretrained: str = "openai"
    yolo_size: str = "m"
    face_model: str = "buffalo_l"
    ocr_model: str = "ppocr"
    ocr_languages: tuple[str, ...] = ("en",)
    describe_model: str = "florence2"
    describe_detail: str = "caption"


class Names(NamedTuple):
    """The built-in models that an engine takes by default."""

    image: str
    text: str
    objects: str


class Stock(Protocol):
    """Where the specs of the built-in models come from."""

    def names(self) -> Names:
        """The models that the settings mean, there or not."""
        ...

    def faces(self) -> tuple[str, str]:
        """Detector and embedder of the pack that the settings name, there or not."""
        ...

    def ocr_model(self) -> str:
        """The family that reads: easyocr or ppocr."""
        ...

    def ppocr(self) -> str:
        """The set of PP-OCR that reads, such as v6-small, there or not."""
        ...

    def easyocr(self) -> tuple[str, str]:
        """Detector and recogniser of EasyOCR for the wanted languages, there or not. Raises ConfigError for languages that no recogniser reads."""
        ...

    def languages(self) -> tuple[str, ...]:
        """The languages that are to be read, as EasyOCR's codes. Raises ConfigError for one that is unknown."""
        ...

    def characters(self, name: str, /) -> tuple[str, ...]:
        """What a recogniser's classes stand for, in order. Raises ConfigError."""
        ...

    def caption(self) -> str:
        """The captioner that the settings name, there or not."""
        ...

    def caption_rules(self, name: str) -> Rules:
        """What turns a captioner's ids into text. Raises ConfigError."""
        ...

    def require(self, names: Sequence[str]) -> None:
        """Raises one ConfigError that names every missing model and the command that brings them."""
        ...

    def spec(self, name: str) -> ModelSpec:
        """Raises ConfigError when the model is missing, broken, or random without permission."""
        ...

    def text(self, name: str) -> ClipText:
        """The text tower with its tokenizer. Raises ConfigError."""
        ...

    def text_tower(self, space: str) -> str:
        """The text tower of a vector space. Raises ConfigError when there is none."""
        ...

    def is_random(self, name: str) -> bool:
        """Whether its weights are untrained."""
        ...


class ExportedModels:
    """Models of the repository on disk. A model that is there only with random weights takes the place of the real one, if that is allowed."""

    def __init__(self, repository: ModelRepository, chosen: Chosen, *, allow_random: bool) -> None:
        self._repository, self._chosen, self._allow_random = repository, chosen, allow_random

    def names(self) -> Names:
        """Both towers of CLIP have the same weights, so that they speak of the same space."""
        real = self._towers(self._chosen.clip_pretrained)
        twins = self._towers(RANDOM)
        image, text = twins if self._only_random(real, twins) else real
        size, twin = yolo_name(self._chosen.yolo_size), yolo_name(self._chosen.yolo_size, random=True)
        return Names(image, text, twin if self._only_random((size,), (twin,)) else size)

    def faces(self) -> tuple[str, str]:
        """Packs have no random twins."""
        return face_names(self._chosen.face_model)

    def ocr_model(self) -> str:
        """As the settings say."""
        return self._chosen.ocr_model

    def ppocr(self) -> str:
        """The newest set of which all parts are there, else the newest."""
        whole = (variant for variant in PPOCR_SETS if all(self._repository.has(name) for name in ppocr_names(variant)))
        return next(whole, PPOCR_SETS[0])

    def easyocr(self) -> tuple[str, str]:
        """Each half as trained, or its random twin."""
        recogniser = recogniser_for(self.languages())
        pairs = zip(easyocr_names(recogniser), easyocr_names(recogniser, random=True), strict=True)
        detector, reader = (twin if self._only_random((real,), (twin,)) else real for real, twin in pairs)
        return detector, reader

    def languages(self) -> tuple[str, ...]:
        """As the settings say."""
        return known_languages(self._chosen.ocr_languages)

    def characters(self, name: str) -> tuple[str, ...]:
        """From the model's folder. Raises ConfigError."""
        return self._repository.characters(name)

    def caption(self) -> str:
        """The untrained twin where there is nothing better and that is allowed."""
        model, detail = self._chosen.describe_model, self._chosen.describe_detail
        real, twin = caption_name(model, detail), caption_name(model, detail, random=True)
        return twin if self._only_random((real,), (twin,)) else real

    def caption_rules(self, name: str) -> Rules:
        """Raises ConfigError when the tokenizer is missing or broken."""
        return load_rules(self._repository.tokenizer(name))

    def require(self, names: Sequence[str]) -> None:
        """Raises one ConfigError for all that are missing."""
        missing = [name for name in names if not self._repository.has(name)]
        if missing:
            which = "model" if len(missing) == 1 else "models"
            raise ConfigError(f"{which} {', '.join(missing)} not found in {self._repository.root}; run: {export_command(','.join(missing))}")

    def spec(self, name: str) -> ModelSpec:
        """Raises ConfigError when the model is missing, broken, or random without KIZU_ALLOW_RANDOM."""
        if self.is_random(name) and not self._allow_random:
            raise ConfigError(f"model {name} has random weights, its results mean nothing; run: python -m export, or set KIZU_ALLOW_RANDOM=true")
        return self._repository.spec(name)

    def text(self, name: str) -> ClipText:
        """Raises ConfigError when tower or tokenizer is missing or broken."""
        spec = self.spec(name)
        return ClipText(spec, load_tokenizer(self._repository.tokenizer(name), spec.inputs[0].shape[0], spec.preprocessing))

    def text_tower(self, space: str) -> str:
        """Raises ConfigError when no tower of that space is there."""
        found = self._repository.find_space(space, Family.CLIP_TEXT)
        if found is None:
            command = export_command(self.names().text)
            raise ConfigError(f"no text model of the vector space {space} is in {self._repository.root}; run: {command} and ingest the photos again")
        return found

    def is_random(self, name: str) -> bool:
        """Whether its manifest says so. A model that is not there is not random."""
        return self._repository.has(name) and self._repository.manifest(name).is_random

    def _towers(self, tag: str) -> tuple[str, str]:
        return clip_name(self._chosen.clip_model, tag, "image"), clip_name(self._chosen.clip_model, tag, "text")

    def _only_random(self, real: Sequence[str], twins: Sequence[str]) -> bool:
        there = any(self._repository.has(name) for name in real)
        return self._allow_random and not there and any(self._repository.has(name) for name in twins)


class FakeModels:
    """The fake backend's own: nothing on disk, nothing missing."""

    def __init__(self, chosen: Chosen | None = None) -> None:
        self._chosen = chosen or Chosen()

    def names(self) -> Names:
        """Names that no real model has."""
        return Names(fake.IMAGE.name, fake.TEXT.name, fake.OBJECTS.name)

    def faces(self) -> tuple[str, str]:
        """Names that no real pack has."""
        return fake.FACES.name, fake.FACE.name

    def ocr_model(self) -> str:
        """As the settings say."""
        return self._chosen.ocr_model

    def ppocr(self) -> str:
        """A set that no file has."""
        return fake.VARIANT

    def easyocr(self) -> tuple[str, str]:
        """Names that no real model has, whatever the languages."""
        detector, recogniser = (spec.name for spec in fake.EASYOCR)
        return detector, recogniser

    def languages(self) -> tuple[str, ...]:
        """As the settings say."""
        return known_languages(self._chosen.ocr_languages)

    def characters(self, _name: str) -> tuple[str, ...]:
        """Small letters, whoever asks."""
        return fake.CHARACTERS

    def caption(self) -> str:
        """A name that no real captioner has."""
        return fake.CAPTION.name

    def caption_rules(self, name: str) -> Rules:  # noqa: ARG002  # there is one
        """Made-up words."""
        return fake.caption_rules()

    def require(self, names: Sequence[str]) -> None:
        """Nothing is ever missing."""

    def spec(self, name: str) -> ModelSpec:
        """Raises ConfigError for a name that is not its own."""
        for spec in (fake.IMAGE, fake.TEXT, fake.OBJECTS, fake.FACES, fake.FACE, fake.CAPTION, *fake.PPOCR, *fake.EASYOCR):
            if spec.name == name:
                return spec
        raise ConfigError(f"the fake backend has no model {name}; it has {', '.join(self.names())}")

    def text(self, name: str) -> ClipText:
        """Bytes for tokens."""
        return ClipText(self.spec(name), fake.tokenize)

    def text_tower(self, space: str) -> str:
        """Raises ConfigError for any space but its own."""
        if space != fake.SPACE:
            raise ConfigError(f"the fake backend does not know the vector space {space}: it was made by real models; run with --backend cpu")
        return fake.TEXT.name

    def is_random(self, name: str) -> bool:
        """Fake is not random: its names say what it is."""
        return is_random(name)
