"""kizu_fast/models/caption.py: the whole picture in, a sentence out."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models

from kizu_fast.domain import Photo
from kizu_fast.errors import ConfigError, PermanentError
from kizu_fast.models.caption import MAX_CHARACTERS, STEPS, load_rules, postprocess, preprocess, special_ids, without_last_word

START, PAD, END = 0, 1, 2


def rules(*words: str) -> Tokenizer:
    """Words with a mark for the space before them, as BART and GPT-2 write: ids 3, 4, ..."""
    vocabulary = ["<s>", "<pad>", "</s>", *words]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<pad>"))
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(word, special=True) for word in vocabulary[:3]])
    return made


SENTENCE = rules("a", "Ġdog", "Ġon", "Ġthe", "Ġbea", "ch", "Ġé")


def ids(*tokens: int, length: int = 12) -> np.ndarray:
    return np.array([*tokens, *[PAD] * (length - len(tokens))], np.int32)


def photo(height: int, width: int) -> Photo:
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    return Photo(pixels, width, height)


@pytest.mark.parametrize("steps", list(STEPS))
@pytest.mark.parametrize(("height", "width"), [(300, 400), (400, 300), (20, 900), (64, 64)])
def test_the_whole_picture_is_stretched_to_a_square(steps: str, height: int, width: int) -> None:
    pixels = preprocess(photo(height, width), 64, steps)
    assert (pixels.shape, pixels.dtype) == ((64, 64, 3), np.uint8)


def test_nothing_is_cropped_and_nothing_is_turned() -> None:
    pixels = np.zeros((100, 300, 3), np.uint8)
    pixels[:, :30, 0], pixels[-10:, :, 2] = 255, 255  # red at the left, blue at the bottom
    seen = preprocess(Photo(pixels, 300, 100), 60, "stretch1-bicubic")
    assert seen[30, 1].tolist() == [255, 0, 0]
    assert seen[58, 50].tolist() == [0, 0, 255]
    assert seen[5, 50].tolist() == [0, 0, 0]


def test_a_picture_that_fits_already_is_left_alone() -> None:
    same = photo(64, 64)
    assert np.array_equal(preprocess(same, 64, "stretch1-bicubic"), same.pixels)


def test_shrinking_averages_and_does_not_skip() -> None:
    """What a filter without antialiasing makes of a checkerboard: one of its two colours."""
    board = np.kron(np.indices((128, 128)).sum(axis=0) % 2, np.ones((4, 4))).astype(np.uint8)[..., None].repeat(3, axis=2) * 255
    small = preprocess(Photo(board, 512, 512), 32, "stretch1-bicubic")
    assert np.abs(small.astype(int) - 127).max() <= 4


def test_the_two_filters_differ() -> None:
    picture = photo(300, 400)
    bicubic, bilinear = (preprocess(picture, 64, steps).astype(int) for steps in STEPS)
    assert np.abs(bicubic - bilinear).max() > 3


def test_a_scaled_decode_is_stretched_from_what_is_there() -> None:
    half = Photo(photo(150, 200).pixels, 400, 300)
    expected = np.asarray(Image.fromarray(half.pixels).resize((64, 64), Image.Resampling.BICUBIC))
    assert np.array_equal(preprocess(half, 64, "stretch1-bicubic"), expected)


def test_steps_of_a_newer_version_are_no_key() -> None:
    with pytest.raises(KeyError):
        preprocess(photo(8, 8), 4, "stretch2")


def test_a_caption_is_its_words_without_marks() -> None:
    assert postprocess(ids(END, START, 3, 4, 5, 6, 7, 8, END), SENTENCE) == "a dog on the beach"


def test_a_caption_that_ends_at_the_last_place_is_whole() -> None:
    assert postprocess(ids(END, START, 3, 4, 5, 6, 7, 8, END, length=9), SENTENCE) == "a dog on the beach"


def test_a_caption_that_was_cut_loses_its_last_word() -> None:
    assert postprocess(ids(END, START, 3, 4, 5, 6, 7, length=7), SENTENCE) == "a dog on the"
    assert postprocess(ids(END, START, 3, 4, 5, 6, length=6), SENTENCE) == "a dog on"


def test_a_single_word_that_was_cut_is_better_than_none() -> None:
    assert postprocess(ids(END, 3, length=2), SENTENCE) == "a"


@pytest.mark.parametrize("tokens", [ids(END, END), ids(END, START, END), ids(PAD, PAD), np.zeros(0, np.int32)])
def test_a_model_that_says_nothing_gives_an_empty_caption(tokens: np.ndarray) -> None:
    assert postprocess(tokens, SENTENCE) == ""


def test_bytes_become_letters() -> None:
    assert postprocess(ids(START, 3, 9, END), rules("a", "x", "y", "z", "u", "v", "ĠÃ©")) == "a é"


def test_spaces_are_single_and_none_is_at_the_ends() -> None:
    assert postprocess(ids(START, 3, 4, 4, END), rules("Ġa", "Ġ")) == "a"
    assert postprocess(ids(START, 3, 4, 3, END), rules("Ġa", "ĊĊ")) == "a a"


def test_an_id_beyond_the_vocabulary_is_passed_over() -> None:
    assert postprocess(ids(START, 3, 999, 4, END), SENTENCE) == "a dog"


def test_a_negative_id_says_that_the_model_is_broken() -> None:
    with pytest.raises(PermanentError, match="negative token id"):
        postprocess(ids(START, -3, END), SENTENCE)


def test_no_caption_is_longer_than_its_column() -> None:
    long = postprocess(np.array([START, *[4] * 900, END]), SENTENCE)
    assert MAX_CHARACTERS - 4 <= len(long) <= MAX_CHARACTERS
    assert set(long.split(" ")) == {"dog"}


def test_a_caption_of_one_endless_word_is_cut() -> None:
    assert len(postprocess(np.array([START, *[3] * 3000, END]), SENTENCE)) == MAX_CHARACTERS


@pytest.mark.parametrize(("text", "left"), [("a b c", "a b"), ("a", "a"), ("", "")])
def test_the_last_word_goes_unless_it_is_the_only_one(text: str, left: str) -> None:
    assert without_last_word(text) == left


def test_marks_are_told_by_the_tokenizer() -> None:
    assert special_ids(SENTENCE) == {START, PAD, END}


def test_a_tokenizer_comes_back_from_its_file(tmp_path: Path) -> None:
    SENTENCE.save(str(tmp_path / "tokenizer.json"))
    assert postprocess(ids(START, 3, 4, END), load_rules(tmp_path / "tokenizer.json")) == "a dog"


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file"), ("{", "is no tokenizer"), (json.dumps({}), "it has no model")])
def test_a_broken_tokenizer_names_its_file_and_the_command(tmp_path: Path, content: str | None, reason: str) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=reason) as caught:
        load_rules(path)
    assert str(path) in str(caught.value)
    assert "python -m export --models describe" in str(caught.value)
