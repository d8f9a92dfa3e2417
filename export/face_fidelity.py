"""Our faces against insightface's own FaceAnalysis with the same files."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np
from insightface.app import FaceAnalysis
from insightface.utils import face_align
from numpy.typing import NDArray

from export import graph
from export.measure import read
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.domain import Faces, Photo
from kizu_fast.faces import FaceFinder, Look
from kizu_fast.geometry import clip_boxes
from kizu_fast.models import arcface
from kizu_fast.specs import face_names

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


class Finder:
    """The chain of the run time on plain sessions: one photo at a time, one row a run."""

    def __init__(self, repository: Path, pack: str, *, half: bool = False) -> None:
        """half: the fp16 variants, where they are. Raises ConfigError when the pack is not exported."""
        models = ModelRepository(repository)
        specs = [models.spec(name) for name in face_names(pack)]
        paths = {spec.name: (half and models.half(spec.name)) or models.path(spec.name) for spec in specs}
        self._sessions = {name: graph.Session(path, rearranged=not half) for name, path in paths.items()}
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


def batch_difference(finder: Finder, paths: Sequence[Path]) -> float:
    """The largest difference of any output between a row alone and the same row in a batch of eight."""
    photos = [read(path) for path in paths[:8]]
    worst = 0.0
    for part, rows in finder_rows(finder, photos):
        for tensors in (rows[i : i + 8] for i in range(0, len(rows), 8)):
            together = finder.infer(part.spec.name, part.spec.stack(tensors))
            for i, row in enumerate(tensors):
                alone = finder.infer(part.spec.name, part.spec.stack([row]))
                worst = max([worst, *(float(np.abs(alone[name][0] - together[name][i]).max()) for name in alone)])
    return worst


def finder_rows(finder: Finder, photos: Sequence[Photo]) -> list[tuple[Any, list[Any]]]:
    """Rows of equal shape for both graphs: the photos in the small square, and eight crops of their faces."""
    detector, embedder = finder.chain.detector, finder.chain.embedder
    small = [detector.prepare(Look(photo, 128)).tensors for photo in photos]
    crops = [arcface.crop(photo, points) for photo in photos for points in finder.find(photo).landmarks[:1]]
    return [(detector, small), (embedder, [embedder.prepare(crop).tensors for crop in crops])]


def against_original(finder: Finder, pack: Path, paths: Sequence[Path]) -> dict[str, Any]:
    """Figures over many pictures, the worst of each."""
    theirs = original(pack)
    found = [compare(finder, theirs, path) for path in paths]
    return {
        "faces pictures": len(found),
        "faces compared": sum(one.faces for one in found),
        "faces missing or extra": sum(one.unpaired for one in found),
        "faces iou_min": min(one.iou for one in found),
        "faces landmark_difference_px": max(one.points_px for one in found),
        "faces cosine_min": min(one.cosine for one in found),
        "faces crop_difference_levels": max(one.crop_levels for one in found),
        "faces batch_difference": batch_difference(finder, paths),
    }
