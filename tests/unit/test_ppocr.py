"""The chain of PP-OCR: which looks are taken, and what becomes of the lines."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import jpeg, scene

from kizu_fast import specs
from kizu_fast.backends import fake
from kizu_fast.backends.fake import FakeBackend
from kizu_fast.builtin import Chosen
from kizu_fast.domain import Operation, Photo, Texts
from kizu_fast.engine import EngineConfig, open_engine
from kizu_fast.models.ppocr import Frame
from kizu_fast.ppocr import LineClassifier, LineDetector, LineRecogniser, Look, PpOcr
from kizu_fast.specs import PPOCR_FAR, PPOCR_NEAR, PPOCR_WIDTHS

CHARACTERS = ("", "a", "b", "c", " ")
DETECTOR, CLASSIFIER, RECOGNISER = fake.PPOCR
CONFIG = EngineConfig(model_repository=Path("nowhere"), backend="fake", lanes=2, chosen=Chosen(ocr_model="ppocr"), operations=(Operation.OCR,))


class Scripted:
    """Graphs that answer as they are told, one row a run; what they were asked is kept."""

    def __init__(
        self, bars: Callable[[tuple[int, int]], list[tuple[int, int, int, int]]], turned: float = 0.0, ids: tuple[int, ...] = (1, 0, 2)
    ) -> None:
        self.asked: list[tuple[str, tuple[int, ...]]] = []
        self._bars, self._turned, self._ids = bars, turned, ids

    async def run(self, part: Any, subject: Any) -> Any:
        prepared = part.prepare(subject)
        part.spec.check_row(prepared.tensors) if prepared.bucket is None else part.spec.at(prepared.bucket).check_row(prepared.tensors)
        shape = prepared.tensors["pixels"].shape[:2]
        self.asked.append((part.spec.name.rpartition("-")[2], shape))
        return prepared.finish(self._answer(part, shape))

    async def work(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)

    def _answer(self, part: Any, shape: tuple[int, int]) -> dict[str, np.ndarray]:
        if isinstance(part, LineClassifier):
            return {"turned": np.array([1 - self._turned, self._turned], np.float32)}
        if isinstance(part, LineRecogniser):
            return {"ids": np.array(self._ids, np.int32), "scores": np.full(len(self._ids), 0.9, np.float32)}
        level = np.zeros(shape, np.uint8)
        for left, top, right, bottom in self._bars(shape):
            level[top:bottom, left:right] = 255
        return {"text": level}

    def looks(self) -> list[tuple[int, ...]]:
        return [shape for part, shape in self.asked if part == "detector"]


def read(photo: Photo, graphs: Scripted, longest: int = 2048) -> Texts:
    chain = PpOcr("ppocr-fake", fake.PPOCR, CHARACTERS, longest=longest)
    return asyncio.run(chain.analyse(photo, graphs))


def photo(height: int, width: int, scale: int = 1) -> Photo:
    return Photo(np.zeros((height, width, 3), np.uint8), width * scale, height * scale)


def nothing(_shape: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    return []


def one_bar(_shape: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    return [(40, 40, 200, 60)]


def test_a_photo_without_text_is_looked_at_once() -> None:
    graphs = Scripted(nothing)
    assert read(photo(1512, 2016), graphs) == Texts(())
    assert graphs.asked == [("detector", (736, 960))]


def small_bar(_shape: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    return [(40, 40, 200, 43)]


def test_a_large_photo_with_small_print_is_looked_at_again_in_a_larger_bucket() -> None:
    graphs = Scripted(small_bar)
    found = read(photo(1512, 2016, scale=2), graphs)
    assert graphs.looks() == [(736, 960), (960, 1280)]
    (line,) = found.lines
    assert line.text == "ab"
    low, high = line.polygon.min(axis=0), line.polygon.max(axis=0)
    assert (low + high) / 2 == pytest.approx([120 * 3.15, 41.5 * 3.15], abs=4)  # 4032 pixels on 1280


def test_a_large_photo_with_large_letters_is_not() -> None:
    graphs = Scripted(one_bar)
    read(photo(1512, 2016, scale=2), graphs)
    assert graphs.looks() == [(736, 960)]


@pytest.mark.parametrize("size", [(480, 640), (736, 960), (100, 300), (800, 1100)])
def test_nor_is_a_photo_that_has_no_more_to_show(size: tuple[int, int]) -> None:
    graphs = Scripted(small_bar)
    read(photo(*size), graphs)
    assert len(graphs.looks()) == 1


def test_a_limit_to_the_longer_side_holds_for_both_looks() -> None:
    graphs = Scripted(small_bar)
    read(photo(1512, 2016), graphs, longest=640)
    assert len(graphs.looks()) == 1


def test_every_line_is_turned_upright_and_read() -> None:
    graphs = Scripted(lambda _: [(40, 40, 200, 60), (40, 120, 320, 140)])
    found = read(photo(736, 960), graphs)
    assert [line.text for line in found.lines] == ["ab", "ab"]
    assert [part for part, _ in graphs.asked] == ["detector", "classifier", "classifier", "recogniser", "recogniser"]
    assert found.lines[0].polygon[0][1] < found.lines[1].polygon[0][1]


def test_a_line_on_its_head_has_its_polygon_turned_round() -> None:
    up = read(photo(736, 960), Scripted(one_bar)).lines[0].polygon
    down = read(photo(736, 960), Scripted(one_bar, turned=0.99)).lines[0].polygon
    np.testing.assert_array_equal(down, np.roll(up, 2, axis=0))


def test_lines_in_which_nothing_is_read_are_none() -> None:
    assert len(read(photo(736, 960), Scripted(one_bar, ids=(0, 0, 0)))) == 0


def test_lines_go_into_the_narrowest_bucket_by_width() -> None:
    graphs = Scripted(lambda _: [(20, 300, 900, 320), (40, 40, 100, 60)])
    read(photo(736, 960), graphs)
    widths = [shape[1] for part, shape in graphs.asked if part == "recogniser"]
    assert widths == sorted(widths)
    assert set(widths) <= set(PPOCR_WIDTHS)


def test_the_map_outlives_its_batch() -> None:
    """What finish() returns is a copy: views into the batch keep all of it in memory."""
    level = np.zeros(PPOCR_NEAR[0], np.uint8)
    prepared = LineDetector(DETECTOR).prepare(Look(photo(100, 100), Frame(PPOCR_NEAR[0], 100, 100)))
    assert not np.shares_memory(prepared.finish({"text": level}), level)


async def test_the_same_photo_gets_the_same_words_from_the_fake_backend() -> None:
    texts = []
    for _ in range(2):
        async with open_engine(CONFIG) as engine:
            decoded = [(await engine.decode(jpeg(scene(640 + 8 * n, 480)), ["ocr"]))[0] for n in range(6)]
            found = await asyncio.gather(*(engine.analyse(one, ["ocr"]) for one in decoded))
            texts.append([[line.text for line in one.texts.lines] for one in found if one.texts is not None])
            assert {one.models[Operation.OCR] for one in found} == {"ppocr-fake"}
    assert texts[0] == texts[1]
    assert any(words for photos in texts[0] for words in photos)


async def test_lines_of_many_photos_share_batches() -> None:
    backend = FakeBackend(lanes=1)
    async with open_engine(CONFIG, backend=backend) as engine:
        photos = [Photo(np.random.default_rng(n).integers(0, 255, (480, 640, 3), np.uint8), 640, 480) for n in range(12)]
        await asyncio.gather(*(engine.analyse(one, ["ocr"]) for one in photos))
    rows = [rows for name, rows in backend.batches if name == CLASSIFIER.name]
    assert max(rows) > 1


async def test_an_unloaded_reader_is_gone_and_comes_back() -> None:
    async with open_engine(CONFIG) as engine:
        assert set(engine.running()) == {spec.name for spec in fake.PPOCR}
        await engine.unload("ocr", "ppocr-fake")
        assert not engine.running()
        found = await engine.analyse(photo(480, 640), ["ocr"])
        assert found.texts is not None


def test_the_specs_are_what_the_chain_sends() -> None:
    assert DETECTOR.buckets == (*PPOCR_FAR, *PPOCR_NEAR)
    assert all(side % 32 == 0 for bucket in DETECTOR.buckets for side in bucket)
    assert RECOGNISER.at((48, 320)).inputs[0].shape == (48, 320, 3)
    assert all(width % 8 == 0 for width in PPOCR_WIDTHS)
    assert specs.ppocr_names("v6-small")[1] == "ppocr-v6-small-classifier"
