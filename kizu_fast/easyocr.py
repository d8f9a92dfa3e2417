"""EasyOCR: text of a photo found, cut out, read. One detector row per photo, one or two recogniser rows per line, batched across photos."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kizu_fast.domain import Photo, TextLine, Texts
from kizu_fast.errors import ConfigError
from kizu_fast.models import easyocr
from kizu_fast.models.easyocr import Crop, Reading, Words
from kizu_fast.models.text import reading_order
from kizu_fast.registry import Prepared, Runs
from kizu_fast.specs import ModelSpec, Tensors


class WordDetector:
    """CRAFT: a seen picture (h, w, 3) to the places of text in it."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def prepare(self, subject: NDArray[np.uint8]) -> Prepared[Words]:
        """The picture at the top left of its bucket, uint8 (*bucket, 3)."""
        canvas = easyocr.canvas_for(subject.shape[0], subject.shape[1], self.spec.buckets)
        pixels = easyocr.framed(subject, canvas)
        return Prepared({self.spec.inputs[0].name: pixels}, lambda outputs: easyocr.words(outputs, canvas), canvas.bucket)


class LineRecogniser:
    """A line's crop to its text."""

    def __init__(self, spec: ModelSpec, characters: Sequence[str], languages: Sequence[str]) -> None:
        """languages: those of spec.labels that are wanted."""
        self.spec, self._characters = spec, characters
        self._languages = np.isin(np.array(spec.labels), np.array(languages)).astype(np.uint8)

    def prepare(self, subject: Crop) -> Prepared[Reading]:
        """The crop in the narrowest bucket that holds it, uint8 (64, width), and the wanted languages."""
        bucket = easyocr.row_bucket(subject, self.spec.buckets)
        pixels, languages = (tensor.name for tensor in self.spec.inputs)
        return Prepared({pixels: easyocr.row(subject, bucket), languages: self._languages}, self._finish, bucket)

    def _finish(self, outputs: Tensors) -> Reading:
        return easyocr.read(outputs, self._characters)


class Shelf(Protocol):
    """Where the halves come from: what is asked of the stock of models."""

    def easyocr(self) -> tuple[str, str]:
        """Names of detector and recogniser for the wanted languages. Raises ConfigError for languages that no recogniser reads."""
        ...

    def languages(self) -> tuple[str, ...]:
        """The wanted languages. Raises ConfigError."""
        ...

    def require(self, names: Sequence[str]) -> None:
        """Raises one ConfigError for all that are missing."""
        ...

    def spec(self, name: str) -> ModelSpec:
        """Raises ConfigError."""
        ...

    def characters(self, name: str, /) -> tuple[str, ...]:
        """Raises ConfigError."""
        ...


def load(shelf: Shelf, longest: int) -> "EasyOcr":
    """The reader of the wanted languages. Raises one ConfigError for all that is missing."""
    names = shelf.easyocr()
    shelf.require(names)
    detector, recogniser = map(shelf.spec, names)
    return EasyOcr(detector, recogniser, shelf.characters(recogniser.name), languages=shelf.languages(), longest=longest)


def name_in(shelf: Shelf) -> str:
    """What its results are filed under. Languages that are wrong have a name, too: they fail the operation in load(), not the engine."""
    try:
        return reader_name(shelf.easyocr()[1])
    except ConfigError:
        return "easyocr"


def reader_name(recogniser: str) -> str:
    """easyocr-english-g2-recogniser to easyocr-english-g2."""
    return recogniser.removesuffix("-recogniser")


class EasyOcr:
    """CRAFT and the one recogniser of the wanted languages. Results are filed under its name."""

    def __init__(self, detector: ModelSpec, recogniser: ModelSpec, characters: Sequence[str], *, languages: Sequence[str], longest: int) -> None:
        """longest: pixels that no side is looked at above."""
        self.name = reader_name(recogniser.name)
        self._family = self.name.removeprefix("easyocr-").replace("-", "_")
        self._longest = longest
        self.detector, self.recogniser = WordDetector(detector), LineRecogniser(recogniser, characters, languages)
        self.parts: Sequence[WordDetector | LineRecogniser] = (self.detector, self.recogniser)

    async def analyse(self, photo: Photo, runs: Runs) -> Texts:
        """All lines of one photo in reading order, those without any letter left out. Raises PermanentError."""
        picture = await runs.work(easyocr.seen, photo, self._longest)
        found = await runs.run(self.detector, picture)
        crops = await runs.work(easyocr.crops, picture, found)
        readings = await asyncio.gather(*(self._read(crop, runs) for crop in crops))
        lines = [(crop.quad, reading) for crop, reading in zip(crops, readings, strict=True) if reading.text.strip()]
        scale = np.array([photo.width / picture.shape[1], photo.height / picture.shape[0]])
        return Texts(tuple(self._line(*lines[i], scale) for i in reading_order([quad for quad, _ in lines])))

    async def _read(self, crop: Crop, runs: Runs) -> Reading:
        """Once as it is; a line that says little once more with its contrast raised, and then whatever is surer."""
        first: Reading = await runs.run(self.recogniser, crop)
        if first.confidence >= easyocr.LOW_CONFIDENCE:
            return first
        stretched = await runs.work(easyocr.with_contrast, crop)
        if stretched is None:
            return first
        second: Reading = await runs.run(self.recogniser, stretched)
        return first if first.confidence > second.confidence else second

    def _line(self, quad: NDArray[np.float64], reading: Reading, scale: NDArray[np.float64]) -> TextLine:
        return TextLine(reading.text, reading.confidence, (quad * scale).astype(np.float32), self._family)
