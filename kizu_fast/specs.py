"""ModelSpec: the one description of a model from which export, Triton configuration, sessions and batchers follow."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from kizu_fast.errors import RowMismatch

DTYPES: Mapping[str, type[np.generic]] = {"uint8": np.uint8, "float16": np.float16, "int32": np.int32, "float32": np.float32}

Tensors = Mapping[str, NDArray[np.generic]]


class Family(StrEnum):
    """Models of one family share preprocess() and postprocess()."""

    CLIP_IMAGE = "clip_image"
    CLIP_TEXT = "clip_text"
    YOLO = "yolo"
    FACE_DETECTOR = "face_detector"
    FACE_EMBEDDER = "face_embedder"
    EASYOCR_DETECTOR = "easyocr_detector"
    EASYOCR_RECOGNISER = "easyocr_recogniser"
    PPOCR_DETECTOR = "ppocr_detector"
    PPOCR_CLASSIFIER = "ppocr_classifier"
    PPOCR_RECOGNISER = "ppocr_recogniser"
    CAPTION = "caption"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output. shape is that of one row, without the batch axis; -1 varies and is closed by the buckets."""

    name: str
    dtype: str  # a key of DTYPES
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A served model. The name is also its folder in the model repository and carries the variant."""

    name: str
    family: Family
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batch_sizes: tuple[int, ...]  # ascending; the last is the largest batch
    max_delay_us: int  # how long the oldest row of a batch may wait for company
    preprocessing: str  # version of the steps before the graph; part of a vector space's name
    postprocessing: str
    buckets: tuple[tuple[int, int], ...] = ()  # (height, width) that replace the -1 of the first input; empty: shapes are fixed
    labels: tuple[str, ...] = ()
    version: int = 1
    space: str | None = None  # vector space of an embedder
    cpu_batch: int = 1  # largest batch that gains something on a CPU (docs/decisions/007-lanes.md); elsewhere batches grow to max_batch

    @property
    def max_batch(self) -> int:
        return self.batch_sizes[-1]

    def at(self, bucket: tuple[int, int]) -> "ModelSpec":
        """The model with the static shape of one bucket (height, width). Raises ValueError for an unknown bucket."""
        if bucket not in self.buckets:
            raise ValueError(f"{self.name} has no bucket {bucket[0]}x{bucket[1]}")
        first = self.inputs[0]
        shape = (*bucket, *first.shape[2:])
        return replace(self, inputs=(replace(first, shape=shape), *self.inputs[1:]), buckets=(bucket,))

    def as_record(self) -> dict[str, Any]:
        """The spec as JSON values, for a manifest. from_record() reads it."""
        return asdict(self)

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> "ModelSpec":
        """What as_record() wrote, or what JSON made of it. Raises ValueError naming the field that is missing or of another type."""
        try:
            spec = _RECORDS.validate_python(record)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            place = ".".join(map(str, first["loc"])) or "the record"
            raise ValueError(f"{place}: {first['msg']}, it is {str(first['input'])[:80]!r}") from error
        unknown = sorted({tensor.dtype for tensor in (*spec.inputs, *spec.outputs)} - set(DTYPES))
        if unknown:
            raise ValueError(f"dtype {unknown[0]!r} is unknown; known are {', '.join(DTYPES)}")
        return spec

    def check_row(self, row: Tensors) -> None:
        """Raises RowMismatch unless row has exactly the inputs' names, dtypes and shapes."""
        if set(row) != {tensor.name for tensor in self.inputs}:
            raise RowMismatch(f"{self.name}: inputs are {', '.join(sorted(t.name for t in self.inputs))}, got {', '.join(sorted(row))}")
        for tensor in self.inputs:
            got = row[tensor.name]
            fits = len(got.shape) == len(tensor.shape) and all(want in (-1, have) for want, have in zip(tensor.shape, got.shape, strict=True))
            if got.dtype != DTYPES[tensor.dtype] or not fits:
                raise RowMismatch(f"{self.name}.{tensor.name}: expected {tensor.dtype} {list(tensor.shape)}, got {got.dtype} {list(got.shape)}")

    def stack(self, rows: Sequence[Tensors]) -> dict[str, NDArray[np.generic]]:
        """Rows of equal shape to one batch, batch axis first, C-contiguous."""
        return {tensor.name: np.stack([row[tensor.name] for row in rows]) for tensor in self.inputs}


_RECORDS = TypeAdapter(ModelSpec)


YOLO_CANDIDATES = 1000  # best boxes kept in the graph before NMS: 1000 loses no mAP, 300 loses 0.005 at a low threshold
YOLO_BUCKETS = ((640, 640), (480, 640), (640, 480))


FACE_CANDIDATES = 600  # best anchors kept in the graph before NMS: 29 faces, the most in a test picture, fill 168; six a face make 100 faces
FACE_SIDES = (128, 640)  # a photo is looked at in both: large faces are missed in the larger one (insightface's default)
FACE_BUCKETS = tuple((side, side) for side in FACE_SIDES)  # squares only: without the black below, faces at the edge come out otherwise
FACE_CROP = 112


RANDOM = "random"  # stands in a name where the pretrained tag would: such a model's results mean nothing


def clip_name(model: str, pretrained: str, tower: str) -> str:
    """('ViT-B-32', 'openai', 'image') to clip-vit-b-32-openai-image. tower is image or text; pretrained may be RANDOM."""
    return "-".join(["clip", _slug(model), _slug(pretrained), tower])


def yolo_name(size: str, *, random: bool = False) -> str:
    """('m') to yolov8m, with RANDOM behind it for untrained weights."""
    return f"yolov8{size}" + (f"-{RANDOM}" if random else "")


def face_names(pack: str) -> tuple[str, str]:
    """('buffalo_s') to (face-buffalo-s-detector, face-buffalo-s-embedder)."""
    return f"face-{_slug(pack)}-detector", f"face-{_slug(pack)}-embedder"


def is_random(name: str) -> bool:
    """Whether a model of that name has untrained weights."""
    return RANDOM in name.split("-")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def clip_image(name: str, *, side: int, dim: int, space: str, preprocessing: str = "p1") -> ModelSpec:
    """Image tower: uint8 RGB (side, side, 3) to a unit vector (dim,). preprocessing is a key of models.clip.STEPS."""
    return ModelSpec(
        name=name,
        family=Family.CLIP_IMAGE,
        inputs=(TensorSpec("pixels", "uint8", (side, side, 3)),),
        outputs=(TensorSpec("image_features", "float32", (dim,)),),
        batch_sizes=(1, 2, 4, 8, 16, 32),
        max_delay_us=5000,
        preprocessing=preprocessing,
        postprocessing="unit",
        space=space,
        cpu_batch=8,
    )


def clip_text(name: str, *, context: int, dim: int, space: str, preprocessing: str = "p1") -> ModelSpec:
    """Text tower: int32 token ids (context,) to a unit vector (dim,) in the space of the image tower. preprocessing is a key of models.clip_text.CLEANERS."""
    return ModelSpec(
        name=name,
        family=Family.CLIP_TEXT,
        inputs=(TensorSpec("tokens", "int32", (context,)),),
        outputs=(TensorSpec("text_features", "float32", (dim,)),),
        batch_sizes=(1, 2, 4, 8, 16),
        max_delay_us=1000,
        preprocessing=preprocessing,
        postprocessing="unit",
        space=space,
        cpu_batch=8,
    )


def yolo(name: str, *, labels: tuple[str, ...]) -> ModelSpec:
    """YOLOv8: uint8 RGB letterboxed to a bucket; out come the best candidates by score, boxes xyxy in model pixels, before NMS."""
    return ModelSpec(
        name=name,
        family=Family.YOLO,
        inputs=(TensorSpec("pixels", "uint8", (-1, -1, 3)),),
        outputs=(
            TensorSpec("boxes", "float32", (YOLO_CANDIDATES, 4)),
            TensorSpec("scores", "float32", (YOLO_CANDIDATES,)),
            TensorSpec("classes", "int32", (YOLO_CANDIDATES,)),
        ),
        batch_sizes=(1, 2, 4, 8),
        max_delay_us=5000,
        preprocessing="letterbox1",
        postprocessing="nms1",
        buckets=YOLO_BUCKETS,
        labels=labels,
    )


def scrfd(name: str) -> ModelSpec:
    """SCRFD: uint8 RGB at the top left of a bucket; out come the best candidates by score, in model pixels, before NMS.

    boxes are xyxy; landmarks are x, y of left eye, right eye, nose, left and right corner of the mouth.
    """
    return ModelSpec(
        name=name,
        family=Family.FACE_DETECTOR,
        inputs=(TensorSpec("pixels", "uint8", (-1, -1, 3)),),
        outputs=(
            TensorSpec("boxes", "float32", (FACE_CANDIDATES, 4)),
            TensorSpec("scores", "float32", (FACE_CANDIDATES,)),
            TensorSpec("landmarks", "float32", (FACE_CANDIDATES, 10)),
        ),
        batch_sizes=(1, 2, 4, 8),
        max_delay_us=5000,
        preprocessing="topleft1",
        postprocessing="nms1",
        buckets=FACE_BUCKETS,
    )


def arcface(name: str, *, dim: int, space: str) -> ModelSpec:
    """ArcFace or any embedder of its contract: an aligned uint8 RGB crop to a unit vector (dim,)."""
    return ModelSpec(
        name=name,
        family=Family.FACE_EMBEDDER,
        inputs=(TensorSpec("pixels", "uint8", (FACE_CROP, FACE_CROP, 3)),),
        outputs=(TensorSpec("face_features", "float32", (dim,)),),
        batch_sizes=(1, 2, 4, 8, 16),
        max_delay_us=5000,
        preprocessing="a1",
        postprocessing="unit",
        space=space,
        cpu_batch=8,
    )
