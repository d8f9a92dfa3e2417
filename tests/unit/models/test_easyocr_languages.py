"""Codes of languages, and the recogniser that reads them."""

import pytest

from kizu_fast.errors import ConfigError
from kizu_fast.models.easyocr_languages import KNOWN, RECOGNISERS, parse_languages, recogniser_for


def test_a_list_is_read_whatever_its_spaces_and_case() -> None:
    assert parse_languages(" EN, de ,,en") == ("en", "de")


@pytest.mark.parametrize("text", ["", " , "])
def test_no_language_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="OCR_LANGUAGES names no language; the default is en"):
        parse_languages(text)


@pytest.mark.parametrize(("code", "near"), [("jp", "ja"), ("ch_simp", "ch_sim"), ("rs_latn", "rs_latin")])
def test_an_unknown_code_is_answered_with_the_nearest(code: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown language '{code}'; did you mean .*known are") as caught:
        parse_languages(f"en,{code}")
    assert near in str(caught.value)


def test_a_code_like_no_other_is_answered_with_all_of_them() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_languages("zzzzzz")
    assert "did you mean" not in str(caught.value)
    assert all(code in str(caught.value) for code in KNOWN)


@pytest.mark.parametrize("code", ["ar", "fa", "ug", "ur"])
def test_what_runs_from_right_to_left_is_refused_by_name(code: str) -> None:
    with pytest.raises(ConfigError, match=f"{code} is written from right to left"):
        parse_languages(code)


@pytest.mark.parametrize(
    ("languages", "name"),
    [
        (("en",), "english_g2"),
        (("de",), "latin_g2"),
        (("en", "de"), "latin_g2"),
        (("fr", "es", "rs_latin"), "latin_g2"),
        (("ja",), "japanese_g2"),
        (("en", "ja"), "japanese_g2"),
        (("ko", "en"), "korean_g2"),
        (("ch_sim", "en"), "zh_sim_g2"),
        (("ch_tra",), "zh_tra_g1"),
        (("ru", "uk", "en"), "cyrillic_g2"),
        (("te",), "telugu_g2"),
        (("kn", "en"), "kannada_g2"),
        (("hi", "mr"), "devanagari_g1"),
        (("bn", "as", "en"), "bengali_g1"),
        (("th",), "thai_g1"),
        (("ta", "en"), "tamil_g1"),
    ],
)
def test_the_recogniser_is_the_librarys_own_choice(languages: tuple[str, ...], name: str) -> None:
    assert recogniser_for(languages) == name


@pytest.mark.parametrize(
    ("languages", "words"),
    [
        (("ja", "ko"), "ja is read by japanese_g2, which reads ja, en and not ko"),
        (("de", "ru"), "ru is read by cyrillic_g2"),
        (("ch_sim", "ch_tra"), "ch_tra is read by zh_tra_g1, which reads ch_tra, en and not ch_sim"),
        (("ja", "de"), "set languages that one recogniser reads, e.g. ja,en, or OCR_MODEL=ppocr"),
    ],
)
def test_languages_that_no_recogniser_reads_together_are_refused_with_what_goes_together(languages: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        recogniser_for(languages)


def test_every_known_language_is_read_alone_and_beside_english() -> None:
    for code in KNOWN:
        assert code in RECOGNISERS[recogniser_for((code,))]
        assert {code, "en"} <= set(RECOGNISERS[recogniser_for(tuple(dict.fromkeys((code, "en"))))])
