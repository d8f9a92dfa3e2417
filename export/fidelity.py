"""How well the exported models agree with the original libraries, on pictures: prints the figures, exit 1 when one misses its bound.

    python -m export.fidelity --weights DIR --images DIR [--models clip,yolov8n] [--json]

--weights is what `python -m export` takes: a folder, official or random. A CLIP that the folder lacks is measured with seeded random
weights (graph and preprocessing are compared with the same weights, so that their parity is shown all the same).
--images is a folder of pictures; with subfolders photos/ and objects/ (objects/truth.json in COCO's format) these are taken, and
objects/ gives the detector's mAP. Models are exported first if they are not, into --repository.

What is measured:
  preprocessing   mean absolute difference to open_clip's transform, in 8-bit levels: mean <= 0.75, worst <= 2.0, exact mode <= 0.1
  clip            cosine of graph and open_clip with the same weights, plain and centred, over 100 pictures: >= 0.9999
  tokens          strings of 1,000 in 12 scripts whose token ids equal open_clip's: all
  objects         mAP50-95 at conf 0.001 of our way, of ultralytics at the same shape (within 0.002), of its predict (at most 0.005 above)
"""

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export import graph, run, sources, strings, weights
from export.download import Downloader
from export.quiet import quiet
from export.wanted import Wanted
from kizu_fast.errors import ConfigError
from kizu_fast.settings import load_settings
from kizu_fast.specs import Family

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
BOUNDS = {
    "preprocessing mean": ("<=", 0.75),
    "preprocessing worst": ("<=", 2.0),
    "preprocessing exact worst": ("<=", 0.1),
    "clip cosine_min": (">=", 0.9999),
    "clip centred_cosine_min": (">=", 0.9999),
    "tokens unequal": ("<=", 0),
    "objects below same shape": ("<=", 0.002),
    "objects below predict": ("<=", 0.005),
}
CLIP_PICTURES, END_TO_END, STRINGS = 100, 24, 1000


def main(arguments: Sequence[str]) -> int:
    """Exit 0 when every figure keeps its bound, 1 when one does not or something is missing."""
    parser = argparse.ArgumentParser(prog="python -m export.fidelity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", metavar="DIR|official|random", required=True)
    parser.add_argument("--images", type=Path, metavar="DIR", required=True)
    parser.add_argument("--models", metavar="A,B", default="clip,yolo")
    parser.add_argument("--repository", type=Path, metavar="DIR")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    try:
        figures = _measure(options)
    except ConfigError as error:
        sys.stderr.write(f"fidelity: {error}\n")
        return 1
    missed = [name for name, value in figures.items() if name in BOUNDS and not _kept(name, value)]
    if options.json:
        sys.stdout.write(json.dumps({"figures": figures, "bounds": BOUNDS, "missed": missed}) + "\n")
    else:
        for name, value in figures.items():
            bound = f"  {' '.join(map(str, BOUNDS[name]))}{'  MISSED' if name in missed else ''}" if name in BOUNDS else ""
            sys.stdout.write(f"{name:32} {value if isinstance(value, str) else format(value, '.6g')}{bound}\n")
    return 1 if missed else 0


def _kept(name: str, value: float) -> bool:
    direction, bound = BOUNDS[name]
    return value <= bound if direction == "<=" else value >= bound


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    settings = load_settings()
    source = options.weights if options.weights in (weights.OFFICIAL, weights.RANDOM) else Path(options.weights).expanduser().resolve()
    job = run.Job(options.repository or settings.model_repository, settings.model_cache_dir, source, Downloader(), _say)
    random = source == weights.RANDOM
    figures: dict[str, Any] = {}
    for model in sources.chosen(options.models.split(","), settings, random=random):
        figures.update(_of_model(_to_be_had(model, job), job, options.images))
    return figures


def _to_be_had(model: Wanted, job: run.Job) -> Wanted:
    """The model itself, or CLIP's random twin when there are no trained weights of it."""
    if model.original.family != "clip" or model.original.random:
        return model
    try:
        weights.find(model.original, job.source or weights.OFFICIAL, job.cache, job.downloader)
    except ConfigError as error:
        _say(f"{error}; measuring with random weights")
        return sources.untrained(model)
    return model


def _of_model(model: Wanted, job: run.Job, images: Path) -> dict[str, Any]:
    outcome = run.export([model], job)
    if outcome.failures:
        raise ConfigError(outcome.failures[model.name])
    path = job.repository / model.name / "1" / "model.onnx"
    found = weights.find(model.original, job.source or weights.OFFICIAL, job.cache, job.downloader)
    with quiet():
        measure = importlib.import_module("export.measure")
        if model.family is Family.CLIP_IMAGE:
            return _image_tower(measure, model, found, path, pictures(images))
        if model.family is Family.CLIP_TEXT:
            return _tokens(path.parents[1], model)
        return _objects(measure, found, path, images)


def pictures(images: Path) -> list[Path]:
    """The files to look at: those of photos/ if there is such a folder."""
    folder = images / "photos" if (images / "photos").is_dir() else images
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ConfigError(f"--images {images} holds no picture ({', '.join(SUFFIXES)})")
    return sorted(paths, key=lambda path: not path.name.startswith("orig-"))  # those at full camera size first


def _image_tower(measure: Any, model: Wanted, found: weights.Weights, path: Path, paths: list[Path]) -> dict[str, Any]:
    clip = importlib.import_module("export.clip").load(model.original, found)
    scaled, exact = measure.preprocessing(paths, side=clip.side)
    same, whole = measure.graph_vectors(clip, path, paths[-CLIP_PICTURES:]), measure.clip_vectors(clip, path, paths[-END_TO_END:])
    return {
        "preprocessing mean": scaled.mean,
        "preprocessing worst": scaled.worst,
        "preprocessing worst file": scaled.worst_file,
        "preprocessing exact worst": exact.worst,
        "preprocessing pictures": scaled.pictures,
        "clip pictures": len(paths[-CLIP_PICTURES:]),
        **{f"clip {key}": value for key, value in same.items()},
        **{f"clip end to end, exact {key}": value for key, value in whole.items()},
    }


def _tokens(folder: Path, model: Wanted) -> dict[str, Any]:
    tokens, open_clip = importlib.import_module("export.tokens"), importlib.import_module("open_clip")
    tokenizer = open_clip.get_tokenizer(model.original.model)
    unequal = tokens.unequal(tokenizer, folder / "tokenizer.json", "p1", strings.texts(STRINGS))
    return {"tokens compared": STRINGS, "tokens unequal": len(unequal)}


def _objects(measure: Any, found: weights.Weights, path: Path, images: Path) -> dict[str, Any]:
    folder = images / "objects"
    if found.path is None or not (folder / "truth.json").exists():
        _say("no trained detector or no objects/truth.json: mAP is left out")
        return {}
    ways = {"ours": measure.Detector(graph.Session(path))} | {
        name: measure.Ultralytics(found.path, same_shape=same) for name, same in (("same shape", True), ("predict", False))
    }
    scores = {name: measure.mean_average_precision(detect, folder)[0] for name, detect in ways.items()}
    return {
        **{f"objects mAP50-95 {name}": value for name, value in scores.items()},
        "objects below same shape": abs(scores["same shape"] - scores["ours"]),
        "objects below predict": scores["predict"] - scores["ours"],
    }


def _say(text: str) -> None:
    sys.stderr.write(f"fidelity: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
