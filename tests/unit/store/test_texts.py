"""kizu_fast/store/texts.py: texts and captions as rows, and which of them say what was asked."""

from uuid import UUID

import numpy as np
import pytest

from kizu_fast.domain import Asset, Caption, Job, Operation, PhotoFacts, PhotoResult, TextLine, Texts
from kizu_fast.errors import PermanentError
from kizu_fast.store.rows import OutcomeRow, outcome_rows, rows_of
from kizu_fast.store.texts import Read, TextRow, best_read, caption_row, text_row
from kizu_fast.wording import asked

CORNERS = np.array([[4, 2], [36, 2], [36, 10], [4, 10]], np.float32)


def job() -> Job:
    return Job(UUID(int=1), Asset(UUID(int=2), UUID(int=3), b"/a.jpg"), ("ocr",), 1, 3, 1)


def line(text: str, score: float = 0.5, polygon: np.ndarray = CORNERS, language: str = "english_g2") -> TextLine:
    return TextLine(text, score, polygon, language)


FACTS = PhotoFacts(40, 20)


def result(*lines: TextLine, facts: PhotoFacts | None = FACTS, caption: str | None = None) -> PhotoResult:
    models = {Operation.OCR: "ppocr"} | ({} if caption is None else {Operation.DESCRIBE: "florence2"})
    return PhotoResult(facts, 1, 2, b"x" * 32, texts=Texts(lines), caption=None if caption is None else Caption(caption), models=models)


def test_lines_become_a_row_in_fractions_and_reading_order() -> None:
    row = text_row(job(), result(line("EXIT", 0.9), line("way  out\n", 0.7, language="latin_g2")))

    assert row is not None
    assert (row.model, row.full_text, row.languages) == ("ppocr", "EXIT\nway out", ["english_g2", "latin_g2"])
    assert row.confidence == pytest.approx(0.8)
    assert row.lines[0].box == pytest.approx((0.1, 0.1, 0.9, 0.1, 0.9, 0.5, 0.1, 0.5))
    assert row.lines[0].as_json() == {"text": "EXIT", "confidence": 0.9, "lang": "english_g2", "box": list(row.lines[0].box)}


def test_no_text_is_a_result_without_a_line_and_needs_no_frame() -> None:
    row = text_row(job(), result(line("  "), facts=None))

    assert row == TextRow("ppocr", ())
    assert row.confidence is None
    assert text_row(job(), PhotoResult(None, None, None, None)) is None


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (line("a", float("nan")), "not finite"),
        (line("a", polygon=np.full((4, 2), np.inf, np.float32)), "not finite"),
        (line("a", polygon=CORNERS[:3]), "four corners"),
    ],
)
def test_lines_that_no_table_may_hold_are_refused(odd: TextLine, words: str) -> None:
    with pytest.raises(PermanentError, match=words):
        rows_of(job(), result(odd))


def test_lines_without_any_frame_are_refused() -> None:
    with pytest.raises(PermanentError, match=r"the size of /a\.jpg is unknown"):
        text_row(job(), result(line("a"), facts=None))


def test_what_a_database_cannot_store_is_taken_out() -> None:
    row = text_row(job(), result(line("A\0B\udcff")))
    assert row is not None
    assert row.full_text == "AB\\udcff"


def test_a_caption_is_one_line_possibly_empty() -> None:
    found = caption_row(result(caption=" a dog\n on a sofa "))
    assert found is not None
    assert (found.model, found.caption) == ("florence2", "a dog on a sofa")
    empty = caption_row(result(caption="  "))
    assert empty is not None
    assert empty.caption == ""
    assert caption_row(result()) is None


def test_the_outcomes_count_lines_and_captions_and_name_their_models() -> None:
    assert outcome_rows(result(line("a"), line(" "), line("b"), caption="a dog")) == (
        OutcomeRow("ocr", "ppocr", "done", 2),
        OutcomeRow("describe", "florence2", "done", 1),
    )
    assert outcome_rows(result(caption=" ")) == (OutcomeRow("ocr", "ppocr", "done", 0), OutcomeRow("describe", "florence2", "done", 0))


def test_the_best_texts_come_first_with_the_lines_that_say_it() -> None:
    texts = [
        Read(UUID(int=n), text, text.lower()) for n, text in enumerate(["Invoice", "INVOICE 4711", "Total\nInvoice\n4711\n12.00", "No"], start=1)
    ]

    hits = best_read(asked("invoice 4711"), texts, 10)

    assert [(hit.asset_id.int, hit.score, hit.snippet) for hit in hits] == [
        (2, 1.0, "INVOICE 4711"),
        (3, 1.0, "Invoice 4711"),
        (1, 0.5, "Invoice"),
    ]
    assert len(best_read(asked("invoice"), texts, 1)) == 1
