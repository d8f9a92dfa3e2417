"""How much of a question a text says: exact words, words that stand within others, whole phrases. Pure; all strings are folded (see folded).

What was read in a photo is no prose: spaces are lost between words and added within them, letters are confused, lines are broken anywhere.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

PHRASE, EVERY_WORD, SOME = 1.0, 0.95, 0.9  # scores of a text: all of it in one piece, all its words anywhere, the most that parts of it can get
_WITHIN, _NEAR = 0.75, 0.7  # a word that stands within another one, or differs in one letter
_LONG, _VERY_LONG = 4, 5  # letters of a word that is looked for within others; of one that may have a wrong letter
_SQUEEZED = 6  # letters of a phrase that is looked for without its spaces
_SHORT = 3  # a whole question that is shorter is looked for within words
_SNIPPET = 160  # characters
# scripts that are written without spaces between words: Thai, Lao, Myanmar, Khmer, kana, CJK with its extensions
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_TOKEN = re.compile("(?:[^\\W_]|[\u0900-\u0dff])+")  # the vowel signs of Indian scripts are no letters to \w
_EDGES = ".,;:!?\"'()[]{}<>\u00ab\u00bb\u201c\u201d\u201e\u2018\u2019\u300c\u300d\u3001\u3002\u2026-\u2013\u2014"
# 100%, C++, 12.50, 8:30: no words that a parser leaves whole
_SIGN = re.compile(r"[%\u2030@#&+*/\\\u00a7$\u20ac\u00a3\u00a5\u20b9\u00b0=|~^]|\d[.,:]\d")

_FUNCTION_WORDS = """
a an the and or of in on at by to for from with without near is are was were be it its this that these those my our your his her their
der die das ein eine einen einem einer und oder im am auf bei mit von zu zum zur den dem des ist
le la les un une et ou de du des au aux en dans sur avec est
el los las una y o del al con por para es il lo gli uno di da nel nella e ed per os as um uma do dos na no em com
het een van op met te
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())


@dataclass(frozen=True, slots=True)
class Asked:
    """What is looked for in texts. phrase: every word in order; words: those that carry meaning; pieces: what is looked for within words.

    Pieces are of scripts without spaces, hold signs, or are the whole of a very short question.
    """

    phrase: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    pieces: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.words or self.pieces)

    @property
    def squeezed(self) -> str:
        """The phrase without spaces, empty if that would be found by chance."""
        together = "".join(self.phrase)
        return together if len(self.phrase) > 1 and len(together) >= _SQUEEZED else ""

    @property
    def long_words(self) -> tuple[str, ...]:
        """Words that may stand within others."""
        return tuple(word for word in self.words if len(word) >= _LONG)

    @property
    def count(self) -> int:
        return len(self.words) + len(self.pieces)


def folded(text: str) -> str:
    """Small letters without accents and width variants: what kizu_normalize does in the database."""
    parts = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text).casefold())
    return unicodedata.normalize("NFC", "".join(sign for sign in parts if not "\u0300" <= sign <= "\u036f"))


def asked(question: str) -> Asked:
    """A folded question taken apart. One of nothing but function words is taken at its word."""
    words, pieces = list[str](), list[str]()
    chunks = [chunk.strip(_EDGES) for chunk in question.split()]
    for chunk in [chunk for chunk in chunks if _TOKEN.search(chunk)] or list(filter(None, chunks)):
        if _UNSPACED.search(chunk) or _SIGN.search(chunk):
            pieces.append(chunk)
        else:
            words.extend(_TOKEN.findall(chunk))
    meant = [word for word in words if word not in FUNCTION_WORDS] or ([] if pieces else words)
    if not pieces and len(words) == 1 and len(words[0]) < _SHORT:
        meant, pieces = [], [words[0]]
    return Asked(tuple(_TOKEN.findall(question)), tuple(dict.fromkeys(meant)), tuple(dict.fromkeys(pieces)))


def said(what: Asked, text: str, *, inflected: bool = False) -> float:
    """How much of it a folded text says, in [0, 1]: PHRASE, EVERY_WORD, or a share of at most SOME. inflected: dogs is dog, for prose."""
    tokens = _TOKEN.findall(text)
    known, together = frozenset(tokens), "".join(text.split())
    pieces = [float(_stands(piece, together)) for piece in what.pieces]
    degrees = [_degree(word, known, inflected=inflected) for word in what.words]
    found = [*pieces, *degrees]
    if found and all(pieces) and _in_one_piece(what, tokens):
        return PHRASE
    if not any(found):
        return 0.0
    return EVERY_WORD if all(degree == 1 for degree in found) else min(sum(found) / len(found), SOME)


def snippet(what: Asked, lines: Sequence[str], *, fold: Sequence[str]) -> str:
    """The lines that say some of it, in one line of at most 160 characters. fold: the same lines, folded."""
    chosen = [i for i, line in enumerate(fold) if said(what, line)] or list(range(len(lines)))
    text = "".join(("" if not k else " " if chosen[k - 1] == i - 1 else " \u2026 ") + lines[i] for k, i in enumerate(chosen))
    return text if len(text) <= _SNIPPET else text[: _SNIPPET - 1].rstrip() + "\u2026"


def forms(word: str) -> tuple[str, ...]:
    """The word and its regular plurals and singulars, as English prose has them."""
    shorter = [word.removesuffix(ending) for ending in ("es", "s") if word.endswith(ending) and len(word) > _LONG - 1]
    return tuple(dict.fromkeys((word, f"{word}s", f"{word}es", *shorter)))


def _in_one_piece(what: Asked, tokens: Sequence[str]) -> bool:
    """Word after word, or without the spaces: recognisers lose them."""
    if f" {' '.join(what.phrase)} " in f" {' '.join(tokens)} ":
        return True
    return (bool(what.squeezed) and _stands(what.squeezed, "".join(tokens))) or (len(what.pieces) == 1 and not what.words)


def _degree(word: str, known: frozenset[str], *, inflected: bool) -> float:
    if word in known or (inflected and not known.isdisjoint(forms(word))):
        return 1.0
    if inflected:
        return 0.0
    if len(word) >= _LONG and any(len(token) > len(word) and _stands(word, token) for token in known):
        return _WITHIN
    if len(word) >= _VERY_LONG and word.isalpha() and any(_one_off(word, token) for token in known):
        return _NEAR
    return 0.0


def _stands(piece: str, text: str) -> bool:
    """Whether it is a part of the text. A number is no part of a longer number."""
    before = r"(?<!\d)" if piece[:1].isdigit() else ""
    after = r"(?!\d)" if piece[-1:].isdigit() else ""
    return re.search(before + re.escape(piece) + after, text) is not None


def _one_off(word: str, token: str) -> bool:
    """Whether one letter is wrong, missing or too many."""
    if abs(len(word) - len(token)) > 1:
        return False
    short, long = sorted((word, token), key=len)
    start = next((i for i, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    return short[start + (len(short) == len(long)) :] == long[start + 1 :]
