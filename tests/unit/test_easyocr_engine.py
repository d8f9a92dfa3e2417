"""EasyOCR through the engine: the default reader of OCR_MODEL=easyocr, and what its settings do when they are wrong."""

from pathlib import Path

import numpy as np
import pytest

from kizu_fast.backends import fake
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.builtin import Chosen, ExportedModels, FakeModels
from kizu_fast.domain import Operation, Photo
from kizu_fast.engine import EngineConfig, open_engine
from kizu_fast.errors import ConfigError, OperationUnavailable

EASYOCR = Chosen(ocr_model="easyocr")
PHOTO = Photo(np.random.default_rng(3).integers(0, 255, (480, 640, 3), np.uint8), 1280, 960)


def config(chosen: Chosen = EASYOCR, *, backend: str = "fake", operations: tuple[str, ...] = ("ocr",), root: Path = Path("nowhere")) -> EngineConfig:
    return EngineConfig(model_repository=root, backend=backend, chosen=chosen, operations=operations)


async def test_the_fake_reader_finds_lines_inside_the_original() -> None:
    async with open_engine(config()) as engine:
        results = [(await engine.see(Operation.OCR, Photo(np.roll(PHOTO.pixels, i), 1280, 960))) for i in range(4)]
    assert {name for name, _ in results} == {"fake-easyocr"}
    lines = [line for _, texts in results for line in texts.lines]  # type: ignore[union-attr]
    assert lines
    for line in lines:
        assert line.text
        assert line.language == "fake_easyocr"
        assert 0 <= line.score <= 1
        assert line.polygon.min() >= -50
        assert (line.polygon <= (1330, 1010)).all()


async def test_the_same_photo_reads_the_same() -> None:
    async with open_engine(config()) as engine:
        first, again = [await engine.see(Operation.OCR, PHOTO) for _ in range(2)]
    assert [line.text for line in first[1].lines] == [line.text for line in again[1].lines]  # type: ignore[union-attr]


async def test_an_unknown_language_fails_reading_only() -> None:
    chosen = Chosen(ocr_model="easyocr", ocr_languages=("jp",))
    async with open_engine(config(chosen, operations=("embedding", "ocr"))) as engine:
        found = await engine.analyse(PHOTO, ["embedding", "ocr"])
    assert found.embedding is not None
    assert isinstance(found.failures["ocr"], OperationUnavailable)
    assert "unknown language 'jp'; did you mean" in str(found.failures["ocr"])


async def test_a_missing_recogniser_fails_reading_with_the_command_that_brings_it(tmp_path: Path) -> None:
    chosen = Chosen(ocr_model="easyocr", ocr_languages=("ja", "en"))
    with pytest.raises(
        ConfigError, match=r"easyocr-craft-detector, easyocr-japanese-g2-recogniser not found .*python -m export --models easyocr-craft"
    ):
        async with open_engine(config(chosen, backend="cpu", root=tmp_path)):
            pass


def test_each_half_is_the_trained_one_unless_only_its_random_twin_is_there(tmp_path: Path) -> None:
    for name in ("easyocr-craft-detector", "easyocr-latin-g2-random-recogniser"):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "1" / "model.onnx").touch()
        (tmp_path / name / "manifest.json").touch()
    chosen = Chosen(ocr_model="easyocr", ocr_languages=("de", "fr"))
    mixed = ExportedModels(ModelRepository(tmp_path), chosen, allow_random=True).easyocr()
    strict = ExportedModels(ModelRepository(tmp_path), chosen, allow_random=False).easyocr()
    assert mixed == ("easyocr-craft-detector", "easyocr-latin-g2-random-recogniser")
    assert strict == ("easyocr-craft-detector", "easyocr-latin-g2-recogniser")


def test_languages_that_do_not_go_together_are_named() -> None:
    chosen = Chosen(ocr_model="easyocr", ocr_languages=("ja", "ko"))
    with pytest.raises(ConfigError, match="ja is read by japanese_g2"):
        ExportedModels(ModelRepository(Path("nowhere")), chosen, allow_random=True).easyocr()


def test_the_fake_backend_has_both_halves() -> None:
    stock = FakeModels(EASYOCR)
    assert [stock.spec(name) for name in stock.easyocr()] == list(fake.EASYOCR)
    assert stock.languages() == ("en",)
