"""kizu_fast/wording.py: what a text says of what was asked, although recognisers lose spaces and confuse letters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kizu_fast.wording import EVERY_WORD, PHRASE, SOME, Asked, asked, folded, forms, said, snippet


def score(question: str, text: str, *, inflected: bool = False) -> float:
    return said(asked(folded(question)), folded(text), inflected=inflected)


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("Invoice 4711", "ACME Ltd\nINVOICE 4711\nTotal 12.00"),
        ("invoice 4711", "Invoice\n4711"),  # a line breaks anywhere
        ("invoice 4711", "INVOICE4711"),  # the recogniser lost the space
        ("this is a test", "THISISATEST"),
        ("strassenbahn", "Straßenbahn"),
        ("CAFE", "Café"),
        ("\uff54\uff4f\uff4b\uff59\uff4f", "Tokyo"),
        ("新宿", "東京都新宿区"),
        ("東京都", "東 京\n都"),
        ("100%", "only 100 % wool"),
        ("$1,249.50", "Total due: $1,249.50"),
        ("8:30", "Mo-Fr 8:30-18:00 Uhr"),
        ("cafe-guest", "Wi-Fi: cafe-guest"),
        ("c++", "learn C++ now"),
        ("to be or not to be", "To be, or not to be"),
        ("हिन्दी", "स्वागत हिन्दी"),
    ],
)
def test_a_text_that_says_it_in_one_piece_has_the_full_score(question: str, text: str) -> None:
    assert score(question, text) == PHRASE


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("invoice 4711", "INVOICE 47110"),
        ("invoice 4711", "INVOICE47110"),
        ("471", "4711"),
        ("100%", "100 apples"),
        ("cat", "location"),
        ("art show", "start"),
        ("5%", "25% off"),
        ("大阪", "東京"),
    ],
)
def test_a_number_is_no_part_of_a_longer_number_and_short_words_are_not_looked_for_within_others(question: str, text: str) -> None:
    assert score(question, text) < EVERY_WORD


def test_all_words_in_another_order_are_nearly_as_good() -> None:
    assert score("4711 invoice", "Invoice No. 4711") == EVERY_WORD


def test_some_of_the_words_count_by_their_share() -> None:
    assert score("dog on a beach", "BEACH HOTEL") == pytest.approx(0.5)
    assert score("dog on a beach", "on a") == 0  # function words alone are nothing
    assert 0 < score("one two three four", "one two three five") <= SOME


def test_a_word_within_another_or_with_one_wrong_letter_counts_less() -> None:
    assert score("rechnung", "Rechnungsnummer") == pytest.approx(0.75)
    assert score("invoice", "lnvoice") == pytest.approx(0.7)
    assert score("invoice", "invoce") == pytest.approx(0.7)
    assert score("invoice", "invoiice") == pytest.approx(0.7)
    assert score("invoice", "inwoize") == 0
    assert score("beach", "reach") == pytest.approx(0.7)
    assert score("4711x", "4712x") == 0  # a number with a wrong digit is another number


def test_two_letters_are_looked_for_within_words_when_they_are_all_that_was_asked() -> None:
    assert asked("eu") == Asked(("eu",), (), ("eu",))
    assert score("eu", "NEU") > 0
    assert asked("eu flag").words == ("eu", "flag")


def test_prose_inflects_and_signs_do_not() -> None:
    assert score("dogs", "a dog on a sofa", inflected=True) == EVERY_WORD
    assert score("dog", "two dogs", inflected=True) == EVERY_WORD
    assert score("dogs", "dog") == 0
    assert score("beach", "beachside", inflected=True) == 0
    assert {"box", "boxes"} <= set(forms("boxes"))


def test_a_question_of_function_words_is_taken_at_its_word() -> None:
    assert asked("to be or not to be").words == ("not",)
    assert asked("the").words == ("the",)
    assert not asked("")
    assert not asked("?!")
    assert asked("\u20ac").pieces == ("\u20ac",)
    assert asked("black & white") == Asked(("black", "white"), ("black", "white"), ())


def test_the_snippet_is_the_lines_that_say_it() -> None:
    lines = ["ACME Ltd", "Invoice", "No. 4711", "Thank you", "Invoice copy"]
    what = asked("invoice 4711")
    assert snippet(what, lines, fold=[folded(line) for line in lines]) == "Invoice No. 4711 \u2026 Invoice copy"


def test_a_snippet_is_short_and_never_empty() -> None:
    long = "word " * 100
    assert len(snippet(asked("word"), [long], fold=[long])) == 160
    assert snippet(asked("ab cdef"), ["AB CD", "EF"], fold=["xab cd", "ef"]) == "AB CD EF"  # no line says it alone


@given(st.text(max_size=60), st.text(max_size=200))
def test_any_text_has_a_score_and_a_snippet(question: str, text: str) -> None:
    what = asked(folded(question))
    assert 0 <= said(what, folded(text)) <= 1
    assert len(snippet(what, text.split("\n"), fold=folded(text).split("\n")[: text.count("\n") + 1])) <= 160


@given(st.text(st.characters(categories=["Ll", "Nd"], max_codepoint=0x17F), min_size=4, max_size=12), st.text(max_size=40))
def test_a_word_is_found_wherever_it_stands(word: str, around: str) -> None:
    assert score(word, f"{around}\n{word}\n{around}") >= EVERY_WORD


@given(st.text(max_size=80))
def test_folding_twice_changes_nothing(text: str) -> None:
    assert folded(folded(text)) == folded(text)
