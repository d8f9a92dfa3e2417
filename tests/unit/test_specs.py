"""ModelSpec: rows are checked before they join a batch, names say what a model is."""

import json

import numpy as np
import pytest

from kizu_fast import specs
from kizu_fast.errors import RowMismatch
from kizu_fast.specs import Family, clip_name, is_random, yolo_name


@pytest.fixture
def image() -> specs.ModelSpec:
    return specs.clip_image("clip-x-image", side=224, dim=512, space="open_clip/x")


@pytest.fixture
def detector() -> specs.ModelSpec:
    return specs.yolo("yolov8n", labels=("a", "b"))


@pytest.mark.parametrize(
    ("model", "tag", "tower", "name"),
    [
        ("ViT-B-32", "openai", "image", "clip-vit-b-32-openai-image"),
        ("ViT-B-32", "random", "text", "clip-vit-b-32-random-text"),
        ("ViT-B-32", "laion2b_s34b_b79k", "image", "clip-vit-b-32-laion2b-s34b-b79k-image"),
        ("xlm-roberta-base-ViT-B-32", "laion5b_s13b_b90k", "text", "clip-xlm-roberta-base-vit-b-32-laion5b-s13b-b90k-text"),
        ("ViT-B-16-SigLIP", "webli", "image", "clip-vit-b-16-siglip-webli-image"),
    ],
)
def test_a_clip_tower_is_named_by_model_and_weights(model: str, tag: str, tower: str, name: str) -> None:
    assert clip_name(model, tag, tower) == name


def test_a_detector_is_named_by_its_size() -> None:
    assert yolo_name("m") == "yolov8m"
    assert yolo_name("m", random=True) == "yolov8m-random"


@pytest.mark.parametrize("name", ["yolov8m-random", "clip-vit-b-32-random-image"])
def test_untrained_weights_show_in_the_name(name: str) -> None:
    assert is_random(name)


@pytest.mark.parametrize("name", ["yolov8m", "clip-vit-b-32-openai-image", "clip-randomised-image"])
def test_trained_weights_do_not_look_untrained(name: str) -> None:
    assert not is_random(name)


def test_a_right_row_passes(image: specs.ModelSpec) -> None:
    image.check_row({"pixels": np.zeros((224, 224, 3), np.uint8)})


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"pixels": np.zeros((224, 224, 3), np.float32)}, r"expected uint8 \[224, 224, 3\], got float32"),
        ({"pixels": np.zeros((224, 225, 3), np.uint8)}, r"got uint8 \[224, 225, 3\]"),
        ({"pixels": np.zeros((1, 224, 224, 3), np.uint8)}, r"got uint8 \[1, 224, 224, 3\]"),
        ({"picture": np.zeros((224, 224, 3), np.uint8)}, "inputs are pixels, got picture"),
        ({}, "inputs are pixels"),
    ],
)
def test_a_wrong_row_is_refused_by_what_is_wrong(image: specs.ModelSpec, row: dict[str, np.ndarray], text: str) -> None:
    with pytest.raises(RowMismatch, match=text):
        image.check_row(row)


def test_a_free_dimension_takes_any_size(detector: specs.ModelSpec) -> None:
    for bucket in detector.buckets:
        detector.check_row({"pixels": np.zeros((*bucket, 3), np.uint8)})


def test_a_bucket_makes_the_shape_static(detector: specs.ModelSpec) -> None:
    fixed = detector.at((480, 640))
    assert fixed.inputs[0].shape == (480, 640, 3)
    assert fixed.buckets == ((480, 640),)
    assert fixed.name == detector.name
    with pytest.raises(RowMismatch):
        fixed.check_row({"pixels": np.zeros((640, 640, 3), np.uint8)})


def test_an_unknown_bucket_is_a_bug(detector: specs.ModelSpec) -> None:
    with pytest.raises(ValueError, match="no bucket 10x10"):
        detector.at((10, 10))


def test_rows_stack_to_a_contiguous_batch(image: specs.ModelSpec) -> None:
    wide = np.zeros((224, 300, 3), np.uint8)
    batch = image.stack([{"pixels": wide[:, 10:234]}, {"pixels": np.ones((224, 224, 3), np.uint8)}])["pixels"]
    assert batch.shape == (2, 224, 224, 3)
    assert batch.flags.c_contiguous
    assert batch[1].all()


def test_buckets_fit_the_detector_s_stride() -> None:
    assert all(side % 32 == 0 for bucket in specs.YOLO_BUCKETS for side in bucket)


def test_every_family_has_its_own_tensors() -> None:
    text = specs.clip_text("t", context=77, dim=512, space="s", preprocessing="p1-whitespace")
    assert (text.family, text.inputs[0].dtype, text.inputs[0].shape) == (Family.CLIP_TEXT, "int32", (77,))
    assert text.preprocessing == "p1-whitespace"
    assert [output.name for output in specs.yolo("y", labels=()).outputs] == ["boxes", "scores", "classes"]
    assert text.max_batch == 16


@pytest.mark.parametrize(
    "spec", [specs.yolo("y", labels=("a", "b")), specs.arcface("f", dim=8, space="s"), specs.scrfd("d")], ids=lambda spec: spec.name
)
def test_a_spec_survives_json(spec: specs.ModelSpec) -> None:
    assert specs.ModelSpec.from_record(json.loads(json.dumps(spec.as_record()))) == spec


def test_a_record_of_something_else_is_refused_by_its_field() -> None:
    with pytest.raises(ValueError, match="name: Field required"):
        specs.ModelSpec.from_record({})
