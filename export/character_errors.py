"""Character error rate: how many characters of a text have to be put in, taken out or exchanged, over how many there are."""

import re
import unicodedata
from collections.abc import Sequence


def folded(lines: Sequence[str]) -> str:
    """Lines as one string without white space, in Unicode's compatibility form and without case: what a comparison of readers should look at."""
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", "".join(lines))).casefold()


def distance(wanted: str, got: str) -> int:
    """Levenshtein's distance."""
    row = list(range(len(got) + 1))
    for i, letter in enumerate(wanted, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(got, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (letter != other))
    return row[-1]


def rate(errors: int, characters: int) -> float:
    """Errors per character; of no characters every error counts as one."""
    return errors / max(characters, 1)
