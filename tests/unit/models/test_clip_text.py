"""Words to ids. Equality with open_clip's own tokenizer on 1,000 strings is shown in tests/export; here a small vocabulary shows the rules."""

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from tokenizers.processors import TemplateProcessing

from kizu_fast.errors import ConfigError
from kizu_fast.models.clip_text import CLEANERS, END, START, load_tokenizer

CONTEXT = 8
LETTERS = sorted(ByteLevel.alphabet())
VOCABULARY = [*LETTERS, *(letter + "</w>" for letter in LETTERS), "do", "dog</w>", START, END]
IDS = {token: i for i, token in enumerate(VOCABULARY)}
PIECES = r"(?i)'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A byte-pair tokenizer of the kind that the export writes, with two merges."""
    rules = Tokenizer(BPE(vocab=IDS, merges=[("d", "o"), ("do", "g</w>")], continuing_subword_prefix="", end_of_word_suffix="</w>"))
    rules.pre_tokenizer = Sequence([Split(Regex(PIECES), behavior="removed", invert=True), ByteLevel(add_prefix_space=False, use_regex=False)])
    rules.post_processor = TemplateProcessing(single=f"{START} $A {END}", special_tokens=[(START, IDS[START]), (END, IDS[END])])
    rules.enable_truncation(max_length=CONTEXT)
    rules.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def words(path: Path, text: str, steps: str = "p1") -> list[str]:
    """The tokens of text without padding."""
    row = load_tokenizer(path, CONTEXT, steps)(text)
    return [VOCABULARY[i] for i in row[: int(np.flatnonzero(row == IDS[END])[0]) + 1]]


def test_a_word_becomes_its_merged_token_between_start_and_end(path: Path) -> None:
    assert words(path, "dog") == [START, "dog</w>", END]


def test_the_row_is_int32_of_the_context_and_padded_with_zeros(path: Path) -> None:
    row = load_tokenizer(path, CONTEXT)("dog")
    assert row.dtype == np.int32
    assert row.shape == (CONTEXT,)
    assert row[3:].tolist() == [0] * 5


def test_case_spaces_and_entities_are_cleaned_first(path: Path) -> None:
    assert words(path, "  DOG\n\t&#100;og ") == [START, "dog</w>", "dog</w>", END]
    assert words(path, "&amp;lt;") == [START, "<</w>", END]


def test_broken_encodings_are_mended(path: Path) -> None:
    assert words(path, "cafÃ©") == words(path, "café")


def test_an_empty_text_is_start_and_end(path: Path) -> None:
    for text in ("", "   ", "\x00"):
        assert words(path, text) == [START, END]


def test_a_long_text_is_cut_and_keeps_the_end(path: Path) -> None:
    row = load_tokenizer(path, CONTEXT)("dog " * 500)
    assert row[-1] == IDS[END]
    assert row[1:-1].tolist() == [IDS["dog</w>"]] * (CONTEXT - 2)


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        (f"{START} dog", [START, "dog</w>"]),
        (f"dog{END}", ["dog</w>", END]),
        (f"{START}{END}{START}", [START, END, START]),
        (END.upper(), [END]),
    ],
)
def test_the_model_s_own_tokens_written_out_are_read_as_such(path: Path, text: str, inner: list[str]) -> None:
    row = load_tokenizer(path, CONTEXT)(text)
    assert [VOCABULARY[i] for i in row[1 : 1 + len(inner)]] == inner


def test_punctuation_before_a_written_out_token_swallows_its_bracket(path: Path) -> None:
    row = load_tokenizer(path, CONTEXT)(f"!{START}")
    assert IDS[START] not in row[1:].tolist()


def test_a_written_out_token_deep_in_a_long_text_is_cut_with_the_rest(path: Path) -> None:
    row = load_tokenizer(path, CONTEXT)("dog " * 50 + START)
    assert row[-1] == IDS[END]
    assert IDS[START] not in row[1:].tolist()


def test_multilingual_towers_keep_case(path: Path) -> None:
    assert words(path, "DoG", "p1-whitespace")[1:-1] == ["D", "o", "G</w>"]


def test_siglip_loses_punctuation_and_case(path: Path) -> None:
    assert words(path, "A_Dog, dog!", "p1-canonical") == [START, "a</w>", "dog</w>", "dog</w>", END]


def test_a_second_call_answers_the_same(path: Path) -> None:
    tokenizer = load_tokenizer(path, CONTEXT)
    assert np.array_equal(tokenizer("dog"), tokenizer("dog"))


def test_a_missing_file_names_the_export(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tokenizer\.json: No such file.*python -m export"):
        load_tokenizer(tmp_path / "tokenizer.json", CONTEXT)


@pytest.mark.parametrize("content", ["", "{", '{"model": {"type"', json.dumps({"version": "1.0"}), json.dumps([1])])
def test_a_broken_file_names_the_export(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ConfigError, match=r"is no tokenizer.*python -m export"):
        load_tokenizer(tmp_path / "tokenizer.json", CONTEXT)


def test_steps_of_a_newer_version_are_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match="p7"):
        load_tokenizer(path, CONTEXT, "p7")


def test_the_ways_of_cleaning_are_named_like_the_specs_preprocessing() -> None:
    assert all(name.startswith("p1") for name in CLEANERS)
