"""The chain on a detector and a recogniser that answer as they are told."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kizu_fast import specs
from kizu_fast.domain import Photo, Texts
from kizu_fast.easyocr import EasyOcr
from kizu_fast.models.easyocr import SURE_TEXT

CHARACTERS = ("", *"abcdefghij ")
Answer = Callable[[dict[str, Any]], dict[str, NDArray[np.generic]]]


class Answering:
    """Runs a chain's parts at once. Bars of text stand where the photo is white; every line reads as spoken says."""

    def __init__(self, *spoken: tuple[str, float]) -> None:
        self.spoken = list(spoken)
        self.rows: list[dict[str, Any]] = []
        self.buckets: list[tuple[int, int] | None] = []

    async def run(self, part: Any, subject: Any) -> Any:
        prepared = part.prepare(subject)
        part.spec.at(prepared.bucket).check_row(prepared.tensors)
        self.buckets.append(prepared.bucket)
        return prepared.finish(self._maps(prepared.tensors) if len(part.spec.inputs) == 1 else self._line(prepared.tensors))

    async def work(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    def _maps(self, row: dict[str, Any]) -> dict[str, NDArray[np.generic]]:
        white = (row["pixels"][::2, ::2, 0] > 128).astype(np.uint8)
        return {"text_map": white * np.uint8(SURE_TEXT), "link_map": np.zeros_like(white)}

    def _line(self, row: dict[str, Any]) -> dict[str, NDArray[np.generic]]:
        self.rows.append(row)
        text, score = self.spoken.pop(0)
        ids = [step for letter in text for step in (CHARACTERS.index(letter), 0)] or [0]
        return {"ids": np.array(ids, np.int32), "scores": np.full(len(ids), score, np.float32)}


def chain(*, longest: int = 2048, languages: tuple[str, ...] = ("en",), known: tuple[str, ...] = ("en",)) -> EasyOcr:
    detector, recogniser = specs.easyocr_names("english_g2")
    return EasyOcr(
        specs.easyocr_detector(detector),
        specs.easyocr_recogniser(recogniser, languages=known),
        CHARACTERS,
        languages=languages,
        longest=longest,
    )


def photo_with(*bars: tuple[int, int, int, int], size: tuple[int, int] = (300, 300), scale: int = 1) -> Photo:
    """White bars (left, top, right, bottom) on grey."""
    pixels = np.full((*size, 3), 90, np.uint8)
    for left, top, right, bottom in bars:
        pixels[top:bottom, left:right] = 255
    return Photo(pixels, size[1] * scale, size[0] * scale)


def read(photo: Photo, runs: Answering, reader: EasyOcr | None = None) -> Texts:
    return asyncio.run((reader or chain()).analyse(photo, runs))


def test_a_photo_without_text_has_no_lines() -> None:
    runs = Answering()
    assert read(photo_with(), runs) == Texts(())
    assert runs.buckets == [(320, 320)]


def test_lines_come_in_reading_order_with_their_polygon_confidence_and_family() -> None:
    found = read(photo_with((20, 200, 200, 220), (20, 40, 200, 60)), Answering(("abc", 0.9), ("de", 0.8)))
    assert [line.text for line in found.lines] == ["abc", "de"]
    first = found.lines[0]
    assert first.language == "english_g2"
    assert first.score == pytest.approx(0.9 ** (3 * 2 / 3**0.5))
    assert first.polygon.dtype == np.float32
    assert first.polygon.shape == (4, 2)
    assert np.allclose(first.polygon[0], (20, 40), atol=10)
    assert np.allclose(first.polygon[2], (200, 60), atol=10)


def test_polygons_are_in_pixels_of_the_original_whatever_was_looked_at() -> None:
    bar = (20, 40, 200, 60)
    near = read(photo_with(bar), Answering(("abc", 0.9))).lines[0].polygon
    scaled_by_the_decoder = read(photo_with(bar, scale=4), Answering(("abc", 0.9))).lines[0].polygon
    assert np.allclose(scaled_by_the_decoder, near * 4)
    limited = read(photo_with((80, 160, 800, 240), size=(1200, 1200)), Answering(("abc", 0.9)), chain(longest=300)).lines[0].polygon
    assert np.allclose(limited[[0, 2]], [(80, 160), (800, 240)], atol=40)


def test_a_line_that_says_little_is_read_again_with_more_contrast_and_the_surer_reading_stays() -> None:
    runs = Answering(("abc", 0.05), ("abd", 0.9))
    assert [line.text for line in read(photo_with((20, 40, 200, 60)), runs).lines] == ["abd"]
    assert len(runs.rows) == 2
    assert int(np.ptp(runs.rows[1]["pixels"])) != int(np.ptp(runs.rows[0]["pixels"]))
    runs = Answering(("abc", 0.05), ("abd", 0.01))
    assert [line.text for line in read(photo_with((20, 40, 200, 60)), runs).lines] == ["abc"]


def test_good_contrast_is_not_read_twice() -> None:
    photo = photo_with((20, 40, 200, 60))
    photo.pixels[photo.pixels == 90] = 0
    runs = Answering(("abc", 0.05))
    assert len(read(photo, runs)) == 1
    assert len(runs.rows) == 1


@pytest.mark.parametrize("text", ["", " "])
def test_a_line_without_a_letter_is_left_out(text: str) -> None:
    assert len(read(photo_with((20, 40, 200, 60)), Answering((text, 0.9), (text, 0.9)))) == 0


def test_the_wanted_languages_go_into_the_graph() -> None:
    runs = Answering(("a", 0.9))
    read(photo_with((20, 40, 200, 60)), runs, chain(known=("de", "en", "fr"), languages=("fr", "de")))
    assert runs.rows[0]["languages"].tolist() == [1, 0, 1]


def test_long_and_short_lines_have_rows_of_their_own_width() -> None:
    runs = Answering(("a", 0.9), ("b", 0.9))
    read(photo_with((20, 40, 280, 50), (20, 200, 80, 250)), runs)
    widths = sorted(bucket[1] for bucket in runs.buckets[1:] if bucket)
    assert widths[0] < widths[1]


def test_parts_are_loaded_together_and_results_filed_under_the_recognisers_name() -> None:
    reader = chain()
    assert reader.name == "easyocr-english-g2"
    assert [part.spec.name for part in reader.parts] == list(specs.easyocr_names("english_g2"))


def test_random_weights_show_in_the_names() -> None:
    names = specs.easyocr_names("japanese_g2", random=True)
    assert names == ("easyocr-craft-random-detector", "easyocr-japanese-g2-random-recogniser")
    assert all(map(specs.is_random, names))
    assert not any(map(specs.is_random, specs.easyocr_names("japanese_g2")))
