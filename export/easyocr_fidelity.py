"""Our reading of text against easyocr's own Reader with the same weights: lines at its own shapes, error rates at our buckets.

    python -m export.easyocr_fidelity --weights DIR --images DIR [--repository DIR] [--count N] [--json]

--weights is what `python -m export` takes. --images is a folder with truth.json: {"ocr": [{"file", "lang", "text": [lines]}]}; its English pictures
are read, the smallest first. The original runs in full precision (quantize=False); what its default on a CPU, eight-bit weights in the recogniser,
changes is counted beside it. Exit 1 when a line differs at the library's own shapes.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from easyocr import Reader
from numpy.typing import NDArray

from export import run
from export.character_errors import distance, folded, rate
from export.download import Downloader
from export.measure import read
from export.quiet import quiet
from export.sources import easyocr as originals
from export.text_fidelity import Sessions, truth
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.domain import Photo, Texts
from kizu_fast.easyocr import EasyOcr
from kizu_fast.errors import ConfigError
from kizu_fast.models.text import reading_order
from kizu_fast.settings import load_settings
from kizu_fast.specs import EASYOCR_HEIGHT, ModelSpec, easyocr_names

LANGUAGES = ("en",)
CANVAS = 2560  # the longest side that the library looks at
LONGEST = 2048  # as a worker with default settings
MULTIPLE = 32
WIDEST = 64  # of the library's own rows: this often as wide as high
MAX_BOX_DIFFERENCE_PX = 2.0


class Line(NamedTuple):
    """One line as the library gives it."""

    quad: NDArray[np.float64]  # (4, 2) pixels of the picture
    text: str
    confidence: float


class Compared(NamedTuple):
    """One picture through both."""

    file: str
    lines: int
    unpaired: int  # lines that only one of them has
    box_px: float  # the worst corner
    other_texts: int
    confidence: float  # the worst difference
    other_when_quantised: int  # lines that the library's own default reads otherwise
    errors: tuple[int, int, int]  # characters wrong: ours in buckets, ours at its shapes, the library's
    characters: int


class Ours:
    """The chain of the run time on plain sessions, in our buckets or at the library's own shapes."""

    def __init__(self, repository: Path) -> None:
        """Raises ConfigError when the models are not exported."""
        models, names = ModelRepository(repository), easyocr_names("english_g2")
        self.detector, self.recogniser = (models.spec(name) for name in names)
        self._characters = models.characters(names[1])
        self.sessions = Sessions(repository, names)

    def buckets(self, photo: Photo) -> Texts:
        """As a worker reads it."""
        return self._read(photo, self.detector, self.recogniser, LONGEST)

    def exact(self, photo: Photo) -> Texts:
        """With one bucket of exactly the shape that the library would give each graph."""
        height, width = (-(-side // MULTIPLE) * MULTIPLE for side in photo.pixels.shape[:2])
        rows = tuple((EASYOCR_HEIGHT, times * EASYOCR_HEIGHT) for times in range(1, WIDEST + 1))
        return self._read(photo, replace(self.detector, buckets=((height, width),)), replace(self.recogniser, buckets=rows), CANVAS)

    def _read(self, photo: Photo, detector: ModelSpec, recogniser: ModelSpec, longest: int) -> Texts:
        chain = EasyOcr(detector, recogniser, self._characters, languages=LANGUAGES, longest=longest)
        return asyncio.run(chain.analyse(photo, self.sessions))


class Theirs:
    """easyocr's Reader on the CPU, its readtext from the decoded picture on (readtext itself decodes once for colour and once for grey)."""

    def __init__(self, weights: Path) -> None:
        """weights: the folder with craft_mlt_25k.pth and english_g2.pth."""
        with quiet():
            self._full, self._quantised = (
                Reader(list(LANGUAGES), gpu=False, model_storage_directory=str(weights), download_enabled=False, verbose=False, quantize=quantize)
                for quantize in (False, True)
            )

    def read(self, photo: Photo) -> tuple[list[Line], list[Line]]:
        """Lines in full precision, and by the eight-bit recogniser in the same places."""
        grey = cv2.cvtColor(photo.pixels, cv2.COLOR_RGB2GRAY)
        with quiet():
            level, slanted = self._full.detect(photo.pixels, reformat=False)
            full, quantised = (
                [_line(found) for found in each.recognize(grey, level[0], slanted[0], reformat=False)] for each in (self._full, self._quantised)
            )
        return full, quantised


def _line(found: Any) -> Line:
    quad, text, confidence = found
    return Line(np.array(quad, np.float64), str(text), float(confidence))


def compare(ours: Ours, theirs: Theirs, path: Path, wanted: Sequence[str]) -> Compared:
    """One picture, decoded once in full for both."""
    photo = read(path, exact=True)
    full, quantised = theirs.read(photo)
    spoken = [line for line in full if line.text.strip()]
    exact, bucketed = ours.exact(photo), ours.buckets(photo)
    pairs = [(line, near) for line in spoken for near in exact.lines if _apart(line, near.polygon) <= MAX_BOX_DIFFERENCE_PX]
    told = [
        [line.text for line in bucketed.lines],
        [line.text for line in exact.lines],
        [spoken[i].text for i in reading_order([line.quad for line in spoken])],
    ]
    first, second, third = (distance(folded(wanted), folded(texts)) for texts in told)
    return Compared(
        path.name,
        len(spoken),
        len(spoken) + len(exact.lines) - 2 * len(pairs),
        max((_apart(line, near.polygon) for line, near in pairs), default=0.0),
        sum(line.text != near.text for line, near in pairs),
        max((abs(line.confidence - near.score) for line, near in pairs), default=0.0),
        sum(one.text != other.text for one, other in zip(full, quantised, strict=True)),
        (first, second, third),
        len(folded(wanted)),
    )


def _apart(line: Line, polygon: NDArray[np.float32]) -> float:
    return float(np.abs(line.quad - polygon).max())


def figures(compared: Sequence[Compared]) -> dict[str, Any]:
    """The worst of all pictures, and error rates over all of their characters."""
    characters = sum(one.characters for one in compared)
    bucketed, exact, original = (rate(sum(one.errors[i] for one in compared), characters) for i in range(3))
    return {
        "pictures": len(compared),
        "lines": sum(one.lines for one in compared),
        "lines missing or extra": sum(one.unpaired for one in compared),
        "box_difference_px": max(one.box_px for one in compared),
        "lines read otherwise": sum(one.other_texts for one in compared),
        "confidence_difference": max(one.confidence for one in compared),
        "lines that the original's own default reads otherwise": sum(one.other_when_quantised for one in compared),
        "characters": characters,
        "error rate in our buckets": bucketed,
        "error rate at its shapes": exact,
        "error rate of the original": original,
    }


def holds(found: dict[str, Any]) -> bool:
    """Whether ours is the library's answer at its own shapes."""
    return not found["lines missing or extra"] and not found["lines read otherwise"] and found["box_difference_px"] <= MAX_BOX_DIFFERENCE_PX


def english(folder: Path, count: int | None) -> list[tuple[Path, tuple[str, ...]]]:
    """The English pictures of a folder, the smallest files first: CRAFT costs seconds a picture. Raises ConfigError."""
    pictures = sorted((picture for picture in truth(folder) if picture.language == "en"), key=lambda picture: picture.path.stat().st_size)
    return [(picture.path, picture.text) for picture in pictures][:count]


def main(arguments: Sequence[str]) -> int:
    """Exit 0 when all lines are the original's, 1 when one is not or something is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m export.easyocr_fidelity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, metavar="DIR", required=True)
    parser.add_argument("--images", type=Path, metavar="DIR", required=True)
    parser.add_argument("--repository", type=Path, metavar="DIR")
    parser.add_argument("--count", type=int, metavar="N", help="the N smallest pictures; default: all")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    try:
        found = _measure(options)
    except ConfigError as error:
        sys.stderr.write(f"easyocr_fidelity: {error}\n")
        return 1
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if options.json else "".join(f"{name:<55} {value:.6g}\n" for name, value in found.items()))
    return 0 if holds(found) else 1


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    settings = load_settings()
    repository = options.repository or settings.model_repository
    job = run.Job(repository, settings.model_cache_dir, options.weights.resolve(), Downloader(), _say)
    models = originals.pair("english_g2")
    failures = run.export(models, job).failures
    if failures:
        raise ConfigError("; ".join(failures.values()))
    files = [originals.in_folder(model.original, options.weights) for model in models]
    theirs = Theirs(next(file for file in files if file is not None).parent)
    ours = Ours(repository)
    return figures([compare(ours, theirs, path, text) for path, text in english(options.images, options.count)])


def _say(line: str) -> None:
    sys.stderr.write(f"export: {line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
