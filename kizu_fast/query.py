"""Search text to what it asks for: which objects, and the meaning that is left. Pure.

Objects boost, they never hide: a detector misses. So their words stay in the semantic part as well.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from kizu_fast.wording import asked, folded

# COCO's label -> everyday words for it. Regular plurals are derived; a word that usually means something else is left out.
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "person": ("people", "human", "somebody", "someone"),
    "bicycle": ("bike", "cycle", "pushbike"),
    "car": ("automobile", "taxi", "cab", "suv", "sedan"),
    "motorcycle": ("motorbike", "scooter", "moped"),
    "airplane": ("aeroplane", "plane", "jet", "airliner", "aircraft"),
    "bus": ("coach", "minibus"),
    "train": ("tram", "locomotive", "railcar"),
    "truck": ("lorry", "pickup", "fire truck"),
    "boat": ("ship", "sailboat", "yacht", "canoe", "kayak", "ferry"),
    "traffic light": ("stoplight", "traffic signal"),
    "fire hydrant": ("hydrant",),
    "stop sign": (),
    "parking meter": (),
    "bench": ("park bench",),
    "bird": ("pigeon", "seagull", "gull", "parrot", "sparrow", "owl", "eagle"),
    "cat": ("kitten", "kitty"),
    "dog": ("puppy", "doggy", "hound", "poodle", "labrador", "terrier"),
    "horse": ("pony", "foal", "stallion"),
    "sheep": ("lamb", "ewe"),
    "cow": ("cattle", "calf", "bull"),
    "elephant": (),
    "bear": ("grizzly", "polar bear", "bear cub"),
    "zebra": (),
    "giraffe": (),
    "backpack": ("rucksack", "knapsack"),
    "umbrella": ("parasol",),
    "handbag": ("purse",),
    "tie": ("necktie", "bow tie"),
    "suitcase": ("luggage",),
    "frisbee": (),
    "skis": ("ski",),
    "snowboard": (),
    "sports ball": ("football", "soccer ball", "basketball", "volleyball", "tennis ball"),
    "kite": (),
    "baseball bat": (),
    "baseball glove": ("baseball mitt",),
    "skateboard": (),
    "surfboard": (),
    "tennis racket": ("tennis racquet", "racket", "racquet"),
    "bottle": (),
    "wine glass": ("goblet",),
    "cup": ("mug", "teacup"),
    "fork": (),
    "knife": ("knives",),
    "spoon": (),
    "bowl": (),
    "banana": (),
    "apple": (),
    "sandwich": ("sandwiches", "burger", "hamburger"),
    "orange": ("mandarin orange",),
    "broccoli": (),
    "carrot": (),
    "hot dog": ("hotdog",),
    "pizza": (),
    "donut": ("doughnut",),
    "cake": ("cupcake", "birthday cake"),
    "chair": ("armchair",),
    "couch": ("sofa", "settee"),
    "potted plant": ("houseplant", "pot plant"),
    "bed": (),
    "dining table": ("kitchen table",),
    "toilet": (),
    "tv": ("television", "telly", "tv set"),
    "laptop": ("notebook computer",),
    "mouse": ("computer mouse",),
    "remote": ("remote control",),
    "keyboard": ("computer keyboard",),
    "cell phone": ("mobile phone", "smartphone", "cellphone", "iphone", "phone"),
    "microwave": ("microwave oven",),
    "oven": ("stove",),
    "toaster": (),
    "sink": ("washbasin",),
    "refrigerator": ("fridge", "freezer"),
    "book": ("paperback",),
    "clock": ("alarm clock",),
    "vase": (),
    "scissors": (),
    "teddy bear": ("teddy", "plush bear"),
    "hair drier": ("hair dryer", "hairdryer", "blow dryer"),
    "toothbrush": (),
}
# As an animal these are far more frequent than as COCO's object, or are verbs and adjectives: never taken alone.
_AMBIGUOUS = frozenset({"mouse", "orange", "tie", "remote"})
_IRREGULAR = {
    "person": ("persons",),
    "sheep": (),
    "mouse": ("mice",),
    "skis": (),
    "scissors": (),
    "knife": (),
    "calf": ("calves",),
    "people": (),
    "cattle": (),
    "luggage": (),
}

# After an object word these (or the end, or punctuation) show that it was the head of its phrase and no modifier: 'dog on a beach', not 'dog park'.
_BREAKS = frozenset(
    [
        "a",
        "an",
        "the",
        "and",
        "or",
        "with",
        "without",
        "in",
        "on",
        "at",
        "by",
        "near",
        "of",
        "to",
        "from",
        "under",
        "over",
        "behind",
        "beside",
        "between",
        "into",
        "through",
        "for",
        "while",
        "who",
        "that",
        "is",
        "are",
        "was",
        "were",
        "my",
        "our",
        "your",
        "his",
        "her",
        "their",
        "next",
        "inside",
        "outside",
        "around",
        "against",
        "along",
        "across",
        "during",
        "after",
        "before",
        "wearing",
        "holding",
    ]
)
_LEADS = re.compile(
    r"^(?:(?:please\s+)?(?:show|find|get|give)\s+(?:me\s+)?)?(?:all\s+|any\s+|some\s+)?(?:(?:my|our|the|a|an)\s+)?(?:photos?|pictures?|pics?|images?|snapshots?)\s+(?:of|with|showing)\s+",
    re.IGNORECASE,
)
# Pairs of quotes with words between them, and the words that lead to them. An apostrophe and an inch mark alone are none.
_QUOTED = re.compile(
    r"(?:\b(?:that says|which says|saying|that reads|reading|with the (?:text|words?|inscription)|mit dem text|mit der aufschrift|avec le texte|que dice|"
    r"con el texto|con scritto|que diz|com o texto)\s+)?"
    r"(?:(?<![\d\w])\"([^\"]*\w[^\"]*)\"(?!\w)|\u201c([^\u201c\u201d]+)\u201d|\u201e([^\u201c\u201d\u201e]+)[\u201c\u201d]|\u00ab([^\u00ab\u00bb]+)\u00bb"
    r"|\u00bb([^\u00ab\u00bb]+)\u00ab|\u300c([^\u300c\u300d]+)\u300d)",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)?")
_LONGEST = 3  # words in the longest surface form


@dataclass(frozen=True, slots=True)
class Understanding:
    """What a query asks for.

    semantic: text for the embedder, None if nothing but command words is left. objects: canonical COCO labels, in order of mention.
    text: quoted words, which have to stand in the photo. words: what of the rest is looked for in texts and captions, folded.
    """

    semantic: str | None
    objects: tuple[str, ...]
    text: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


def understand(query: str) -> Understanding:
    """Never raises; the same query always gives the same answer."""
    text = " ".join(unicodedata.normalize("NFKC", query).split())
    quoted = tuple(dict.fromkeys(words.strip() for match in _QUOTED.finditer(text) for words in match.groups("") if words.strip()))
    rest = " ".join(_QUOTED.sub(" ", text).split())
    semantic = _LEADS.sub("", f"{rest} ", count=1).strip()
    if not _WORD.search(semantic):
        return Understanding(None, (), quoted)
    what = asked(folded(semantic))
    return Understanding(semantic, _objects(semantic), quoted, (*what.words, *what.pieces))


def _objects(text: str) -> tuple[str, ...]:
    words = [(match.group().casefold(), match.start(), match.end()) for match in _WORD.finditer(text)]
    found: dict[str, None] = {}
    i = 0
    while i < len(words):
        size, label = _longest_match([word for word, _, _ in words[i : i + _LONGEST]])
        last = i + max(size, 1) - 1
        if label is not None and _is_head(text, words, last):
            found[label] = None
        i = last + 1
    return tuple(found)


def _longest_match(words: list[str]) -> tuple[int, str | None]:
    for size in range(len(words), 0, -1):
        label = _SURFACE.get(" ".join(words[:size]))
        if label is not None:
            return size, label
    return 0, None


def _is_head(text: str, words: list[tuple[str, int, int]], last: int) -> bool:
    word, _, end = words[last]
    if last + 1 == len(words):
        return True
    following, start, _ = words[last + 1]
    if text[end:start].strip():  # punctuation parts the phrases
        return True
    return following in _BREAKS or following.endswith(("ing", "ed")) or _is_plural(word)


def _is_plural(word: str) -> bool:
    """A plural hardly ever modifies the noun behind it."""
    return word.endswith("s") and word.removesuffix("s") in _SURFACE


def _plurals(word: str) -> tuple[str, ...]:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    head, space, last = word.rpartition(" ")
    if last.endswith(("s", "x", "ch", "sh")):
        plural = last + "es"
    elif last.endswith("y") and last[-2] not in "aeiou":
        plural = last[:-1] + "ies"
    elif last.endswith("f"):
        plural = last[:-1] + "ves"
    else:
        plural = last + "s"
    return (f"{head}{space}{plural}",)


def _surface_forms() -> dict[str, str]:
    forms: dict[str, str] = {}
    for label, synonyms in SYNONYMS.items():
        for word in (label, *synonyms):
            for form in (word, *_plurals(word)):
                if form not in _AMBIGUOUS:
                    forms.setdefault(form, label)
    return {form: label for form, label in forms.items() if form != "mice"}


_SURFACE = _surface_forms()
