"""Texts and captions as rows, and which of them say what was asked. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from kizu_fast.domain import Job, Operation, PhotoResult, TextLine
from kizu_fast.errors import PermanentError
from kizu_fast.store import UNRUN, Hit, storable
from kizu_fast.store.checks import check_finite, frame_of, name_of
from kizu_fast.store.fractions import points_to_fractions
from kizu_fast.wording import Asked, said, snippet

_CORNERS = (4, 2)


@dataclass(frozen=True, slots=True)
class LineRow:
    """A line of ocr_texts.lines. box: x, y four times in fractions of the upright picture."""

    text: str
    confidence: float
    lang: str
    box: tuple[float, ...]

    def as_json(self) -> dict[str, object]:
        """An element of the column lines."""
        return {"text": self.text, "confidence": self.confidence, "lang": self.lang, "box": list(self.box)}


@dataclass(frozen=True, slots=True)
class TextRow:
    """A row of ocr_texts. A photo without a line has none: full_text would say nothing."""

    model: str
    lines: tuple[LineRow, ...]

    @property
    def full_text(self) -> str:
        """One line of the photo on each line, in reading order."""
        return "\n".join(line.text for line in self.lines)

    @property
    def languages(self) -> list[str]:
        """Families of the recognisers that read something."""
        return sorted({line.lang for line in self.lines})

    @property
    def confidence(self) -> float | None:
        """The mean over the lines; None without any."""
        return float(np.mean([line.confidence for line in self.lines])) if self.lines else None


@dataclass(frozen=True, slots=True)
class CaptionRow:
    """A row of captions. An empty caption has none."""

    model: str
    caption: str


def text_row(job: Job, result: PhotoResult) -> TextRow | None:
    """Lines in the frame of the database, in reading order; None without a result. Raises PermanentError for numbers that are none, or no frame.

    A line in which nothing but spaces was read is no line.
    """
    if result.texts is None:
        return None
    lines = [line for line in result.texts.lines if line.text.strip()]
    for line in lines:
        check_finite(job, "texts", line.polygon, np.asarray(line.score))
        if line.polygon.shape != _CORNERS:
            raise PermanentError(f"a line of text of {name_of(job)} has no four corners")
    width, height = frame_of(job, result.facts, "texts", count=len(lines))
    rows = tuple(_line(line, width, height) for line in lines)
    return TextRow(storable(result.models.get(Operation.OCR, UNRUN)), rows)


def _line(line: TextLine, width: int, height: int) -> LineRow:
    box = points_to_fractions(line.polygon, width, height).ravel().tolist()
    return LineRow(" ".join(storable(line.text).split()), float(line.score), storable(line.language), tuple(box))


def caption_row(result: PhotoResult) -> CaptionRow | None:
    """The caption, possibly empty; None without a result."""
    if result.caption is None:
        return None
    return CaptionRow(storable(result.models.get(Operation.DESCRIBE, UNRUN)), " ".join(storable(result.caption.text).split()))


@dataclass(frozen=True, slots=True)
class Read:
    """What was read in a photo, or written about it: as it is, and folded. Lines of both belong together."""

    asset_id: UUID
    shown: str
    folded: str


def best_read(what: Asked, texts: Iterable[Read], limit: int, *, inflected: bool = False) -> list[Hit]:
    """Those that say something of what was asked, best first, ties by asset; with the lines that say it."""
    scored = [(said(what, text.folded, inflected=inflected), text) for text in texts]
    best = sorted((pair for pair in scored if pair[0] > 0), key=lambda pair: (-pair[0], pair[1].asset_id))[:limit]
    return [Hit(text.asset_id, score, snippet(what, text.shown.split("\n"), fold=text.folded.split("\n"))) for score, text in best]
