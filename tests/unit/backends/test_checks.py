"""What a local backend proves: each mismatch is told by model and field."""

import numpy as np
import pytest

from kizu_fast import specs
from kizu_fast.backends import checks
from kizu_fast.backends.checks import Found
from kizu_fast.errors import ConfigError

SPEC = specs.yolo("yolov8n", labels=("person",))
PIXELS = Found("uint8", ["batch", "height", "width", 3])


def test_tensors_that_fit_pass() -> None:
    checks.compare(SPEC, "input", SPEC.inputs, {"pixels": PIXELS})


@pytest.mark.parametrize(
    "found",
    [
        Found("float32", PIXELS.shape),
        Found("uint8", [1, "height", "width", 3]),
        Found("uint8", ["batch", 640, "width", 3]),
        Found("uint8", ["batch", "height", "width", 4]),
        Found("uint8", ["batch", "height", 3]),
        Found("uint8", []),
    ],
    ids=["dtype", "fixed batch", "fixed height", "channels", "rank", "scalar"],
)
def test_an_input_that_does_not_fit_is_named(found: Found) -> None:
    with pytest.raises(ConfigError, match=r"yolov8n\.pixels: the graph has .*expected uint8 \[-1, -1, 3\]"):
        checks.compare(SPEC, "input", SPEC.inputs, {"pixels": found})


def test_a_tensor_of_another_name_is_named() -> None:
    with pytest.raises(ConfigError, match="yolov8n: inputs are images, expected pixels; run: python -m export --models yolov8n"):
        checks.compare(SPEC, "input", SPEC.inputs, {"images": PIXELS})


def test_an_output_may_be_left_open() -> None:
    open_ended = {tensor.name: Found(tensor.dtype, ["batch", *("?" for _ in tensor.shape)]) for tensor in SPEC.outputs}

    checks.compare(SPEC, "output", SPEC.outputs, open_ended)


def test_the_batch_of_proof_is_grey_and_of_one_row() -> None:
    batch = checks.grey(SPEC.at((480, 640)))

    assert batch["pixels"].shape == (1, 480, 640, 3)
    assert set(np.unique(batch["pixels"])) == {114}


def test_an_answer_of_wrong_shape_or_dtype_or_without_sense_is_refused() -> None:
    good = {tensor.name: np.zeros((1, *tensor.shape), specs.DTYPES[tensor.dtype]) for tensor in SPEC.outputs}
    checks.check_answer(SPEC, "cuda", good)

    with pytest.raises(ConfigError, match=r"yolov8n\.boxes: the graph gives float32 \[3, 4\]"):
        checks.check_answer(SPEC, "cuda", {**good, "boxes": np.zeros((1, 3, 4), np.float32)})
    with pytest.raises(ConfigError, match=r"yolov8n\.scores: the graph gives float64"):
        checks.check_answer(SPEC, "cuda", {**good, "scores": good["scores"].astype(np.float64)})
    with pytest.raises(ConfigError, match=r"yolov8n\.scores: not finite on cuda"):
        checks.check_answer(SPEC, "cuda", {**good, "scores": np.full_like(good["scores"], np.nan)})


def test_a_complaint_becomes_one_short_line() -> None:
    assert checks.one_line(RuntimeError("a\n  b")) == "a b"
    assert checks.one_line(MemoryError()) == "MemoryError"
    assert len(checks.one_line(RuntimeError("x" * 1000))) == 300
