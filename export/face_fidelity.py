"""Our faces against insightface's own FaceAnalysis with the same files: prints the figures, exit 1 when one misses its bound.

    python -m export.face_fidelity --weights DIR --images DIR [--pack buffalo_s] [--repository DIR] [--exact] [--json]

--weights is a folder with the pack, as `python -m export` takes it; --images a folder of pictures, all of which are compared. --exact decodes
every pixel, as insightface does; without it pictures are decoded as the worker does, scaled down while their short side keeps 720 pixels.
FaceAnalysis runs with its defaults: what it finds at 128 and at 640 pixels together.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np
from insightface.app import FaceAnalysis
from insightface.utils import face_align
from numpy.typing import NDArray

from export import graph, packs, run
from export.download import Downloader
from export.measure import read
from export.quiet import quiet
from export.sources import face
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.domain import Faces, Photo
from kizu_fast.errors import ConfigError
from kizu_fast.faces import FaceFinder, Look
from kizu_fast.geometry import clip_boxes
from kizu_fast.models import arcface
from kizu_fast.settings import load_settings
from kizu_fast.specs import FACE_SIDES, ModelSpec, Tensors, face_names

P = ParamSpec("P")
T = TypeVar("T")

BOUNDS = {
    "faces missing or extra": ("<=", 0),
    "faces iou_min": (">=", 0.95),
    "faces landmark_difference_px": ("<=", 1.5),
    "faces cosine_min": (">=", 0.995),
    "faces crop_difference_levels": ("<=", 1.0),
    "faces batch_difference": ("<=", 0),
}
SAME_FACE_IOU = 0.5  # above it two boxes are taken for one face, and then compared
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
BATCH = 8


def main(arguments: Sequence[str]) -> int:
    """Exit 0 when every figure keeps its bound, 1 when one does not or something is missing."""
    parser = argparse.ArgumentParser(prog="python -m export.face_fidelity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, metavar="DIR", required=True)
    parser.add_argument("--images", type=Path, metavar="DIR", required=True)
    parser.add_argument("--pack", metavar="NAME")
    parser.add_argument("--repository", type=Path, metavar="DIR")
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    try:
        figures = _measure(options)
    except ConfigError as error:
        sys.stderr.write(f"fidelity: {error}\n")
        return 1
    missed = beyond(figures)
    if options.json:
        sys.stdout.write(json.dumps({"figures": figures, "bounds": BOUNDS, "missed": missed}) + "\n")
    for name, value in () if options.json else figures.items():
        bound = f"  {' '.join(map(str, BOUNDS[name]))}{'  MISSED' if name in missed else ''}" if name in BOUNDS else ""
        sys.stdout.write(f"{name:32} {value if isinstance(value, str) else format(value, '.9g')}{bound}\n")
    return 1 if missed else 0


def beyond(figures: dict[str, Any]) -> list[str]:
    """The figures that miss their bounds."""
    return [name for name, (sign, bound) in BOUNDS.items() if (figures[name] < bound if sign == ">=" else figures[name] > bound)]


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    settings = load_settings()
    pack = options.pack or settings.face_model_name
    paths = sorted(path for path in options.images.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ConfigError(f"--images {options.images} holds no picture ({', '.join(SUFFIXES)})")
    folder = options.weights.expanduser().resolve()
    job = run.Job(options.repository or settings.model_repository, settings.model_cache_dir, folder, Downloader(), _say)
    outcome = run.export(face.pack(pack), job)
    if outcome.failures:
        raise ConfigError("; ".join(dict.fromkeys(outcome.failures.values())))
    place = packs.in_folder(pack, folder)
    if place is None:  # it was exported from there a moment ago
        raise ConfigError(f"{pack}: {folder} holds it no more")
    with quiet():
        return against_original(Finder(job.repository, pack), place, paths, exact=options.exact)


def _say(text: str) -> None:
    sys.stderr.write(f"fidelity: {text}\n")
    sys.stderr.flush()


class Finder:
    """The chain of the run time on plain sessions: one photo at a time, one row a run."""

    def __init__(self, repository: Path, pack: str, open_one: Callable[[ModelSpec], graph.Runs] | None = None) -> None:
        """open_one: what runs a graph instead of onnxruntime in fp32. Raises ConfigError when the pack is not exported."""
        models = ModelRepository(repository)
        specs = [models.spec(name) for name in face_names(pack)]
        self._sessions = {spec.name: open_one(spec) if open_one else graph.Session(models.path(spec.name)) for spec in specs}
        self.chain = FaceFinder(pack, *specs)

    def find(self, photo: Photo) -> Faces:
        """All faces of a photo. Raises PermanentError."""
        return asyncio.run(self.chain.analyse(photo, self))

    async def run(self, part: Any, subject: Any) -> Any:
        """One row through one graph."""
        prepared = part.prepare(subject)
        outputs = self.infer(part.spec.name, part.spec.stack([prepared.tensors]))
        return prepared.finish({name: value[0] for name, value in outputs.items()})

    async def work(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """At once."""
        return function(*args, **kwargs)

    def infer(self, name: str, inputs: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """One batch through a graph."""
        return self._sessions[name].run(inputs)


class Difference(NamedTuple):
    """One picture's worst figures."""

    file: str
    faces: int
    unpaired: int
    iou: float
    points_px: float
    cosine: float
    crop_levels: float


def original(pack: Path) -> FaceAnalysis:
    """insightface with its own defaults and the files of a pack's folder."""
    analysis = FaceAnalysis(name=str(pack), providers=["CPUExecutionProvider"], allowed_modules=["detection", "recognition"])
    analysis.prepare(ctx_id=-1)
    return analysis


def compare(finder: Finder, theirs: FaceAnalysis, path: Path, *, exact: bool = False) -> Difference:
    """One picture through both. Theirs gets every pixel of it, as BGR and with its colours brought to sRGB as ours are: cv2.imread leaves profiles out."""
    photo = read(path, exact=exact)
    picture = np.ascontiguousarray(read(path, exact=True).pixels[..., ::-1])
    ours, wanted = finder.find(photo), theirs.get(picture)
    pairs = [(i, _partner(ours, clip_boxes(face.bbox[None], photo.height, photo.width)[0])) for i, face in enumerate(wanted)]
    matched = [(wanted[i], j) for i, (j, iou) in pairs if iou >= SAME_FACE_IOU]
    return Difference(
        path.name,
        len(wanted),
        len(wanted) + len(ours) - 2 * len({j for _, j in matched}),
        min((iou for _, (_, iou) in pairs if iou >= SAME_FACE_IOU), default=1.0),
        max((float(np.abs(face.kps - ours.landmarks[j]).max()) for face, j in matched), default=0.0),
        min((float(face.normed_embedding @ ours.vectors[j]) for face, j in matched), default=1.0),
        max((_crop_levels(photo, picture, ours.landmarks[j], face.kps) for face, j in matched), default=0.0),
    )


def _partner(ours: Faces, box: NDArray[np.float32]) -> tuple[int, float]:
    """Which of ours overlaps most with a box, and by how much."""
    if not len(ours):
        return -1, 0.0
    boxes = ours.boxes_xyxy
    overlap = np.clip(np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2]), 0, None).prod(axis=1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod() - overlap
    best = int(np.argmax(overlap / union))
    return best, float(overlap[best] / union[best])


def _crop_levels(photo: Photo, picture: NDArray[np.uint8], ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """Mean absolute difference of the aligned crops, in 8-bit levels."""
    wanted = face_align.norm_crop(picture, theirs)[..., ::-1].astype(np.float64)
    return float(np.abs(arcface.crop(photo, ours) - wanted).mean())


def batch_difference(finder: Finder, photos: Sequence[Photo]) -> tuple[int, float]:
    """How many rows were run alone and in a batch of eight, and the largest difference of any output between the two."""
    worst, count = 0.0, 0
    for part, rows in _rows(finder, photos):
        for tensors in (rows[i : i + BATCH] for i in range(0, len(rows), BATCH)):
            together = finder.infer(part.spec.name, part.spec.stack(tensors))
            for i, row in enumerate(tensors):
                alone = finder.infer(part.spec.name, part.spec.stack([row]))
                worst = max([worst, *(float(np.abs(alone[name][0] - together[name][i]).max()) for name in alone)])
            count += len(tensors)
    return count, worst


def _rows(finder: Finder, photos: Sequence[Photo]) -> Iterator[tuple[Any, list[Tensors]]]:
    """Rows of equal shape for both graphs: the photos in each of the detector's squares, and the crops of their faces."""
    detector, embedder = finder.chain.detector, finder.chain.embedder
    for side in FACE_SIDES:
        yield detector, [detector.prepare(Look(photo, side)).tensors for photo in photos]
    yield embedder, [embedder.prepare(arcface.crop(photo, points)).tensors for photo in photos for points in finder.find(photo).landmarks]


def against_original(finder: Finder, pack: Path, paths: Sequence[Path], *, exact: bool = False) -> dict[str, Any]:
    """Figures over many pictures, the worst of each, and which picture that was. Batches are compared eight pictures at a time."""
    theirs = original(pack)
    found = [compare(finder, theirs, path, exact=exact) for path in paths]
    batches = [batch_difference(finder, [read(path, exact=exact) for path in paths[i : i + BATCH]]) for i in range(0, len(paths), BATCH)]
    least_iou, least_cosine = min(found, key=lambda one: one.iou), min(found, key=lambda one: one.cosine)
    farthest, greyest = max(found, key=lambda one: one.points_px), max(found, key=lambda one: one.crop_levels)
    return {
        "faces pictures": len(found),
        "faces compared": sum(one.faces for one in found),
        "faces missing or extra": sum(one.unpaired for one in found),
        "faces iou_min": least_iou.iou,
        "faces iou_min file": least_iou.file,
        "faces landmark_difference_px": farthest.points_px,
        "faces landmark_difference file": farthest.file,
        "faces cosine_min": least_cosine.cosine,
        "faces cosine_min file": least_cosine.file,
        "faces crop_difference_levels": greyest.crop_levels,
        "faces crop_difference file": greyest.file,
        "faces batch rows": sum(count for count, _ in batches),
        "faces batch_difference": max(worst for _, worst in batches),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
