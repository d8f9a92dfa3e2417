"""PP-OCR: one ONNX file a part. The files of the newest set come with the package rapidocr, which the export environment has."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from export.download import Downloader, pinned
from export.wanted import Original, Wanted
from kizu_fast.domain import Operation
from kizu_fast.errors import ConfigError
from kizu_fast.settings import Settings
from kizu_fast.specs import PPOCR_SETS, Family, ppocr_names

HAS_RANDOM: bool = False  # a set is three ONNX files
SHAPING: tuple[str, ...] = ("ppocr.py", "ppocr_graph.py")
HOME = "ppocr"
FAMILIES = (Family.PPOCR_DETECTOR, Family.PPOCR_CLASSIFIER, Family.PPOCR_RECOGNISER)
_CLASSIFIER = "ch_ppocr_mobile_v2.0_cls_mobile"
SETS: Mapping[str, tuple[str, str, str]] = {
    "v6-small": ("PP-OCRv6_det_small", _CLASSIFIER, "PP-OCRv6_rec_small"),
    "v4-ch": ("ch_PP-OCRv4_det_infer", _CLASSIFIER, "ch_PP-OCRv4_rec_infer"),
}
# Place below RELEASE and sha256, as rapidocr's default_models.yaml states them. Its names of the v4 files are newer than the files themselves.
RELEASE = "https://www.modelscope.cn/models/RapidAI/RapidOCR/resolve/v3.10.0/onnx"
OFFICIAL: Mapping[str, tuple[str, str]] = {
    "PP-OCRv6_det_small": ("PP-OCRv6/det/PP-OCRv6_det_small.onnx", "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f"),
    "PP-OCRv6_rec_small": ("PP-OCRv6/rec/PP-OCRv6_rec_small.onnx", "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884"),
    _CLASSIFIER: ("PP-OCRv4/cls/ch_ppocr_mobile_v2.0_cls_mobile.onnx", "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c"),
    "ch_PP-OCRv4_det_infer": ("PP-OCRv4/det/ch_PP-OCRv4_det_mobile.onnx", "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9"),
    "ch_PP-OCRv4_rec_infer": ("PP-OCRv4/rec/ch_PP-OCRv4_rec_mobile.onnx", "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b"),
}


def parts(variant: str, *, random: bool = False) -> list[Wanted]:
    """Detector, classifier and recogniser of a set. There are none with random weights: asking for them fails by name."""
    rows = zip(ppocr_names(variant), FAMILIES, SETS[variant], strict=True)
    return [Wanted(name, family, Original("ppocr", file, variant, random)) for name, family, file in rows]


def standard(_settings: Settings) -> list[Wanted]:
    """The newest set."""
    return parts(PPOCR_SETS[0])


def asked(settings: Settings) -> bool:
    """When ocr is among the operations and PP-OCR is to read."""
    return Operation.OCR in settings.operations and settings.ocr_model == "ppocr"


def named(word: str, _settings: Settings) -> list[Wanted]:
    """A set such as ppocr-v4-ch, or one part of it. Raises ConfigError for a set that is not known."""
    if not word.startswith("ppocr-"):
        return []
    found = [wanted for variant in PPOCR_SETS for wanted in parts(variant) if word in (f"ppocr-{variant}", wanted.name)]
    if not found:
        raise ConfigError(f"unknown model {word!r}: sets of PP-OCR are {', '.join(f'ppocr-{variant}' for variant in PPOCR_SETS)}")
    return found


def untrained(wanted: Wanted) -> Wanted:
    """What cannot be had, by name."""
    return next(part for part in parts(wanted.original.tag, random=True) if part.family == wanted.family)


def candidates(original: Original) -> list[str]:
    """The file, in a folder of its own or bare."""
    return [f"{HOME}/{original.model}.onnx", f"{original.model}.onnx"]


def in_folder(original: Original, folder: Path) -> Path | None:
    """The part's file."""
    return next((folder / name for name in candidates(original) if (folder / name).is_file()), None)


def installed(original: Original) -> Path | None:
    """The part's file inside the package rapidocr, where it is installed and has it."""
    found = importlib.util.find_spec("rapidocr")
    path = Path(found.origin).parent / "models" / f"{original.model}.onnx" if found and found.origin else None
    return path if path is not None and path.is_file() else None


def official(original: Original, cache: Path, downloader: Downloader) -> Path:
    """From the cache, from the package rapidocr, which needs no network, or from RapidAI's release: the same bytes, compared with their sha256.

    Raises Unreachable, ConfigError.
    """
    place, pin = OFFICIAL[original.model]
    file = in_folder(original, cache) or installed(original)
    return pinned(file or downloader.fetch(f"{RELEASE}/{place}", cache / candidates(original)[0], (pin,)), (pin,))


def licence(_original: Original) -> str:
    """PaddleOCR's and RapidOCR's."""
    return "Apache-2.0"
