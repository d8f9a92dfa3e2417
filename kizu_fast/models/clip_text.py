"""CLIP text tower: words to token ids, equal to open_clip's. The vector's postprocess is that of the image tower."""

import html
import json
import string
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import ftfy
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as Rules

from kizu_fast.errors import ConfigError

START, END = "<start_of_text>", "<end_of_text>"
DEFAULT_STEPS = "p1"

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _lower(text: str) -> str:
    return _single_spaces(text).lower()


def _single_spaces(text: str) -> str:
    return " ".join(text.split())


def _canonical(text: str) -> str:
    return _single_spaces(text.replace("_", " ").translate(_NO_PUNCTUATION).lower())


CLEANERS: Mapping[str, Callable[[str], str]] = {
    DEFAULT_STEPS: _lower,  # CLIP's own byte-pair vocabulary
    "p1-whitespace": _single_spaces,  # multilingual towers: case is kept
    "p1-canonical": _canonical,  # SigLIP
}


class Tokenizer:
    """str to int32 (context,): cleaned, cut to the context with the end token kept, padded."""

    def __init__(self, rules: Rules, context: int, steps: str = DEFAULT_STEPS) -> None:
        """rules are trusted to be those of the model; steps is the text tower's ModelSpec.preprocessing, a key of CLEANERS."""
        self._rules, self._context, self._clean = rules, context, CLEANERS[steps]
        start, end = rules.token_to_id(START), rules.token_to_id(END)
        self._own = {START: start, END: end} if start is not None and end is not None else {}

    def __call__(self, text: str) -> NDArray[np.int32]:
        """(context,) int32. Any string has an answer, the empty one included."""
        cleaned = self._clean(html.unescape(html.unescape(ftfy.fix_text(text))).strip())
        written_out = bool(self._own) and (START in cleaned or END in cleaned)
        ids = self._framed(cleaned) if written_out else self._rules.encode(cleaned).ids
        row = np.zeros(self._context, np.int32)
        row[: min(len(ids), self._context)] = ids[: self._context]
        return row

    def _framed(self, cleaned: str) -> list[int]:
        """The slow way, for text in which someone wrote the start or end token out: open_clip reads it as the token."""
        inner = [
            i
            for piece in _pieces(cleaned)
            for i in ([self._own[piece]] if piece in self._own else self._rules.encode(piece, add_special_tokens=False).ids)
        ]
        return [self._own[START], *inner[: self._context - 2], self._own[END]]


def _pieces(text: str) -> Iterator[str]:
    """Cut text at written-out tokens, except where a run of punctuation before one swallows its first character."""
    done = at = 0
    while at < len(text):
        token = next((token for token in (START, END) if text.startswith(token, at)), None)
        if token and (at == done or not _is_punctuation(text[at - 1])):
            if text[done:at]:
                yield text[done:at]
            yield token
            at = done = at + len(token)
        else:
            at += 1
    if text[done:]:
        yield text[done:]


def _is_punctuation(character: str) -> bool:
    return not character.isspace() and unicodedata.category(character)[0] not in "LN"


def load_tokenizer(path: Path, context: int, steps: str = DEFAULT_STEPS) -> Tokenizer:
    """The tokenizer of tokenizer.json as the export wrote it. Raises ConfigError when the file is missing, broken or the steps unknown."""
    if steps not in CLEANERS:
        raise ConfigError(f"{path}: unknown text preprocessing {steps!r}; export the model again with this version: python -m export")
    try:
        written = path.read_text(encoding="utf-8")
        whole = "model" in json.loads(written)  # the library raises a bare Exception for broken JSON: find that out first
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; run: python -m export") from error
    except ValueError as error:
        raise ConfigError(f"{path} is no tokenizer: {error}; run: python -m export") from error
    if not whole:
        raise ConfigError(f"{path} is no tokenizer: it has no model; run: python -m export")
    return Tokenizer(Rules.from_str(written), context, steps)
