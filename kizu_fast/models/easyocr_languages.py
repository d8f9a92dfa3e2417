"""Languages of text: EasyOCR's codes, and which of its recognisers reads which of them together."""

import difflib
from collections.abc import Iterable, Mapping, Sequence

from kizu_fast.errors import ConfigError

ENGLISH = "en"
ENGLISH_ALONE = "english_g2"
LATIN = "latin_g2"

_LATIN_CODES = (
    "af", "az", "bs", "cs", "cy", "da", "de", "en", "es", "et", "fr", "ga", "hr", "hu", "id", "is", "it", "ku", "la", "lt", "lv", "mi", "ms",
    "mt", "nl", "no", "oc", "pi", "pl", "pt", "ro", "rs_latin", "sk", "sl", "sq", "sv", "sw", "tl", "tr", "uz", "vi",
)  # fmt: skip
# In the order in which the library asks for them: the first recogniser that reads one of the languages is taken.
_BESIDE_ENGLISH: Mapping[str, Sequence[str]] = {
    "thai_g1": ("th",),
    "zh_tra_g1": ("ch_tra",),
    "zh_sim_g2": ("ch_sim",),
    "japanese_g2": ("ja",),
    "korean_g2": ("ko",),
    "tamil_g1": ("ta",),
    "telugu_g2": ("te",),
    "kannada_g2": ("kn",),
    "bengali_g1": ("bn", "as"),
    "devanagari_g1": ("hi", "mr", "ne", "bh", "mai", "ang", "bho", "mah", "sck", "new", "gom"),
    "cyrillic_g2": ("ru", "rs_cyrillic", "be", "bg", "uk", "mn", "abq", "ady", "kbd", "ava", "dar", "inh", "che", "lbe", "lez", "tab", "tjk"),
}
RECOGNISERS: Mapping[str, tuple[str, ...]] = {  # to the languages that it reads, in the order of its graph's input
    ENGLISH_ALONE: (ENGLISH,),
    LATIN: _LATIN_CODES,
    **{name: (*codes, ENGLISH) for name, codes in _BESIDE_ENGLISH.items()},
}
_RIGHT_TO_LEFT = ("ar", "fa", "ug", "ur")  # its recogniser writes as one sees, and the library turns that round by the rules of Unicode: not built
KNOWN = frozenset(code for codes in RECOGNISERS.values() for code in codes)


def parse_languages(text: str) -> tuple[str, ...]:
    """'en, de' to ('en', 'de'). Raises ConfigError as known_languages does."""
    return known_languages(text.split(","))


def known_languages(words: Iterable[str]) -> tuple[str, ...]:
    """Codes, each once, whatever their case. Raises ConfigError for one that is not EasyOCR's, with the nearest, and for none at all."""
    codes = tuple(dict.fromkeys(word.strip().lower() for word in words if word.strip()))
    if not codes:
        raise ConfigError(f"OCR_LANGUAGES names no language; the default is {ENGLISH}")
    for code in codes:
        if code in _RIGHT_TO_LEFT:
            raise ConfigError(f"OCR_LANGUAGES: {code} is written from right to left, which this version does not read")
        if code not in KNOWN:
            near = difflib.get_close_matches(code, sorted(KNOWN), n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ";"
            raise ConfigError(f"OCR_LANGUAGES: unknown language {code!r}{hint} known are {', '.join(sorted(KNOWN))}")
    return codes


def recogniser_for(languages: Sequence[str]) -> str:
    """The one recogniser that reads all of these, as easyocr.Reader chooses it. Raises ConfigError when there is none, saying what goes together."""
    if tuple(languages) == (ENGLISH,):
        return ENGLISH_ALONE
    name = next((name for name, codes in _BESIDE_ENGLISH.items() if set(codes) & set(languages)), LATIN)
    strangers = [code for code in languages if code not in RECOGNISERS[name]]
    if strangers:
        own = next(code for code in languages if code in RECOGNISERS[name] and code != ENGLISH)
        raise ConfigError(
            f"OCR_LANGUAGES={','.join(languages)}: {own} is read by {name}, which reads {', '.join(RECOGNISERS[name])} "
            f"and not {', '.join(strangers)}; set languages that one recogniser reads, e.g. {own},{ENGLISH}, or OCR_MODEL=ppocr"
        )
    return name
