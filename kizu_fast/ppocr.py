"""PP-OCR: lines of a photo found, turned upright, read. One row per look and two per line, batched across photos."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kizu_fast.domain import Photo, Texts
from kizu_fast.models import ppocr, text
from kizu_fast.models.ppocr import Crop, Frame
from kizu_fast.registry import Prepared, Runs
from kizu_fast.specs import PPOCR_FAR, PPOCR_NEAR, ModelSpec, Tensors

MIN_GAIN = 1.2  # a second look has to show at least so many times more


class Look(NamedTuple):
    """A photo in one of the detector's buckets."""

    photo: Photo
    frame: Frame


class LineDetector:
    """A photo in a bucket to its map of text."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def prepare(self, subject: Look) -> Prepared[NDArray[np.uint8]]:
        """The photo at the top left of its bucket, uint8 (*bucket, 3)."""
        pixels = ppocr.framed(subject.photo, subject.frame)
        return Prepared({self.spec.inputs[0].name: pixels}, self._finish, subject.frame.bucket)

    def _finish(self, outputs: Tensors) -> NDArray[np.uint8]:
        return np.array(outputs[self.spec.outputs[0].name], np.uint8)  # a copy: the batch it lies in is let go


class LineClassifier:
    """A crop to the probability that it stands on its head."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def prepare(self, subject: Crop) -> Prepared[float]:
        """The crop in the classifier's one shape, uint8 (48, 192, 3)."""
        pixels = ppocr.fitted(subject, self.spec.inputs[0].shape[1])
        return Prepared({self.spec.inputs[0].name: pixels}, self._finish)

    def _finish(self, outputs: Tensors) -> float:
        return float(outputs[self.spec.outputs[0].name][1])


class LineRecogniser:
    """A crop to its text and the mean score of its letters."""

    def __init__(self, spec: ModelSpec, characters: Sequence[str]) -> None:
        self.spec, self._characters = spec, characters
        self._widths = sorted(width for _, width in spec.buckets)

    def prepare(self, subject: Crop) -> Prepared[tuple[str, float]]:
        """The crop in the narrowest bucket that holds it, uint8 (48, width, 3)."""
        width = text.width_for(ppocr.line_width(subject), self._widths)
        pixels = ppocr.fitted(subject, width)
        return Prepared({self.spec.inputs[0].name: pixels}, self._finish, (ppocr.LINE_HEIGHT, width))

    def _finish(self, outputs: Tensors) -> tuple[str, float]:
        return ppocr.line(outputs, self._characters)


class PpOcr:
    """A set of detector, classifier and recogniser. Results are filed under the set's name."""

    def __init__(self, name: str, specs: Sequence[ModelSpec], characters: Sequence[str], *, longest: int) -> None:
        """specs: detector, classifier, recogniser. longest: pixels that no side is looked at above."""
        detector, classifier, recogniser = specs
        self.name, self._longest = name, longest
        self.detector, self.classifier = LineDetector(detector), LineClassifier(classifier)
        self.recogniser = LineRecogniser(recogniser, characters)
        self.parts: Sequence[LineDetector | LineClassifier | LineRecogniser] = (self.detector, self.classifier, self.recogniser)

    async def analyse(self, photo: Photo, runs: Runs) -> Texts:
        """All lines of one photo in reading order. Raises PermanentError."""
        crops = await self._find(photo, runs)
        if not crops:
            return Texts(())
        turned = await asyncio.gather(*(runs.run(self.classifier, crop) for crop in crops))
        crops = sorted(ppocr.upright(crops, turned), key=ppocr.line_width)  # lines of one width meet in one batch
        read = await asyncio.gather(*(runs.run(self.recogniser, crop) for crop in crops))
        return Texts(await runs.work(ppocr.texts, crops, read, self.name))

    async def _find(self, photo: Photo, runs: Runs) -> list[Crop]:
        """Lines cut out of the photo. It is looked at small; where that shows small print and the photo has more to show, again larger."""
        near, far = (ppocr.frame_for(photo.height, photo.width, buckets, longest=self._longest) for buckets in (PPOCR_NEAR, PPOCR_FAR))
        found = await self._look(photo, near, runs)
        more = near.inner_width * MIN_GAIN <= min(far.inner_width, photo.pixels.shape[1])
        if more and ppocr.small_print(found, near, photo):
            found = await self._look(photo, far, runs)
        crops: list[Crop] = await runs.work(ppocr.cut, photo, found) if len(found) else []
        return crops

    async def _look(self, photo: Photo, frame: Frame, runs: Runs) -> NDArray[np.float32]:
        level = await runs.run(self.detector, Look(photo, frame))
        quads: NDArray[np.float32] = await runs.work(ppocr.quads, level, frame, photo)
        return quads
