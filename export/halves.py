"""How well half precision agrees with the fp32 models on pictures: prints a table, exit 1 when a gate is missed.

    python -m export.halves --images DIR [--against fp16|openvino] [--repository DIR] [--pictures 40] [--json]

The fp32 models run on onnxruntime's CPU provider, and so do their fp16 variants; openvino is the worker's own backend, in bf16 where the processor
computes in it. --images is a folder of pictures; subfolders photos/, faces/ and objects/ (with COCO's truth.json) are taken where they exist.
A model without a variant is left out; make them with: python -m export --precision fp16

gates:
  CLIP, image and text      cosine to fp32 >= 0.999
  YOLOv8                    mAP50-95 within 0.005 of fp32
  faces                     cosine to fp32 >= 0.995, no face missing or extra
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from export import graph, half, parity, strings
from export.fidelity import pictures
from export.on_backend import OnBackend
from export.quiet import quiet
from kizu_fast.backends.openvino import OpenvinoBackend
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.domain import Faces, Photo
from kizu_fast.errors import ConfigError
from kizu_fast.geometry import iou_matrix
from kizu_fast.imaging import decode
from kizu_fast.lanes import available_cores
from kizu_fast.models import clip, clip_text
from kizu_fast.settings import load_settings
from kizu_fast.specs import Family, ModelSpec, is_half

MAX_PIXELS, MAX_BYTES = 128_000_000, 268_435_456
SAME_FACE_IOU = 0.5
TEXTS = 100


class Line(NamedTuple):
    """One figure. kept: whether its gate holds."""

    model: str
    figure: str
    value: float
    gate: str
    kept: bool


class Other(NamedTuple):
    """What is compared with the fp32 models on onnxruntime."""

    name: str
    names: Sequence[str]  # of the models that it has
    open: Callable[[ModelSpec], graph.Runs]


def main(arguments: Sequence[str]) -> int:
    """Exit 0 when every gate holds."""
    parser = argparse.ArgumentParser(prog="python -m export.halves", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, metavar="DIR", required=True)
    parser.add_argument("--repository", type=Path, metavar="DIR")
    parser.add_argument("--pictures", type=int, default=40, metavar="N", help="of photos/ and faces/ (default 40)")
    parser.add_argument("--against", choices=sorted(AGAINST), default="fp16", help="what is compared (default fp16)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    try:
        repository = ModelRepository(options.repository or load_settings().model_repository)
        found = list(lines(repository, options.images, options.pictures, AGAINST[options.against]))
    except ConfigError as error:
        sys.stderr.write(f"halves: {error}\n")
        return 1
    if options.json:
        sys.stdout.write(json.dumps([line._asdict() for line in found]) + "\n")
    else:
        for line in found:
            sys.stdout.write(f"{line.model:32} {line.figure:24} {line.value:<12.6g} {line.gate:28} {'kept' if line.kept else 'MISSED'}\n")
    return 0 if all(line.kept for line in found) else 1


def fp16(repository: ModelRepository) -> Other:
    """The variants, on onnxruntime. Raises ConfigError when there is none."""
    names = [name for name in repository.names() if not is_half(name) and repository.half(name) is not None]
    if not names:
        raise ConfigError(f"{repository.root} holds no fp16 variant; run: python -m export --precision fp16")
    return Other("fp16", names, lambda spec: half.session(repository.half(spec.name) or repository.path(spec.name)))


def openvino(repository: ModelRepository) -> Other:
    """All models, as a worker with --backend openvino has them. Raises ConfigError when OpenVINO is not installed."""
    backend = OnBackend(OpenvinoBackend(repository, lanes=available_cores()))
    names = [name for name in repository.names() if not is_half(name)]
    return Other("openvino", names, backend.open)


AGAINST = {"fp16": fp16, "openvino": openvino}


def lines(repository: ModelRepository, images: Path, count: int, against: Callable[[ModelRepository], Other] = fp16) -> Iterator[Line]:
    """All models that the other side has. Raises ConfigError when it has none, or there is no picture."""
    other, some = against(repository), pictures(images)[:count]
    for spec in map(repository.spec, other.names):
        if spec.family is Family.CLIP_IMAGE:
            rows = [clip.preprocess(_read(path), spec.inputs[0].shape[0], spec.preprocessing) for path in some]
            yield _cosine(repository, spec, rows, other)
        elif spec.family is Family.CLIP_TEXT:
            ids = clip_text.load_tokenizer(repository.tokenizer(spec.name), spec.inputs[0].shape[0], spec.preprocessing)
            yield _cosine(repository, spec, [ids(text) for text in strings.texts(TEXTS)], other)
        elif spec.family is Family.YOLO:
            yield from _objects(repository, spec, images / "objects", other)
        elif spec.family is Family.FACE_DETECTOR:
            yield from _faces(repository, spec, sorted((images / "faces").glob("*.jpg"))[:count] or some, other)


def _cosine(repository: ModelRepository, spec: ModelSpec, rows: Sequence[NDArray[Any]], other: Other) -> Line:
    """The worst of all rows. Sessions one after the other: two towers at once are half a gigabyte."""
    full = _vectors(graph.Session(repository.path(spec.name)), spec, rows)
    worst = parity.compare_vectors(_vectors(other.open(spec), spec, rows), full)["cosine_min"]
    return Line(spec.name, f"cosine_min of {len(rows)}", worst, ">= 0.999", worst >= 0.999)  # noqa: PLR2004  # the gate, as it is printed


def _vectors(session: graph.Runs, spec: ModelSpec, rows: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    name = spec.inputs[0].name
    found = [session.run({name: np.stack(rows[first : first + 8])})[spec.outputs[0].name] for first in range(0, len(rows), 8)]
    return np.asarray(np.concatenate(found), np.float32)


def _objects(repository: ModelRepository, spec: ModelSpec, folder: Path, other: Other) -> Iterator[Line]:
    if not (folder / "truth.json").exists():
        sys.stderr.write(f"halves: {spec.name}: no {folder / 'truth.json'}, mAP is left out\n")
        return
    with quiet():
        from export import measure  # noqa: PLC0415  # torch and the original libraries: only for mAP

    sessions = (graph.Session(repository.path(spec.name)), other.open(spec))
    full, lower = (measure.mean_average_precision(measure.Detector(session, spec.labels), folder)[0] for session in sessions)
    yield Line(spec.name, "mAP50-95 fp32", full, "", kept=True)
    yield Line(spec.name, f"mAP50-95 {other.name}", lower, "within 0.005 of fp32", abs(full - lower) <= 0.005)  # noqa: PLR2004  # the gate


def _faces(repository: ModelRepository, detector: ModelSpec, paths: Sequence[Path], other: Other) -> Iterator[Line]:
    """Detector and embedder together, as they work."""
    embedder = detector.name.removesuffix("-detector") + "-embedder"
    if embedder not in other.names:
        sys.stderr.write(f"halves: {detector.name}: no {embedder} beside it, faces are left out\n")
        return
    with quiet():
        from export.face_fidelity import Finder  # noqa: PLC0415  # insightface: only for faces

    pack = detector.name.removeprefix("face-").removesuffix("-detector")
    full, lower = Finder(repository.root, pack), Finder(repository.root, pack, other.open)
    found = [_same_faces(full.find(_read(path)), lower.find(_read(path))) for path in paths]
    unpaired, cosine = sum(one[0] for one in found), min((value for one in found for value in one[1]), default=1.0)
    compared = sum(len(one[1]) for one in found)
    yield Line(detector.name, "faces missing or extra", unpaired, "0", unpaired == 0)
    yield Line(embedder, f"cosine_min of {compared}", cosine, ">= 0.995", cosine >= 0.995)  # noqa: PLR2004  # the gate


def _same_faces(full: Faces, half: Faces) -> tuple[int, list[float]]:
    """Faces without a partner, and the cosines of those with one."""
    if not len(full) or not len(half):
        return len(full) + len(half), []
    iou = iou_matrix(np.concatenate((full.boxes_xyxy, half.boxes_xyxy)))[: len(full), len(full) :]
    partner = iou.argmax(axis=1)
    same = [i for i in range(len(full)) if iou[i, partner[i]] >= SAME_FACE_IOU]
    return len(full) + len(half) - 2 * len({int(partner[i]) for i in same}), [float(full.vectors[i] @ half.vectors[partner[i]]) for i in same]


def _read(path: Path) -> Photo:
    return decode(path.read_bytes(), max_pixels=MAX_PIXELS, max_bytes=MAX_BYTES)[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
