"""PP-OCR on the real backend: a photo's bytes become lines, whatever else is in the batch."""

import asyncio
from pathlib import Path

import cv2
import numpy as np
import pytest
from pictures import encoded

from kizu_fast.backends.repository import ModelRepository
from kizu_fast.builtin import Chosen
from kizu_fast.domain import Operation, Texts
from kizu_fast.engine import Engine, EngineConfig, open_engine
from kizu_fast.errors import ConfigError
from kizu_fast.specs import ppocr_names

WORDS = ("INVOICE 4711", "Total 89.90", "Kodak Gold 200")


@pytest.fixture
def config(ppocr_models: Path) -> EngineConfig:
    return EngineConfig(model_repository=ppocr_models, lanes=2, chosen=Chosen(ocr_model="ppocr"), operations=(Operation.OCR,))


def page(quarters: int = 0, scale: int = 1) -> bytes:
    """WORDS one below the other on white, the picture turned left so many times."""
    pixels = np.full((300 * scale, 500 * scale, 3), 255, np.uint8)
    for row, words in enumerate(WORDS):
        cv2.putText(pixels, words, (20 * scale, (70 + 80 * row) * scale), cv2.FONT_HERSHEY_DUPLEX, 1.4 * scale, (20, 20, 20), 2 * scale, cv2.LINE_AA)
    return encoded(np.ascontiguousarray(np.rot90(pixels, quarters)), "PNG")


async def read(engine: Engine, data: bytes) -> Texts:
    photo, _ = await engine.decode(data, ["ocr"])
    analysis = await engine.analyse(photo, ["ocr"])
    assert analysis.failures == {}
    assert analysis.texts is not None
    return analysis.texts


def squeezed(texts: Texts) -> list[str]:
    return [line.text.replace(" ", "") for line in texts.lines]


async def test_pages_are_read_however_they_lie_and_whoever_shares_their_batch(config: EngineConfig) -> None:
    wanted = [words.replace(" ", "") for words in WORDS]
    async with open_engine(config) as engine:
        alone = await read(engine, page())
        together = await asyncio.gather(*(read(engine, page(quarters)) for quarters in (0, 1, 2, 3)))
        times = engine.stats().models
    assert [squeezed(texts) for texts in together] == [wanted] * 4
    assert [line.score for line in together[0].lines] == [line.score for line in alone.lines]
    for one, other in zip(together[0].lines, alone.lines, strict=True):
        np.testing.assert_array_equal(one.polygon, other.polygon)
    assert times[ppocr_names("v6-small")[2]].inferences == 5 * len(WORDS)


async def test_polygons_begin_at_the_text_s_own_top_left(config: EngineConfig) -> None:
    async with open_engine(config) as engine:
        upright, turned = [(await read(engine, page(quarters))).lines[0].polygon for quarters in (0, 2)]
    assert upright[0] == pytest.approx([20, 33], abs=14)
    assert turned[0] == pytest.approx([500 - 20, 300 - 33], abs=14)
    assert (upright[1] - upright[0])[0] > 200
    assert (turned[1] - turned[0])[0] < -200


async def test_polygons_are_pixels_of_the_original(config: EngineConfig) -> None:
    """A picture five times as large is decoded smaller, and its lines lie five times as far out."""
    async with open_engine(config) as engine:
        small, large = (await read(engine, page()), await read(engine, page(scale=5)))
    for one, other in zip(small.lines, large.lines, strict=True):
        np.testing.assert_allclose(other.polygon, 5 * one.polygon, atol=30)


async def test_a_set_that_is_not_whole_is_missing_by_name(tmp_path: Path) -> None:
    config = EngineConfig(model_repository=tmp_path, lanes=1, chosen=Chosen(ocr_model="ppocr"), operations=(Operation.OCR,))
    with pytest.raises(ConfigError, match=f"models {', '.join(ppocr_names('v6-small'))} not found in .* run: python -m export --models"):
        async with open_engine(config):
            pass


def test_the_characters_lie_beside_the_recogniser(ppocr_models: Path) -> None:
    characters = ModelRepository(ppocr_models).characters(ppocr_names("v6-small")[2])
    assert (characters[0], characters[-1]) == ("", " ")
    assert {"ß", "é", "ñ", "海", "の", "A"} <= set(characters)
    assert len(set(characters)) == len(characters)
