"""PP-OCR: detector, classifier and recogniser. Before one is installed it is compared with single runs of its own file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from export import graph, parity, ppocr_graph
from export.install import Built
from export.sources import ppocr as source
from export.wanted import Original, Wanted
from export.weights import Extras, Weights
from kizu_fast import specs
from kizu_fast.backends.repository import CHARACTERS
from kizu_fast.domain import Photo
from kizu_fast.errors import ConfigError
from kizu_fast.models import ppocr
from kizu_fast.specs import Family, ModelSpec

PARITY_BUCKETS = ((736, 736), (544, 960))  # the graph is the same in all: these two show height and width apart
PARITY_WIDTHS = (160, 640)
PARITY_WORDS = ("Invoice 4711", "Grüße aus München", "crème brûlée 7,50 €", "¿Dónde está?", "KODAK GOLD 200", "x")
MAX_LEVEL_DIFFERENCE = 1.0  # of 255: a probability that lies between two levels may be rounded either way
MAX_PROBABILITY_DIFFERENCE = 1e-4

Arrays = Mapping[str, NDArray[np.generic]]


def load(original: Original, weights: Weights) -> Path:
    """The part's file. Raises ConfigError when there is none."""
    if weights.path is None:
        raise ConfigError(f"{original}: PP-OCR comes as ONNX files, there are no random weights for them")
    return weights.path


def build(file: Path, wanted: Wanted, folder: Path, _extras: Extras) -> Built:
    """Write one graph, and a recogniser's characters beside it. Raises ConfigError when the file is of another kind, or parity fails."""
    spec = SPECS[wanted.family](wanted.name)
    core = ppocr_graph.read(file)
    path = folder / "1" / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(ppocr_graph.whole(core, spec), str(path))
    graph.declare(path, spec)
    facts: dict[str, Any] = {**graph.check(path, spec), "file": file.name, "taken_from": _taken_from(wanted.original, file)}
    if wanted.family is Family.PPOCR_RECOGNISER:
        characters = ppocr_graph.characters(core, file)
        (folder / CHARACTERS).write_text("\n".join(characters), encoding="utf-8", newline="\n")
        facts["characters"] = len(characters)
    figures = FIGURES[wanted.family](graph.Session(file), graph.Session(path), spec)
    demand(wanted.name, figures)
    return Built(spec, {**facts, "parity": figures}, "")


def _taken_from(original: Original, file: Path) -> str:
    """Where the bytes came from: the package rapidocr carries the official ones."""
    return "the package rapidocr" if file == source.installed(original) else "a folder or the cache of downloads"


def pages(count: int) -> list[Photo]:
    """Rendered pictures with words on them, the same on every machine."""
    font = ImageFont.load_default(36)
    photos = []
    for i, photo in enumerate(parity.pictures(count)):
        image = Image.fromarray(photo.pixels)
        draw = ImageDraw.Draw(image)
        for row in range(2):
            words = PARITY_WORDS[(2 * i + row) % len(PARITY_WORDS)]
            place = (20, 30 + 80 * row)
            draw.rectangle((place[0] - 6, place[1] - 6, place[0] + 30 * len(words), place[1] + 50), fill="white")
            draw.text(place, words, fill="black", font=font)
        photos.append(Photo(np.asarray(image), photo.width, photo.height))
    return photos


def lines(width: int) -> list[NDArray[np.uint8]]:
    """One row (48, width, 3) for each of PARITY_WORDS."""
    font = ImageFont.load_default(34)
    rows = []
    for words in PARITY_WORDS:
        image = Image.new("RGB", (int(font.getlength(words)) + 12, specs.PPOCR_LINE), "white")
        ImageDraw.Draw(image).text((6, 2), words, fill="black", font=font)
        crop = ppocr.Crop(np.asarray(image), np.zeros((4, 2), np.float32))
        rows.append(ppocr.fitted(crop, width))
    return rows


def planes(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W, 3) RGB to the (1, 3, H, W) BGR from -1 to 1 that the files take, as rapidocr computes it."""
    scaled = (pixels[..., ::-1].astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def _theirs(original: graph.Session, row: NDArray[np.uint8]) -> NDArray[np.float32]:
    (answer,) = original.run({"x": planes(row)}).values()
    return np.asarray(answer[0], np.float32)


def _runs(session: graph.Session, spec: ModelSpec, rows: Sequence[NDArray[np.uint8]]) -> tuple[Arrays, list[Arrays], float]:
    """The rows as one batch, each alone, and the largest difference between the two."""
    together: Arrays = session.run(spec.stack([{"pixels": row} for row in rows]))
    alone: list[Arrays] = [session.run(spec.stack([{"pixels": row}])) for row in rows]
    apart = max(float(np.abs(one[name][0].astype(np.float64) - together[name][i]).max()) for i, one in enumerate(alone) for name in one)
    return together, alone, apart


def detector_figures(original: graph.Session, session: graph.Session, spec: ModelSpec) -> dict[str, Any]:
    """Rendered words in two buckets, as a batch of three and alone, against single runs of the unmodified file."""
    worst, batch = 0.0, 0.0
    for bucket in PARITY_BUCKETS:
        rows = [ppocr.framed(photo, ppocr.frame_for(photo.height, photo.width, [bucket], longest=max(bucket))) for photo in pages(3)]
        together, _, apart = _runs(session, spec, rows)
        wanted = np.stack([_theirs(original, row)[0] for row in rows]) * 255
        worst, batch = max(worst, float(np.abs(together["text"] - wanted).max())), max(batch, apart)
    return {"level_difference": worst, "batch_level_difference": batch, "pictures": 3 * len(PARITY_BUCKETS), "batches": list(parity.BATCHES)}


def classifier_figures(original: graph.Session, session: graph.Session, spec: ModelSpec) -> dict[str, Any]:
    """Rendered lines, upright and on their heads."""
    rows = [row for line in lines(specs.PPOCR_TURN)[:3] for row in (line, np.ascontiguousarray(line[::-1, ::-1]))]
    together, _, apart = _runs(session, spec, rows)
    worst = float(np.abs(together["turned"] - np.stack([_theirs(original, row) for row in rows])).max())
    return {"probability_difference": worst, "batch_difference": apart, "pictures": len(rows), "batches": [1, len(rows)]}


def recogniser_figures(original: graph.Session, session: graph.Session, spec: ModelSpec) -> dict[str, Any]:
    """Rendered lines in two widths: the same class at every step, in a batch and alone."""
    worst, batch, wrong = 0.0, 0.0, 0
    for width in PARITY_WIDTHS:
        rows = lines(width)[:3]
        together, alone, _ = _runs(session, spec, rows)
        theirs = np.stack([_theirs(original, row) for row in rows])
        wrong += int((together["ids"] != theirs.argmax(axis=2)).sum()) + sum(
            int((one["ids"][0] != together["ids"][i]).sum()) for i, one in enumerate(alone)
        )
        worst = max(worst, float(np.abs(together["scores"] - theirs.max(axis=2)).max()))
        batch = max(batch, *(float(np.abs(one["scores"][0] - together["scores"][i]).max()) for i, one in enumerate(alone)))
    pictures = 3 * len(PARITY_WIDTHS)
    return {"other_classes": wrong, "probability_difference": worst, "batch_difference": batch, "pictures": pictures, "batches": list(parity.BATCHES)}


def demand(name: str, figures: Mapping[str, Any]) -> None:
    """Raises ConfigError, naming figure and bound, when the graph is not the original: nothing may be installed then."""
    bounds = {
        "level_difference": MAX_LEVEL_DIFFERENCE,
        "batch_level_difference": MAX_LEVEL_DIFFERENCE,
        "probability_difference": MAX_PROBABILITY_DIFFERENCE,
        "batch_difference": MAX_PROBABILITY_DIFFERENCE,
        "other_classes": 0,
    }
    for key in bounds.keys() & figures.keys():
        if not figures[key] <= bounds[key]:
            raise ConfigError(f"{name}: parity with the original failed, {key} {figures[key]:.3g} is above {bounds[key]}; nothing was installed")


SPECS = {
    Family.PPOCR_DETECTOR: specs.ppocr_detector,
    Family.PPOCR_CLASSIFIER: specs.ppocr_classifier,
    Family.PPOCR_RECOGNISER: specs.ppocr_recogniser,
}
FIGURES = {
    Family.PPOCR_DETECTOR: detector_figures,
    Family.PPOCR_CLASSIFIER: classifier_figures,
    Family.PPOCR_RECOGNISER: recogniser_figures,
}
