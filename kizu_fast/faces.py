"""Faces of a photo: found in two sizes, aligned, embedded, judged. One detector row per size, one embedder row per face, batched across photos."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kizu_fast.domain import Faces, Photo, Thumbnail
from kizu_fast.geometry import clip_boxes
from kizu_fast.models import arcface, scrfd
from kizu_fast.models.scrfd import Candidates
from kizu_fast.registry import Prepared, Runs
from kizu_fast.specs import FACE_SIDES, ModelSpec, Tensors
from kizu_fast.thumbnails import thumbnail


class Look(NamedTuple):
    """A photo at one of the detector's sizes."""

    photo: Photo
    side: int


class FaceDetector:
    """SCRFD: a photo at one size to candidates in pixels of the upright original."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def prepare(self, subject: Look) -> Prepared[Candidates]:
        """The photo at the top left of its bucket, uint8 (*bucket, 3)."""
        frame = scrfd.frame_for(subject.photo.height, subject.photo.width, (subject.side, subject.side))
        pixels = scrfd.framed(subject.photo, frame)
        return Prepared({self.spec.inputs[0].name: pixels}, lambda outputs: scrfd.candidates(outputs, frame), frame.bucket)


class FaceEmbedder:
    """ArcFace: an aligned crop to a unit vector (D,)."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def prepare(self, subject: NDArray[np.uint8]) -> Prepared[NDArray[np.float32]]:
        """The crop as it is, uint8 (112, 112, 3)."""
        return Prepared({self.spec.inputs[0].name: subject}, self._finish)

    def _finish(self, outputs: Tensors) -> NDArray[np.float32]:
        return arcface.postprocess(np.asarray(outputs[self.spec.outputs[0].name], np.float32))


class Cut(NamedTuple):
    """What is taken from the photo itself for every face."""

    crops: list[NDArray[np.uint8]]
    quality: NDArray[np.float32]
    thumbnails: tuple[Thumbnail, ...] = ()


class FaceFinder:
    """A pack: detector and embedder. Results are filed under the pack's name."""

    def __init__(self, name: str, detector: ModelSpec, embedder: ModelSpec) -> None:
        self.name = name
        self.detector, self.embedder = FaceDetector(detector), FaceEmbedder(embedder)
        self.parts: Sequence[FaceDetector | FaceEmbedder] = (self.detector, self.embedder)

    async def analyse(self, photo: Photo, runs: Runs) -> Faces:
        """All faces of one photo, best first. Raises PermanentError."""
        looks = await asyncio.gather(*(runs.run(self.detector, Look(photo, side)) for side in FACE_SIDES))
        found = await runs.work(scrfd.merged, looks)
        cuts = await runs.work(cut, photo, found) if len(found.scores) else Cut([], np.zeros(0, np.float32))
        vectors = await asyncio.gather(*(runs.run(self.embedder, crop) for crop in cuts.crops))
        dim = self.embedder.spec.outputs[0].shape[0]
        return Faces(
            boxes_xyxy=clip_boxes(found.boxes_xyxy, photo.height, photo.width),
            scores=found.scores,
            landmarks=found.landmarks,
            quality=cuts.quality,
            vectors=np.array(vectors, np.float32).reshape(-1, dim),
            space=self.embedder.spec.space or self.embedder.spec.name,
            thumbnails=cuts.thumbnails,
        )


def cut(photo: Photo, found: Candidates) -> Cut:
    """Crops, quality and thumbnails of all faces. Pure."""
    crops = [arcface.crop(photo, points) for points in found.landmarks]
    scale = min(photo.pixels.shape[0] / photo.height, photo.pixels.shape[1] / photo.width)
    sides = (found.boxes_xyxy[:, 2:] - found.boxes_xyxy[:, :2]).min(axis=1) * scale
    judged = [arcface.quality(*each) for each in zip(crops, sides.tolist(), found.scores.tolist(), found.landmarks, strict=True)]
    boxes = clip_boxes(found.boxes_xyxy, photo.height, photo.width)
    return Cut(crops, np.array(judged, np.float32), tuple(thumbnail(photo, box) for box in boxes))
