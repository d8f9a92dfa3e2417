"""kizu_fast/query.py: which objects a search text names, and what is left for the embedder."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kizu_fast.models.labels import COCO
from kizu_fast.query import SYNONYMS, understand


def test_the_table_names_exactly_the_labels_of_the_detector() -> None:
    assert set(SYNONYMS) == set(COCO)


@pytest.mark.parametrize(
    ("query", "objects"),
    [
        ("a dog on a beach", ("dog",)),
        ("dogs", ("dog",)),
        ("puppies playing", ("dog",)),
        ("two people with a bike", ("person", "bicycle")),
        ("sofa and tv", ("couch", "tv")),
        ("planes", ("airplane",)),
        ("birthday cake", ("cake",)),
        ("a mobile phone next to knives", ("cell phone", "knife")),
        ("hot dog", ("hot dog",)),
        ("teddy bears", ("teddy bear",)),
        ("buses, trucks", ("bus", "truck")),
        ("DOG", ("dog",)),
        ("cat sleeping on a bed", ("cat", "bed")),
        ("wine glasses", ("wine glass",)),
        ("benches", ("bench",)),
        ("calves", ("cow",)),
    ],
)
def test_objects_are_found_in_their_everyday_forms(query: str, objects: tuple[str, ...]) -> None:
    assert understand(query).objects == objects


@pytest.mark.parametrize(
    "query",
    ["dog park", "train station", "car wash", "an orange sunset", "a mouse in the grass", "horse race", "sunset", "", "  ", "!!!", "boat house"],
)
def test_a_word_that_only_modifies_another_or_means_something_else_is_no_object(query: str) -> None:
    assert understand(query).objects == ()


def test_object_words_stay_in_the_semantic_part() -> None:
    assert understand("a dog on a beach").semantic == "a dog on a beach"


@pytest.mark.parametrize(
    ("query", "semantic"),
    [("photos of my dog", "my dog"), ("Show me pictures of snow", "snow"), ("images with rain", "rain"), ("photo album", "photo album")],
)
def test_command_words_are_dropped_from_the_meaning(query: str, semantic: str) -> None:
    assert understand(query).semantic == semantic


@pytest.mark.parametrize("query", ["", "   ", "?!", "'\"", "((("])
def test_a_query_without_words_has_no_meaning(query: str) -> None:
    assert understand(query).semantic is None


def test_a_label_is_named_once_however_often_it_is_mentioned() -> None:
    assert understand("dog, dogs and a puppy").objects == ("dog",)


@pytest.mark.parametrize(
    ("query", "text", "semantic"),
    [
        ('"Invoice 4711"', ("Invoice 4711",), None),
        ('photos of a sign that says "EXIT"', ("EXIT",), "a sign"),
        ("Schild mit der Aufschrift \u201eKein Zutritt\u201c", ("Kein Zutritt",), "Schild"),
        ("\u00ab Sortie \u00bb", ("Sortie",), None),
        ("\u300c新宿\u300d駅", ("新宿",), "駅"),
        ("a \u201cfirst\u201d and a \u201csecond\u201d sign", ("first", "second"), "a and a sign"),
        ('a 19" monitor and a 5" phone', (), 'a 19" monitor and a 5" phone'),
        ("don't panic", (), "don't panic"),
        ('photos of "EXIT"', ("EXIT",), None),
        ('""', (), None),
    ],
)
def test_quoted_words_are_text_and_no_meaning(query: str, text: tuple[str, ...], semantic: str | None) -> None:
    understood = understand(query)
    assert (understood.text, understood.semantic) == (text, semantic)


def test_quoted_words_are_no_objects() -> None:
    assert understand('a cup with the text "dog"').objects == ("cup",)


def test_the_words_are_those_that_are_looked_for_in_texts() -> None:
    assert understand("Photos of the Café in 新宿, 100%").words == ("cafe", "新宿", "100%")
    assert understand("").words == ()


@given(st.text(max_size=300))
def test_any_text_is_understood_without_an_error(query: str) -> None:
    understood = understand(query)
    assert set(understood.objects) <= set(SYNONYMS)
    assert understood == understand(query)
