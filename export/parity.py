"""Does the exported graph compute what the original library computes? Measured before anything is installed."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from kizu_fast.domain import Photo
from kizu_fast.errors import ConfigError

MIN_COSINE = 0.9999
MAX_SCORE_DIFFERENCE = 1e-3
MAX_BOX_DIFFERENCE_PX = 0.1
BATCHES = (1, 3)
SPARE_ANCHORS = 500  # beyond the candidates: rounding may exchange those at the cut

TEXTS = (
    "a dog on a beach", "", "two people, smiling!", "Sonnenuntergang über dem Meer", "кошка на диване", "海辺の犬", "개와 고양이", "غروب الشمس",
    "a photo of &lt;b&gt;café&lt;/b&gt; №5", "birthday 🎂🎉 2024", "η παραλία", "it's the dog's 3rd toy... " * 20,
)  # fmt: skip


def pictures(count: int) -> list[Photo]:
    """Rendered pictures of many aspects, the same on every machine: gradients, shapes and grain."""
    generator = np.random.default_rng(7)
    return [_picture(generator, i) for i in range(count)]


def _picture(generator: np.random.Generator, index: int) -> Photo:
    width, height = ((640, 480), (480, 640), (500, 500), (1023, 402), (301, 777), (224, 224))[index % 6]
    ramp = np.linspace(0, 1, width)[None, :, None] * generator.uniform(0, 255, 3) + np.linspace(0, 1, height)[:, None, None] * generator.uniform(
        -120, 120, 3
    )
    image = Image.fromarray(np.clip(ramp, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = int(generator.integers(width)), int(generator.integers(height))
        size = int(generator.integers(10, 200))
        colour = tuple(int(value) for value in generator.integers(0, 256, 3))
        shape = draw.ellipse if generator.random() < 0.5 else draw.rectangle  # noqa: PLR2004  # one half each
        shape((x, y, x + size, y + size), fill=colour, outline="black")
    grain = generator.normal(0, 8, (height, width, 3))
    pixels = np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)
    return Photo(pixels, width, height)


def compare_vectors(ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> dict[str, float]:
    """(N, D) each: the worst cosine, plain and after the mean of theirs is taken away (untrained towers make all vectors look alike)."""
    mean = theirs.mean(axis=0)
    return {
        "cosine_min": float(_cosines(ours, theirs).min()),
        "centred_cosine_min": float(_cosines(ours - mean, theirs - mean).min()),
        "max_abs_difference": float(np.abs(ours - theirs).max()),
    }


def _cosines(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float64]:
    one64, other64 = one.astype(np.float64), other.astype(np.float64)
    cosines: NDArray[np.float64] = (one64 * other64).sum(axis=1) / (np.linalg.norm(one64, axis=1) * np.linalg.norm(other64, axis=1))
    return cosines


def compare_candidates(outputs: dict[str, NDArray[np.generic]], boxes: NDArray[np.floating], scores: NDArray[np.floating]) -> dict[str, float]:
    """The graph's best boxes of one picture against every anchor of the original: boxes (A, 4) xyxy in model pixels, scores (A, classes).

    Equal scores make the order arbitrary, so each candidate is compared with the anchor that is nearest to it.
    """
    near = np.argsort(-scores.max(axis=1), kind="stable")[: len(outputs["scores"]) + SPARE_ANCHORS]
    boxes, scores = boxes[near], scores[near]
    best = scores.max(axis=1)[: len(outputs["scores"])]
    ours, classes = outputs["boxes"].astype(np.float64), outputs["classes"].astype(np.int64)
    away = np.array(
        [np.abs(boxes - box).max(axis=1) + 1e3 * np.abs(scores[:, c] - s) for box, c, s in zip(ours, classes, outputs["scores"], strict=True)]
    )
    partner = away.argmin(axis=1)
    return {
        "score_difference": float(max(np.abs(best - outputs["scores"]).max(), np.abs(scores[partner, classes] - outputs["scores"]).max())),
        "box_difference_px": float(np.abs(boxes[partner] - ours).max()),
    }


def worst(figures: Sequence[dict[str, float]]) -> dict[str, float]:
    """The largest of each figure."""
    return {key: max(entry[key] for entry in figures) for key in figures[0]}


def demand(name: str, figures: dict[str, Any]) -> None:
    """Raises ConfigError, naming figure and bound, when the graph is not the original: nothing may be installed then."""
    bounds = {"score_difference": MAX_SCORE_DIFFERENCE, "box_difference_px": MAX_BOX_DIFFERENCE_PX, "batch_difference": 1e-3}
    for key, value in figures.items():
        if "cosine" in key and not value >= MIN_COSINE:
            raise ConfigError(f"{name}: parity with the original failed, {key} {value:.6f} is below {MIN_COSINE}; nothing was installed")
        if key in bounds and not value <= bounds[key]:
            raise ConfigError(f"{name}: parity with the original failed, {key} {value:.3g} is above {bounds[key]}; nothing was installed")
        if isinstance(value, float) and math.isnan(value):
            raise ConfigError(f"{name}: parity with the original failed, {key} is no number; nothing was installed")
