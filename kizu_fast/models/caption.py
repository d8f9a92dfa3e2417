"""Captioners: what happens before and after the graph. Normalisation, prompt and the greedy loop are inside it."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer as Rules

from kizu_fast.domain import Photo
from kizu_fast.errors import ConfigError, PermanentError

MAX_CHARACTERS = 2000  # what a caption's column holds

# The whole picture stretched to a square, as the models saw pictures in training: neither cropped nor letterboxed. Pillow's filters, since they
# antialias when they shrink; OpenCV's of the same names do not.
STEPS: Mapping[str, Image.Resampling] = {"stretch1-bicubic": Image.Resampling.BICUBIC, "stretch1-bilinear": Image.Resampling.BILINEAR}


def preprocess(photo: Photo, side: int, steps: str) -> NDArray[np.uint8]:
    """(side, side, 3) RGB as the checkpoint's own image processor resizes it.

    steps is ModelSpec.preprocessing. Raises KeyError for one that is not in STEPS: a spec from a newer version.
    """
    return np.asarray(Image.fromarray(photo.pixels).resize((side, side), STEPS[steps]))


def postprocess(tokens: NDArray[np.integer], rules: Rules) -> str:
    """Token ids of one row, (T,), to a sentence of at most MAX_CHARACTERS; empty when the model had nothing to say.

    A row whose last token is a word was cut by T: the word may be half of one, so it goes, unless it is all there is.
    Raises PermanentError for ids that no vocabulary holds.
    """
    ids = [int(token) for token in tokens]
    if min(ids, default=0) < 0:
        raise PermanentError("the caption holds a negative token id: the model file or the device is broken")
    text = " ".join(rules.decode(ids, skip_special_tokens=True).split())
    if ids and ids[-1] not in special_ids(rules):
        text = without_last_word(text)
    return text if len(text) <= MAX_CHARACTERS else without_last_word(text[: MAX_CHARACTERS + 1])[:MAX_CHARACTERS]


def without_last_word(text: str) -> str:
    """All but what stands behind the last space; a single word stays."""
    return text.rpartition(" ")[0] or text


def special_ids(rules: Rules) -> frozenset[int]:
    """Ids that are no text: start, end, padding, places."""
    return frozenset(number for number, token in rules.get_added_tokens_decoder().items() if token.special)


def load_rules(path: Path) -> Rules:
    """The tokenizer of tokenizer.json. Raises ConfigError when the file is missing or broken."""
    try:
        written = path.read_text(encoding="utf-8")
        whole = "model" in json.loads(written)  # the library raises a bare Exception for broken JSON: find that out first
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; run: python -m export --models describe") from error
    except ValueError as error:
        raise ConfigError(f"{path} is no tokenizer: {error}; run: python -m export --models describe") from error
    if not whole:
        raise ConfigError(f"{path} is no tokenizer: it has no model; run: python -m export --models describe")
    return Rules.from_str(written)
