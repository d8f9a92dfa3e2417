"""Strings that try a tokenizer: twelve scripts, emoji, entities, control characters, the library's own tokens, very long and empty ones."""

import random
from collections.abc import Sequence

SCRIPTS: dict[str, str] = {
    "latin": "a dog on the beach at sunset café naïve Straße señor Ångström it's they'll we've I'm don't",
    "cyrillic": "собака на пляже закат над морем семья дома Їжак",
    "greek": "σκύλος στην παραλία ηλιοβασίλεμα ΘΆΛΑΣΣΑ οικογένεια",
    "arabic": "كلب على الشاطئ غروب الشمس عائلة في المنزل ١٢٣",
    "hebrew": "כלב על החוף שקיעה מעל הים משפחה",
    "devanagari": "समुद्र तट पर कुत्ता सूर्यास्त परिवार १२३",
    "thai": "สุนัขบนชายหาด พระอาทิตย์ตก ครอบครัว",
    "han": "海滩上的狗 日落 家庭聚会 二〇二四年",
    "kana": "ビーチの犬 ゆうやけ かぞく ﾊﾝｶｸ",
    "hangul": "해변의 개 일몰 가족 사진",
    "georgian": "ძაღლი სანაპიროზე მზის ჩასვლა",
    "armenian": "շուն լողափին մայրամուտ ընտանիք",
}
ODD: tuple[str, ...] = (
    "", " ", "\n\t ", "\x00", "a\x00b\x07c", "&amp;amp;lt;b&amp;amp;gt;", "&lt;b&gt;bold&lt;/b&gt; &eacute;&#128512;", "<start_of_text> a dog <end_of_text>", "!!<start_of_text>",
    "<END_OF_TEXT>", "x<end_of_text>y<start_of_text><start_of_text>", "🎂🎉🏖️👨‍👩‍👧‍👦🇩🇪", "👍🏽 ok", "ſtreet it'ſ K KELVIN ﬁne İstanbul", "it's IT'S they'RE 'll'd''s", "a" * 5000, "1234567890" * 40,
    "dog " * 500, "â€œquotedâ€\x9d cafÃ©", "e\u0301 n\u0303 A\u030a", "zero\u200bwidth\u200djoiner\ufeff", "\u202eright to left\u202c", "½ ² Ⅷ ① ㊙ ™ №", "\ud7ff \ue000 \U0010fffd", "tab\tnew\nline\r\nend",
    "http://example.org/a_b?c=d&e=f", "snake_case __init__ -- – — …", "ＦＵＬＬ ｗｉｄｔｈ", "\x85next\u2028line\u2029par", "a\u00a0b\u3000c\u1680d", "'", "''''", "$€¥£ 100% #tag @you",
)  # fmt: skip
_GLUE = (" ", " ", " ", "", ", ", "-", "_", "...", "!", " 🎈", "&amp;", "\u00a0", "'s ", " 7", "\n")


def texts(count: int, scripts: Sequence[str] = tuple(SCRIPTS)) -> list[str]:
    """count strings, the same on every machine: the odd ones first, then words of the scripts glued together in many ways."""
    chance = random.Random(11)  # noqa: S311  # reproducible, not secret
    made = list(ODD)
    while len(made) < count:
        script = scripts[len(made) % len(scripts)]
        words = SCRIPTS[script].split() + (SCRIPTS[chance.choice(scripts)].split() if chance.random() < 0.2 else [])  # noqa: PLR2004  # one in five is mixed
        chosen = [_worn(chance.choice(words), chance) + chance.choice(_GLUE) for _ in range(chance.randint(1, 120 if chance.random() < 0.05 else 9))]  # noqa: PLR2004
        made.append("".join(chosen))
    return made[:count]


def _worn(word: str, chance: random.Random) -> str:
    """The word as people write it: as it is, in capitals, with a character lost."""
    how = chance.random()
    if how < 0.15:  # noqa: PLR2004  # a few of each
        return word.upper()
    cut = chance.randrange(len(word))
    return word[:cut] + word[cut + 1 :] if how < 0.25 and len(word) > 1 else word  # noqa: PLR2004
