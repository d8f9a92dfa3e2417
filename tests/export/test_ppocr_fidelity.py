"""Our lines of PP-OCR against rapidocr's own pipeline with the same files, on pictures with text in many languages."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from export import text_fidelity
from export.text_fidelity import Judged, Sessions
from kizu_fast.models import ppocr
from kizu_fast.ppocr import Look, PpOcr
from kizu_fast.specs import PPOCR_NEAR, PPOCR_WIDTHS

RENDERED_BOUND = 0.06  # of pictures that are rendered and not turned
LANGUAGES = {"de", "en", "es", "fr", "ja", "zh"}


@pytest.fixture(scope="module")
def ours(ppocr_models: Path) -> tuple[PpOcr, Sessions]:
    return text_fidelity.ppocr(ppocr_models)


@pytest.fixture(scope="module")
def judged(ours: tuple[PpOcr, Sessions], ppocr_weights: Path, shared: Path) -> list[Judged]:
    """All pictures, read by both."""
    pictures = text_fidelity.truth(shared / "images" / "ocr")
    found = list(text_fidelity.judge(pictures, text_fidelity.reader(*ours), text_fidelity.rapidocr(ppocr_weights)))
    print("\n" + "\n".join(text_fidelity.lines("ppocr", text_fidelity.figures(found))))
    return found


def test_we_misread_hardly_more_than_the_original_library(judged: list[Judged]) -> None:
    table = text_fidelity.figures(judged)
    assert table["all"]["pictures"] >= 70
    assert set(table) >= LANGUAGES
    assert text_fidelity.holds(table)


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_language_that_the_characters_hold_is_read(judged: list[Judged], language: str) -> None:
    """Upright rendered lines: the files know these letters, so hardly one may be wrong."""
    upright = [one for one in judged if one.picture.language == language and one.picture.rendered and not one.picture.rotation]
    assert upright
    assert sum(one.ours for one in upright) <= RENDERED_BOUND * sum(one.characters for one in upright)


def test_turned_lines_are_read_as_well(judged: list[Judged]) -> None:
    turned = [one for one in judged if one.picture.rotation and one.picture.language in LANGUAGES]
    assert {90, 180} <= {one.picture.rotation for one in turned}
    assert sum(one.ours for one in turned) <= RENDERED_BOUND * sum(one.characters for one in turned)


def test_a_row_alone_and_in_a_batch_of_eight_give_the_same_answer(ours: tuple[PpOcr, Sessions], shared: Path) -> None:
    chain, sessions = ours
    photo = text_fidelity.photo(shared / "images" / "ocr" / "real-easyocr-english.jpg")
    frame = ppocr.frame_for(photo.height, photo.width, PPOCR_NEAR, longest=2048)
    level = asyncio.run(sessions.run(chain.detector, Look(photo, frame)))
    crops = ppocr.cut(photo, ppocr.quads(level, frame, photo))[:8]
    assert len(crops) == 8
    looks = [chain.detector.prepare(Look(photo, frame)).tensors["pixels"] for _ in range(3)]
    rows = {
        chain.detector: [np.roll(pixels, 7 * i, axis=1) for i, pixels in enumerate(looks)],
        chain.classifier: [chain.classifier.prepare(crop).tensors["pixels"] for crop in crops],
        chain.recogniser: [ppocr.fitted(crop, PPOCR_WIDTHS[1]) for crop in crops],
    }
    for part, pixels in rows.items():
        together = sessions.infer(part.spec.name, part.spec.stack([{"pixels": one} for one in pixels]))
        for i, one in enumerate(pixels):
            alone = sessions.infer(part.spec.name, {"pixels": one[None]})
            for name, value in alone.items():
                np.testing.assert_array_equal(value[0], together[name][i], err_msg=f"{part.spec.name}.{name}")


def test_tensors_weigh_less_than_the_pictures(ours: tuple[PpOcr, Sessions]) -> None:
    """What leaves the graphs beside the uint8 that goes in: a third for the detector, an eighteenth for a line."""
    chain, sessions = ours
    for part, shape in ((chain.detector, (544, 960)), (chain.recogniser, (48, 320)), (chain.classifier, (48, 192))):
        pixels = np.full((1, *shape, 3), 255, np.uint8)
        outputs = sessions.infer(part.spec.name, {"pixels": pixels})
        assert sum(value.nbytes for value in outputs.values()) <= 0.34 * pixels.nbytes
