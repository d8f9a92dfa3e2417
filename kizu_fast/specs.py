"""ModelSpec: the one description of a model from which export, Triton configuration, sessions and batchers follow."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from kizu_fast.errors import RowMismatch

DTYPES: Mapping[str, type[np.generic]] = {"uint8": np.uint8, "float16": np.float16, "int32": np.int32, "float32": np.float32}

Tensors = Mapping[str, NDArray[np.generic]]
T_co = TypeVar("T_co", covariant=True)


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
    apart: bool = False  # a row takes seconds on a CPU: it has a slot and a thread of its own, and never keeps a lane from the others
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
        record: dict[str, Any] = json.loads(json.dumps(asdict(self)))  # lists for tuples: what is written is what will be read
        return record

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


@dataclass(frozen=True, slots=True)
class Prepared(Generic[T_co]):
    """One row on its way: what goes into the graph, at which bucket, and how its outputs become a result."""

    tensors: Tensors  # without a batch axis
    finish: Callable[[Tensors], T_co]  # one row of outputs to the result; raises PermanentError
    bucket: tuple[int, int] | None = None  # (height, width); None when the spec has no buckets


_RECORDS = TypeAdapter(ModelSpec)


YOLO_CANDIDATES = 1000  # best boxes kept in the graph before NMS: 1000 loses no mAP, 300 loses 0.005 at a low threshold
YOLO_BUCKETS = ((640, 640), (480, 640), (640, 480))


FACE_CANDIDATES = 600  # best anchors kept in the graph before NMS: 29 faces, the most in a test picture, fill 168; six a face make 100 faces
FACE_SIDES = (128, 640)  # a photo is looked at in both: large faces are missed in the larger one (insightface's default)
FACE_BUCKETS = tuple((side, side) for side in FACE_SIDES)  # squares only: without the black below, faces at the edge come out otherwise
FACE_CROP = 112


CRAFT_STRIDE = 2  # picture pixels per pixel of CRAFT's maps
CRAFT_STEPS = 250  # of a map's unit: the library's thresholds 0.4 and 0.7 are whole steps, so a cut of the bytes is the cut of the floats
CRAFT_SIDES = (320, 480, 640, 800, 960, 1280)  # the smallest bucket comes last: with it a backend proves that the model runs
CRAFT_PIXELS = 640 * 1280  # of a bucket: an inference takes 0.8 GB a megapixel (docs/decisions/011-easyocr.md)
CRAFT_BUCKETS = tuple((height, width) for height in CRAFT_SIDES[::-1] for width in CRAFT_SIDES[::-1] if height * width <= CRAFT_PIXELS)
EASYOCR_HEIGHT = 64
EASYOCR_WIDTHS = (64, 128, 192, 256, 320, 384, 448, 512, 576, 640, 768, 896, 1024, 1280, 1536, 1792, 2048, 2560, 3072, 4096)


PPOCR_SETS = ("v6-small", "v4-ch")  # newest first: the first of which all parts are in the repository is taken
PPOCR_PARTS = ("detector", "classifier", "recogniser")
PPOCR_NEAR = ((736, 736), (736, 960), (960, 736), (544, 960), (960, 544))  # every photo is looked at in one of these
PPOCR_FAR = ((1024, 1024), (960, 1280), (1280, 960), (736, 1280), (1280, 736))  # and larger ones with text again in one of these
PPOCR_LINE = 48  # height of a line in pixels
PPOCR_TURN = 192  # width of what the classifier looks at
PPOCR_WIDTHS = (160, 240, 320, 480, 640, 800, 960, 1280, 1600, 1920, 2560)  # of a line; a longer one is squeezed


RANDOM = "random"  # stands in a name where the pretrained tag would: such a model's results mean nothing
HALF = "fp16"


def clip_name(model: str, pretrained: str, tower: str) -> str:
    """('ViT-B-32', 'openai', 'image') to clip-vit-b-32-openai-image. tower is image or text; pretrained may be RANDOM."""
    return "-".join(["clip", _slug(model), _slug(pretrained), tower])


def yolo_name(size: str, *, random: bool = False) -> str:
    """('m') to yolov8m, with RANDOM behind it for untrained weights."""
    return f"yolov8{size}" + (f"-{RANDOM}" if random else "")


def face_names(pack: str) -> tuple[str, str]:
    """('buffalo_s') to (face-buffalo-s-detector, face-buffalo-s-embedder)."""
    return f"face-{_slug(pack)}-detector", f"face-{_slug(pack)}-embedder"


def easyocr_names(recogniser: str, *, random: bool = False) -> tuple[str, str]:
    """('english_g2') to (easyocr-craft-detector, easyocr-english-g2-recogniser), with RANDOM in them for untrained weights."""
    tag = f"-{RANDOM}" if random else ""
    return f"easyocr-craft{tag}-detector", f"easyocr-{recogniser.replace('_', '-')}{tag}-recogniser"


def ppocr_names(variant: str) -> tuple[str, str, str]:
    """('v6-small') to (ppocr-v6-small-detector, ppocr-v6-small-classifier, ppocr-v6-small-recogniser)."""
    detector, classifier, recogniser = (f"ppocr-{variant}-{part}" for part in PPOCR_PARTS)
    return detector, classifier, recogniser


def is_random(name: str) -> bool:
    """Whether a model of that name has untrained weights."""
    return RANDOM in name.split("-")


def half_name(name: str) -> str:
    """The fp16 variant of a model has a folder of its own beside it: yolov8m to yolov8m-fp16."""
    return f"{name}-{HALF}"


def is_half(name: str) -> bool:
    """Whether a model of that name is the fp16 variant of another."""
    return name.endswith(f"-{HALF}")


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


def easyocr_detector(name: str) -> ModelSpec:
    """CRAFT: uint8 RGB at the top left of a bucket; out come two maps of half its size, uint8 in steps of 1 / CRAFT_STEPS: characters, links between them."""
    return ModelSpec(
        name=name,
        family=Family.EASYOCR_DETECTOR,
        inputs=(TensorSpec("pixels", "uint8", (-1, -1, 3)),),
        outputs=(TensorSpec("text_map", "uint8", (-1, -1)), TensorSpec("link_map", "uint8", (-1, -1))),
        batch_sizes=(1, 2, 4),
        max_delay_us=2000,
        preprocessing="topleft2",
        postprocessing="craft1",
        buckets=CRAFT_BUCKETS,
    )


def easyocr_recogniser(name: str, *, languages: tuple[str, ...]) -> ModelSpec:
    """A line of text, uint8 grey, and the wanted ones of the spec's languages, uint8 1 or 0; out come per step the best character they allow and its score.

    ids are 1-based places in the model's characters, 0 is CTC's blank; scores are in [0, 1] after what the languages do not allow is taken out.
    """
    return ModelSpec(
        name=name,
        family=Family.EASYOCR_RECOGNISER,
        inputs=(TensorSpec("pixels", "uint8", (EASYOCR_HEIGHT, -1)), TensorSpec("languages", "uint8", (len(languages),))),
        outputs=(TensorSpec("ids", "int32", (-1,)), TensorSpec("scores", "float32", (-1,))),
        batch_sizes=(1, 2, 4, 8, 16),
        max_delay_us=5000,
        preprocessing="line1",
        postprocessing="ctc1",
        buckets=tuple((EASYOCR_HEIGHT, width) for width in EASYOCR_WIDTHS[::-1]),
        labels=languages,
        cpu_batch=8,
    )


def ppocr_detector(name: str) -> ModelSpec:
    """PP-OCR's detector: uint8 RGB at the top left of a bucket to a byte a pixel, how surely it belongs to the middle of a line (255: 1)."""
    return ModelSpec(
        name=name,
        family=Family.PPOCR_DETECTOR,
        inputs=(TensorSpec("pixels", "uint8", (-1, -1, 3)),),
        outputs=(TensorSpec("text", "uint8", (-1, -1)),),
        batch_sizes=(1, 2, 4),
        max_delay_us=2000,
        preprocessing="topleft1",
        postprocessing="db1",
        buckets=(*PPOCR_FAR, *PPOCR_NEAR),
    )


def ppocr_classifier(name: str) -> ModelSpec:
    """PP-OCR's classifier: a lying uint8 RGB line to the probabilities that it stands upright and on its head."""
    return ModelSpec(
        name=name,
        family=Family.PPOCR_CLASSIFIER,
        inputs=(TensorSpec("pixels", "uint8", (PPOCR_LINE, PPOCR_TURN, 3)),),
        outputs=(TensorSpec("turned", "float32", (2,)),),
        batch_sizes=(1, 2, 4, 8, 16),
        max_delay_us=5000,
        preprocessing="line1",
        postprocessing="turn1",
        cpu_batch=8,
    )


def ppocr_recogniser(name: str) -> ModelSpec:
    """PP-OCR's recogniser: an upright uint8 RGB line, as wide as a bucket, to the best class of every step and its probability; class 0 is the blank."""
    return ModelSpec(
        name=name,
        family=Family.PPOCR_RECOGNISER,
        inputs=(TensorSpec("pixels", "uint8", (PPOCR_LINE, -1, 3)),),
        outputs=(TensorSpec("ids", "int32", (-1,)), TensorSpec("scores", "float32", (-1,))),
        batch_sizes=(1, 2, 4, 8, 16),
        max_delay_us=5000,
        preprocessing="line1",
        postprocessing="ctc1",
        buckets=tuple((PPOCR_LINE, width) for width in reversed(PPOCR_WIDTHS)),  # the last one is what a backend proves itself with
        cpu_batch=8,
    )


def caption(name: str, *, side: int, length: int, preprocessing: str) -> ModelSpec:
    """Captioner: the whole picture stretched to uint8 RGB (side, side, 3); out come the ids of the greedy caption, padded to (length,).

    The loop is in the graph. preprocessing is a key of models.caption.STEPS. A batch is done when its longest caption is.
    """
    return ModelSpec(
        name=name,
        family=Family.CAPTION,
        inputs=(TensorSpec("pixels", "uint8", (side, side, 3)),),
        outputs=(TensorSpec("caption_tokens", "int32", (length,)),),
        batch_sizes=(1, 2, 4, 8),
        max_delay_us=20000,
        preprocessing=preprocessing,
        postprocessing="text1",
        apart=True,
        cpu_batch=1,  # a batch of four takes four times as long and 0.75 GB more a picture
    )
