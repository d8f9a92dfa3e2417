"""Served configurations and answers against the spec."""

from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2 as triton

from export import configs
from kizu_fast import specs
from kizu_fast.backends.triton_checks import CONFIG_TYPES, compare, flaw, grey, instance
from kizu_fast.errors import ConfigError
from kizu_fast.specs import ModelSpec

OBJECTS = specs.yolo("yolov8m", labels=("person",))
TEXT = specs.clip_text("text", context=7, dim=4, space="s")


def served(spec: ModelSpec, old: str = "", new: str = "", variant: str = "any") -> triton.ModelConfig:
    """The rendered configuration, changed in one place."""
    text = configs.render(spec, variant)
    assert old in text
    return text_format.Parse(text.replace(old, new, 1) if old else text, triton.ModelConfig())


def test_types_have_the_numbers_of_the_protocol() -> None:
    assert {name: int(number) for name, number in configs.DTYPES.items()} == dict(CONFIG_TYPES)


@pytest.mark.parametrize("variant", configs.VARIANTS)
def test_what_we_render_is_what_we_accept(variant: str) -> None:
    compare(OBJECTS, served(OBJECTS, variant=variant), "here:1")


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('name: "pixels"', 'name: "images"', "input pixels: it is not among images"),
        ("TYPE_UINT8", "TYPE_FP32", r"input pixels: data_type is 11, expected 2 \(uint8\)"),
        ("dims: 1000\n  dims: 4", "dims: 300\n  dims: 4", r"output boxes: dims are \[300, 4\], expected \[1000, 4\]"),
        ("dims: 1000\n  dims: 4", "dims: 1000", r"output boxes: dims are \[1000\]"),
        ("max_batch_size: 8", "max_batch_size: 0", "max_batch_size is 0"),
    ],
)
def test_another_model_of_that_name_is_refused_with_its_field(old: str, new: str, field: str) -> None:
    with pytest.raises(ConfigError, match=f"model yolov8m on Triton at here:1: .*{field}"):
        compare(OBJECTS, served(OBJECTS, old, new), "here:1")


def test_dimensions_that_vary_on_either_side_fit() -> None:
    compare(OBJECTS, served(OBJECTS, "dims: -1\n  dims: -1", "dims: 640\n  dims: 640"), "here:1")


def answer(rows: int = 2) -> dict[str, NDArray[Any]]:
    return {
        "boxes": np.zeros((rows, 1000, 4), np.float32),
        "scores": np.zeros((rows, 1000), np.float32),
        "classes": np.zeros((rows, 1000), np.int32),
    }


def test_a_whole_answer_has_no_flaw() -> None:
    assert flaw(OBJECTS, answer(), 2) is None


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("boxes", np.zeros((2, 999, 4), np.float32), r"yolov8m.boxes: the answer is float32 [2, 999, 4], expected float32 [2, 1000, 4]"),
        ("boxes", np.zeros((1, 1000, 4), np.float32), "[1, 1000, 4]"),
        ("scores", np.zeros((2, 1000, 1), np.float32), "yolov8m.scores"),
        ("scores", np.zeros((2, 1000), np.float16), "float16"),
        ("scores", np.full((2, 1000), np.nan, np.float32), "yolov8m.scores: the answer is not finite"),
        ("scores", np.full((2, 1000), -np.inf, np.float32), "not finite"),
        ("classes", np.zeros(0, np.int32), "yolov8m.classes"),
    ],
)
def test_a_flaw_names_model_and_output(name: str, value: NDArray[Any], words: str) -> None:
    assert words in (flaw(OBJECTS, {**answer(), name: value}, 2) or "")


def test_grey_is_one_row_of_every_input() -> None:
    shaped = OBJECTS.at((480, 640))
    (pixels,) = grey(shaped).values()
    assert (pixels.shape, pixels.dtype, int(pixels.min())) == ((1, 480, 640, 3), np.uint8, 114)
    (tokens,) = grey(TEXT).values()
    assert (tokens.shape, tokens.dtype, int(tokens.max())) == ((1, 7), np.int32, 0)


def test_an_instance_tells_backend_accelerator_precision_and_threads() -> None:
    plain = instance(served(OBJECTS), "2.51.0")
    assert (plain.provider, plain.precision, plain.threads) == ("Triton 2.51.0: onnxruntime", "fp32", 0)
    assert instance(served(OBJECTS, variant="cpu"), "2").threads == 1
    fast = instance(served(OBJECTS, variant="gpu"), "2")
    assert (fast.provider, fast.precision) == ("Triton 2: onnxruntime + tensorrt", "fp16")
