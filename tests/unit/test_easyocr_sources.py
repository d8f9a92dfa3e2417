"""EasyOCR's checkpoints: what --models may name, where the files lie, and what a download must be."""

import hashlib
import io
import sys
import zipfile
from pathlib import Path

import httpx
import pytest

from export import sources
from export.download import Downloader
from export.sources import easyocr
from export.wanted import Original
from kizu_fast.domain import Operation
from kizu_fast.errors import ConfigError
from kizu_fast.models.easyocr_languages import RECOGNISERS
from kizu_fast.settings import Settings
from kizu_fast.specs import Family

BYTES = b"a checkpoint"
MD5 = hashlib.md5(BYTES, usedforsecurity=False).hexdigest()
ENGLISH = Original("easyocr", "english_g2")


def settings(languages: str = "en", *operations: Operation, model: str = "easyocr") -> Settings:
    return Settings.model_validate({"ocr_languages": languages, "ocr_model": model, "KIZU_OPERATIONS": operations or (Operation.EMBEDDING,)})


def names(word: str, chosen: Settings, *, random: bool = False) -> list[str]:
    return [wanted.name for wanted in sources.chosen([word], chosen, random=random)]


def test_the_family_is_the_detector_and_the_recogniser_of_the_languages() -> None:
    assert names("easyocr", settings()) == ["easyocr-craft-detector", "easyocr-english-g2-recogniser"]
    assert names("easyocr", settings("de,fr")) == ["easyocr-craft-detector", "easyocr-latin-g2-recogniser"]
    assert names("easyocr", settings("ja"), random=True) == ["easyocr-craft-random-detector", "easyocr-japanese-g2-random-recogniser"]
    assert "torch" not in sys.modules


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("easyocr-craft-detector", "easyocr-craft-detector"),
        ("easyocr-zh-sim-g2-recogniser", "easyocr-zh-sim-g2-recogniser"),
        ("easyocr-thai-g1-random-recogniser", "easyocr-thai-g1-random-recogniser"),
        ("korean_g2", "easyocr-korean-g2-recogniser"),
    ],
)
def test_one_of_them_is_named_by_its_folder_or_as_the_library_names_it(word: str, expected: str) -> None:
    assert names(word, settings()) == [expected]


def test_what_is_missing_can_be_named_as_the_error_says() -> None:
    for recogniser in RECOGNISERS:
        for wanted in easyocr.pair(recogniser):
            assert names(wanted.name, settings()) == [wanted.name]


def test_an_unknown_recogniser_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="unknown model 'easyocr-klingon': recognisers of EasyOCR are english_g2, latin_g2"):
        names("easyocr-klingon", settings())


def test_languages_that_do_not_go_together_export_nothing() -> None:
    with pytest.raises(ConfigError, match="ja is read by japanese_g2"):
        names("easyocr", settings("ja,ko"))


def test_a_plain_export_brings_them_when_text_is_asked_for_and_easyocr_reads() -> None:
    assert easyocr.asked(settings("en", Operation.OCR))
    assert not easyocr.asked(settings("en", Operation.EMBEDDING))
    assert not easyocr.asked(settings("en", Operation.OCR, model="ppocr"))


def test_every_recogniser_has_a_place_and_a_licence() -> None:
    for recogniser in RECOGNISERS:
        detector, reader = easyocr.pair(recogniser)
        assert (detector.family, reader.family) == (Family.EASYOCR_DETECTOR, Family.EASYOCR_RECOGNISER)
        for wanted in (detector, reader):
            assert len(easyocr.PUBLISHED[wanted.original.model].md5) == 32
            assert easyocr.licence(wanted.original) == "Apache-2.0"
            assert easyocr.untrained(wanted).original.random


@pytest.mark.parametrize("place", ["easyocr/english_g2.pth", "model/english_g2.pth", "english_g2.pth"])
def test_a_checkpoint_is_found_in_a_folder(place: str, tmp_path: Path) -> None:
    assert easyocr.in_folder(ENGLISH, tmp_path) is None
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_bytes(BYTES)
    assert easyocr.in_folder(ENGLISH, tmp_path) == tmp_path / place


def archive(name: str = "english_g2.pth", content: bytes = BYTES) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as stored:
        stored.writestr(f"folder/{name}", content)
    return stream.getvalue()


def server(content: bytes, asked: list[str]) -> Downloader:
    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, content=content)

    return Downloader(httpx.MockTransport(answer))


@pytest.fixture
def stated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest of the bytes that the server has, in the place of the real one."""
    monkeypatch.setitem(easyocr.PUBLISHED, "english_g2", easyocr.PUBLISHED["english_g2"]._replace(md5=MD5))  # type: ignore[misc]


@pytest.mark.usefixtures("stated")
def test_the_official_archive_is_unpacked_once_and_goes(tmp_path: Path) -> None:
    asked: list[str] = []
    path = easyocr.official(ENGLISH, tmp_path, server(archive(), asked))
    assert path.read_bytes() == BYTES
    assert asked == ["https://github.com/JaidedAI/EasyOCR/releases/download/v1.3/english_g2.zip"]
    assert [each.name for each in path.parent.iterdir()] == ["english_g2.pth"]
    assert easyocr.official(ENGLISH, tmp_path, server(b"", asked)) == path
    assert len(asked) == 1


def test_other_bytes_than_the_official_ones_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"has md5 {MD5[:16]}.*which is not the official file"):
        easyocr.official(ENGLISH, tmp_path, server(archive(), []))


@pytest.mark.parametrize(("content", "words"), [(b"<html>", "is no zip archive"), (archive("latin_g2.pth"), r"holds no english_g2\.pth")])
def test_an_archive_that_is_none_is_one_line(content: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"english_g2\.zip {words}; delete it"):
        easyocr.official(ENGLISH, tmp_path, server(content, []))


def test_an_archive_larger_than_any_checkpoint_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "english_g2.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as stored, stored.open("english_g2.pth", "w", force_zip64=True) as member:
        for _ in range(6):
            member.write(bytes(100_000_000))
    with pytest.raises(ConfigError, match="holds 600 MB"):
        easyocr.unpack(path, tmp_path / "english_g2.pth")
    assert not (tmp_path / "english_g2.pth.part").exists()
