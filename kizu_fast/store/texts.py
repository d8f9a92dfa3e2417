"""Texts and captions as rows, and the words by which they are found. Pure."""

import re
import unicodedata
from dataclasses import dataclass

import numpy as np

from kizu_fast.domain import Job, Operation, PhotoResult
from kizu_fast.errors import PermanentError
from kizu_fast.store import UNRUN, storable
from kizu_fast.store.checks import check_finite, frame_of, name_of
from kizu_fast.store.fractions import points_to_fractions

_SHORT = 3  # characters: a shorter query is looked for within words
# scripts that are written without spaces between words: Thai, Lao, Myanmar, Khmer, kana, CJK with its extensions, Hangul
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")


@dataclass(frozen=True, slots=True)
class LineRow:
    """A line of ocr_texts.lines. box: x, y four times in fractions of the upright picture."""

    text: str
    confidence: float
    lang: str
    box: tuple[float, ...]

    def as_json(self) -> dict[str, object]:
        return {"text": self.text, "confidence": self.confidence, "lang": self.lang, "box": list(self.box)}


@dataclass(frozen=True, slots=True)
class TextRow:
    """A row of ocr_texts."""

    model: str
    lines: tuple[LineRow, ...]

    @property
    def full_text(self) -> str:
        return "\n".join(line.text for line in self.lines)

    @property
    def languages(self) -> list[str]:
        return sorted({line.lang for line in self.lines})

    @property
    def confidence(self) -> float:
        return float(np.mean([line.confidence for line in self.lines]))


@dataclass(frozen=True, slots=True)
class CaptionRow:
    """A row of captions."""

    model: str
    caption: str


def text_row(job: Job, result: PhotoResult) -> TextRow | None:
    """Lines in the frame of the database, in reading order; None without a result. Raises PermanentError for numbers that are none, or no frame."""
    if result.texts is None:
        return None
    lines = result.texts.lines
    for line in lines:
        check_finite(job, "texts", line.polygon, np.asarray(line.score))
        if line.polygon.shape != (4, 2):
            raise PermanentError(f"a line of text of {name_of(job)} has no four corners")
    width, height = frame_of(job, result.facts, "texts", count=len(lines))
    rows = tuple(
        LineRow(
            storable(line.text),
            float(line.score),
            storable(line.language),
            tuple(points_to_fractions(line.polygon, width, height).ravel().tolist()),
        )
        for line in lines
    )
    return TextRow(storable(result.models.get(Operation.OCR, UNRUN)), rows)


def caption_row(result: PhotoResult) -> CaptionRow | None:
    """The caption, possibly empty; None without a result."""
    if result.caption is None:
        return None
    return CaptionRow(storable(result.models.get(Operation.DESCRIBE, UNRUN)), storable(result.caption.text).strip())


def within_words(query: str) -> bool:
    """Whether a query is looked for as a part of the text instead of as whole words: scripts without spaces, short ones, and signs such as 100%."""
    return bool(_UNSPACED.search(query)) or len(query.strip()) < _SHORT or any(not word.isalnum() for word in query.split())


def folded(text: str) -> str:
    """Small letters without accents and width variants, as the database folds both the text and the query."""
    parts = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text).lower())
    return unicodedata.normalize("NFC", "".join(sign for sign in parts if not "\u0300" <= sign <= "\u036f"))
