"""The benchmark of readers: what is counted, what is left out, and a table of both families."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from pictures import jpeg, scene

from benchmarks import command, texts
from benchmarks.texts import Seen, Weighed
from kizu_fast.backends import fake
from kizu_fast.engine import EngineConfig

FAKE = EngineConfig(model_repository=Path("nowhere"), backend="fake")


def seen(language: str = "en", characters: int = 10, errors: int = 0, cpu_s: float = 1.0, answered: int = 50) -> Seen:
    return Seen(Path("a.jpg"), language, characters, errors, cpu_s, sent=100, answered=answered)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "a.jpg").write_bytes(jpeg(scene(640, 480)))
    (tmp_path / "b.jpg").write_bytes(jpeg(scene(480, 640)))
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    entries = [{"file": name, "lang": "en", "text": ["some words"]} for name in ("a.jpg", "b.jpg", "broken.jpg")]
    (tmp_path / "truth.json").write_text(json.dumps({"ocr": entries}))
    return tmp_path


def test_error_rates_are_by_language_and_over_all_characters() -> None:
    rates = texts.summary([seen("en", 10, 1), seen("en", 30, 1), seen("de", 10, 5), seen("", 0)])["error_rate"]
    assert rates == {"de": 0.5, "en": 0.05, "all": pytest.approx(7 / 50)}


def test_cost_is_of_pictures_with_text_pages_and_photos_apart() -> None:
    figures = texts.summary([seen(cpu_s=1), seen(characters=150, cpu_s=3), seen("", 0, cpu_s=0.5)])
    assert figures["cpu_s"] == {"picture with text": 2, "page": 3, "photo": 0.5}
    assert figures["pictures"] == {"picture with text": 2, "page": 1, "photo": 1}
    assert figures["bytes over sent"] == 1.5


def test_kinds_without_a_picture_have_no_cost() -> None:
    assert set(texts.summary([seen()])["cpu_s"]) == {"picture with text"}


async def test_every_byte_of_the_tensors_is_counted() -> None:
    backend = Weighed(fake.FakeBackend())
    spec = fake.PPOCR[1]
    await backend.load(spec)
    await backend.infer(spec, {"pixels": np.zeros((3, 48, 192, 3), np.uint8)})
    assert (backend.sent, backend.answered) == (3 * 48 * 192 * 3, 3 * 2 * 4)
    assert backend.describe(spec).provider == "fake"
    await backend.unload(spec)
    await backend.close()


def test_a_family_is_measured_and_a_broken_picture_is_passed_over(images: Path) -> None:
    found = asyncio.run(texts.measure(FAKE, images, [images / "a.jpg"]))["ppocr"]
    assert found["pictures"] == {"picture with text": 2, "page": 0, "photo": 1}
    assert found["cpu_s"]["photo"] > 0
    assert 1 < found["bytes over sent"] < 1.5


def test_the_table_has_a_column_for_each_family_and_says_what_is_left_out() -> None:
    figures = texts.summary([seen(errors=1), seen("", 0)])
    lines = list(texts.table({"ppocr": figures, "easyocr": {"missing": "models x not found; run: python -m export --models easyocr"}}))
    assert lines[0].split() == ["ppocr"]
    assert ["error", "rate", "all", "0.1000"] in [line.split() for line in lines]
    assert lines[-1] == "easyocr is left out: models x not found; run: python -m export --models easyocr"
    assert next(texts.table({"ppocr": figures, "easyocr": figures})).split() == ["ppocr", "easyocr"]


def test_without_any_family_the_exit_code_says_so(
    images: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIZU_MODEL_REPOSITORY", str(tmp_path_factory.mktemp("empty")))
    assert command.main(["ocr", "--images", str(images)]) == 1
    assert "ppocr is left out" in capsys.readouterr().out


def test_a_folder_without_truth_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert texts.main(["--images", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("ocr: ")


def test_photos_are_spread_over_the_folder(tmp_path: Path) -> None:
    for n in range(100):
        (tmp_path / f"{n:03}.jpg").touch()
    (tmp_path / "notes.txt").touch()
    chosen = texts._photos(tmp_path)
    assert len(chosen) == texts.MAX_PHOTOS
    assert chosen[-1].stem > "070"
    assert texts._photos(None) == []
