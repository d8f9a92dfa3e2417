"""A backend without model files: real decode and preprocessing, then unit vectors and boxes seeded by the tensor: of pixels by every fourth row and column.

The same picture always gets the same answer. Its models have names and a space of their own, so that nothing it made
is ever mixed with real results.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken
from tokenizers import Tokenizer as Rules
from tokenizers.models import WordLevel

from kizu_fast import specs
from kizu_fast.backends import Profile, Running
from kizu_fast.errors import ConfigError, PermanentError, TransientError
from kizu_fast.specs import DTYPES, Family, ModelSpec, Tensors, TensorSpec

SPACE = "fake/p1"
DIM = 512
CONTEXT = 77
LABELS = ("person", "bicycle", "car", "dog", "cat", "boat", "chair", "bird")

IMAGE = specs.clip_image("fake-clip-image", side=224, dim=DIM, space=SPACE)
TEXT = specs.clip_text("fake-clip-text", context=CONTEXT, dim=DIM, space=SPACE)
OBJECTS = specs.yolo("fake-yolo", labels=LABELS)
FACES = specs.scrfd("fake-faces-detector")
FACE = specs.arcface("fake-faces-embedder", dim=DIM, space="fake/a1")
VARIANT = "fake"  # of PP-OCR
CHARACTERS = ("", *"abcdefghijklmnopqrstuvwxyz", " ")
PPOCR = tuple(
    make(name) for make, name in zip((specs.ppocr_detector, specs.ppocr_classifier, specs.ppocr_recogniser), specs.ppocr_names(VARIANT), strict=True)
)
EASYOCR = (specs.easyocr_detector("fake-easyocr-detector"), specs.easyocr_recogniser("fake-easyocr-recogniser", languages=("en",)))
CAPTION = specs.caption("fake-caption", side=64, length=12, preprocessing="stretch1-bicubic")
WORDS = ("<s>", "<pad>", "</s>", "a", "picture", "of", "two", "dogs", "boats", "chairs", "birds", "on", "the", "beach", "at", "night")

Fault = Callable[[ModelSpec, Tensors], Awaitable[None]]

_PICTURE, _EVERY = 3, 4  # axes; to hash all pixels would take longer than all the rest of a small photo
_MAX_OBJECTS = 5
_MAX_FACES = 3
_MAX_LINES = 3
_FACE_POINTS = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])  # of the box's sides


def tokenize(text: str) -> NDArray[np.int32]:
    """UTF-8 bytes as token ids, int32 (CONTEXT,), cut and padded with 0."""
    row = np.zeros(CONTEXT, np.int32)
    raw = text.encode("utf-8", "surrogatepass")[:CONTEXT]
    row[: len(raw)] = list(raw)
    return row


def caption_rules() -> Rules:
    """WORDS by their number; the first three are no text."""
    rules = Rules(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<pad>"))  # noqa: S106  # a token of text
    rules.add_special_tokens([AddedToken(word, special=True) for word in WORDS[:3]])
    return rules


async def _no_fault(_spec: ModelSpec, _inputs: Tensors) -> None:
    """Every batch succeeds."""


class FakeBackend:
    """Answers at once, or after delay_s of the loop's time. before(spec, inputs) runs first and may raise what a real backend would."""

    def __init__(self, *, lanes: int = 2, full_batches: bool = False, delay_s: float = 0.0, before: Fault = _no_fault) -> None:
        self.profile = Profile(lanes=lanes, full_batches=full_batches, in_lanes=True)
        self.batches: list[tuple[str, int]] = []  # (model, rows) of every execution, in order
        self._delay_s, self._before = delay_s, before
        self._loaded: set[str] = set()

    async def load(self, spec: ModelSpec) -> None:
        """Nothing to read: any spec will do."""
        self._loaded.add(spec.name)

    async def infer(self, spec: ModelSpec, inputs: Tensors) -> dict[str, NDArray[np.generic]]:
        """Raises PermanentError for inputs that no graph of that spec would take, TransientError for a model that was unloaded."""
        if spec.name not in self._loaded:
            raise TransientError(f"{spec.name}: not loaded")
        rows = _rows(spec, inputs)
        self.batches.append((spec.name, len(rows)))
        await asyncio.sleep(self._delay_s)
        await self._before(spec, inputs)
        answers = [_answer(spec, row) for row in rows]
        return {output.name: np.stack([answer[output.name] for answer in answers]) for output in spec.outputs}

    async def unload(self, spec: ModelSpec) -> None:
        """Unknown models are ignored."""
        self._loaded.discard(spec.name)

    async def close(self) -> None:
        """Nothing to release."""
        self._loaded.clear()

    def describe(self, spec: ModelSpec) -> Running:
        """Raises ConfigError if it is not loaded."""
        if spec.name not in self._loaded:
            raise ConfigError(f"{spec.name} is not loaded")
        return Running(provider="fake", device="none", precision="none", threads=1)


def _rows(spec: ModelSpec, inputs: Tensors) -> list[Tensors]:
    sizes = {len(batch) for batch in inputs.values()}
    if len(sizes) != 1 or 0 in sizes:
        raise PermanentError(f"{spec.name}: a batch needs as many rows in every input, at least one")
    rows: list[Tensors] = [{name: batch[i] for name, batch in inputs.items()} for i in range(sizes.pop())]
    spec.check_row(rows[0])
    return rows


def _answer(spec: ModelSpec, row: Tensors) -> dict[str, NDArray[np.generic]]:
    digest = blake2b(spec.name.encode(), digest_size=8)
    for tensor in spec.inputs:
        values = row[tensor.name]
        digest.update((values[::_EVERY, ::_EVERY] if values.ndim == _PICTURE else values).tobytes())
    rng = np.random.default_rng(int.from_bytes(digest.digest(), "big"))
    if spec.family is Family.YOLO:
        return _objects(spec, rng, row[spec.inputs[0].name].shape[:2])
    if spec.family is Family.FACE_DETECTOR:
        return _faces(rng, row[spec.inputs[0].name].shape[:2])
    if spec.family in _TEXT_ANSWERS:
        return _TEXT_ANSWERS[spec.family](rng, row[spec.inputs[0].name].shape[:2])
    if spec.family is Family.CAPTION:
        return {spec.outputs[0].name: _caption(spec.outputs[0].shape[0], rng)}
    return {output.name: _unit_vector(output, rng) for output in spec.outputs}


def _unit_vector(output: TensorSpec, rng: np.random.Generator) -> NDArray[np.generic]:
    values = rng.standard_normal(output.shape)
    return (values / np.linalg.norm(values)).astype(DTYPES[output.dtype])


def _caption(length: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Two to six words between start and end, padded."""
    words = rng.integers(3, len(WORDS), int(rng.integers(2, 7)))
    row = np.full(length, 1, np.int32)
    row[: len(words) + 2] = [0, *words, 2]
    return row


def _objects(spec: ModelSpec, rng: np.random.Generator, size: tuple[int, ...]) -> dict[str, NDArray[np.generic]]:
    """Up to _MAX_OBJECTS boxes of at least 8 pixels inside the tensor, best first; the other candidates have score 0."""
    height, width = size
    found = int(rng.integers(0, _MAX_OBJECTS + 1))
    boxes = np.zeros((specs.YOLO_CANDIDATES, 4), np.float32)
    corner = rng.uniform(0, 0.5, (found, 2)) * (width, height)
    boxes[:found, :2] = corner
    boxes[:found, 2:] = corner + 8 + rng.uniform(0, 0.4, (found, 2)) * (width, height)
    scores = np.zeros(specs.YOLO_CANDIDATES, np.float32)
    scores[:found] = np.sort(rng.uniform(0.3, 1, found))[::-1]
    classes = np.zeros(specs.YOLO_CANDIDATES, np.int32)
    classes[:found] = rng.integers(0, max(len(spec.labels), 1), found)
    return {"boxes": boxes, "scores": scores, "classes": classes}


def _faces(rng: np.random.Generator, size: tuple[int, ...]) -> dict[str, NDArray[np.generic]]:
    """Up to _MAX_FACES square boxes at the top left half of the larger tensors, where the photo is, best first; none in the smallest."""
    found = int(rng.integers(0, _MAX_FACES + 1)) if max(size) > min(specs.FACE_SIDES) else 0
    boxes = np.zeros((specs.FACE_CANDIDATES, 4), np.float32)
    points = np.zeros((specs.FACE_CANDIDATES, 10), np.float32)
    scores = np.zeros(specs.FACE_CANDIDATES, np.float32)
    corner, side = rng.uniform(0, min(size) / 4, (found, 2)), rng.uniform(20, min(size) / 4, (found, 1))
    boxes[:found] = np.hstack((corner, corner + side))
    points[:found] = (corner[:, None] + side[:, None] * _FACE_POINTS).reshape(found, 10)
    scores[:found] = np.sort(rng.uniform(0.55, 1, found))[::-1]
    return {"boxes": boxes, "scores": scores, "landmarks": points}


def _text_map(rng: np.random.Generator, size: tuple[int, ...]) -> dict[str, NDArray[np.generic]]:
    """Up to _MAX_LINES bars, one below the other, in the top left quarter, where the photo is."""
    height, width = size
    level = np.zeros(size, np.uint8)
    for row in range(int(rng.integers(0, _MAX_LINES + 1))):
        top, left = 16 + row * height // 10, int(rng.integers(8, width // 10))
        level[top : top + height // 30, left : left + int(rng.integers(width // 10, width // 4))] = 255
    return {"text": level}


def _turned(rng: np.random.Generator, _size: tuple[int, ...]) -> dict[str, NDArray[np.generic]]:
    """One line in four stands on its head."""
    turned = 0.99 if rng.random() < 0.25 else 0.01  # noqa: PLR2004
    return {"turned": np.array([1 - turned, turned], np.float32)}


def _letters(rng: np.random.Generator, size: tuple[int, ...]) -> dict[str, NDArray[np.generic]]:
    """A word of up to twelve small letters, two steps each and a blank behind, in an eighth as many steps as the line is wide."""
    steps = size[1] // 8
    ids = np.zeros(steps, np.int32)
    for place in range(int(rng.integers(3, max(min(steps // 3, 13), 4)))):
        ids[3 * place : 3 * place + 2] = rng.integers(1, len(CHARACTERS) - 1)
    return {"ids": ids, "scores": rng.uniform(0.6, 1, steps).astype(np.float32)}


def _craft_maps(rng: np.random.Generator, size: tuple[int, ...]) -> dict[str, NDArray[np.generic]]:
    """Bars of text at half the size, without links."""
    level = _text_map(rng, (size[0] // specs.CRAFT_STRIDE, size[1] // specs.CRAFT_STRIDE))["text"]
    return {"text_map": level, "link_map": np.zeros_like(level)}


_TEXT_ANSWERS: Mapping[Family, Callable[[np.random.Generator, tuple[int, ...]], dict[str, NDArray[np.generic]]]] = {
    Family.PPOCR_DETECTOR: _text_map,
    Family.PPOCR_CLASSIFIER: _turned,
    Family.PPOCR_RECOGNISER: _letters,
    Family.EASYOCR_DETECTOR: _craft_maps,
    Family.EASYOCR_RECOGNISER: _letters,
}
