"""The built-in models: which one the settings mean, random twins, and how a photo becomes a row."""

import json
from pathlib import Path

import numpy as np
import pytest

from kizu_fast import specs
from kizu_fast.backends import fake
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.builtin import Chosen, ClipImage, ClipText, ExportedModels, FakeModels, Names, Yolo
from kizu_fast.domain import Detections, Embedding, Photo
from kizu_fast.errors import ConfigError, PermanentError

REAL = Names("clip-vit-b-32-openai-image", "clip-vit-b-32-openai-text", "yolov8m")
TWINS = Names("clip-vit-b-32-random-image", "clip-vit-b-32-random-text", "yolov8m-random")
PHOTO = Photo(np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8), 4000, 3000)


def install(root: Path, name: str) -> None:
    """A model's folder without a graph worth loading."""
    (root / name / "1").mkdir(parents=True)
    (root / name / "1" / "model.onnx").write_bytes(b"")
    tag = "random" if "random" in name else "official"
    space = f"open_clip/ViT-B-32/{tag}/p1/0"
    if name.startswith("yolo"):
        spec = specs.yolo(name, labels=("person",))
    elif name.endswith("-image"):
        spec = specs.clip_image(name, side=224, dim=512, space=space)
    else:
        spec = specs.clip_text(name, context=77, dim=512, space=space)
    manifest = {"name": name, "spec": spec.as_record(), "source": tag, "original": "x"}
    (root / name / "manifest.json").write_text(json.dumps(manifest))


def stock(root: Path, *, allow_random: bool = True, pretrained: str = "openai") -> ExportedModels:
    return ExportedModels(ModelRepository(root), Chosen(clip_pretrained=pretrained), allow_random=allow_random)


@pytest.mark.parametrize(
    ("installed", "allow_random", "expected"),
    [
        ((), True, REAL),
        ((), False, REAL),
        (REAL, True, REAL),
        (TWINS, True, TWINS),
        (TWINS, False, REAL),
        ((*REAL, *TWINS), True, REAL),
        ((*REAL[:2], TWINS.objects), True, Names(REAL.image, REAL.text, TWINS.objects)),
        ((REAL.image, *TWINS), True, Names(REAL.image, REAL.text, TWINS.objects)),
    ],
    ids=["nothing", "nothing allowed", "real", "twins", "twins forbidden", "both", "mixed", "half a pair"],
)
def test_a_random_twin_stands_in_only_where_the_real_model_is_missing_and_it_is_allowed(
    tmp_path: Path, installed: tuple[str, ...], allow_random: bool, expected: Names
) -> None:
    for name in installed:
        install(tmp_path, name)

    assert stock(tmp_path, allow_random=allow_random).names() == expected


def test_all_missing_models_are_told_in_one_line_with_one_command(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"models {REAL.image}, yolov8m not found in .*; run: python -m export --models {REAL.image},yolov8m$"):
        stock(tmp_path).require([REAL.image, REAL.objects])


def test_nothing_is_required_when_everything_is_there(tmp_path: Path) -> None:
    for name in REAL:
        install(tmp_path, name)

    stock(tmp_path).require(REAL)


def test_random_weights_asked_for_by_name_need_permission_too(tmp_path: Path) -> None:
    install(tmp_path, TWINS.image)

    assert stock(tmp_path, pretrained="random").spec(TWINS.image).name == TWINS.image
    with pytest.raises(
        ConfigError, match=f"{TWINS.image} has random weights, its results mean nothing; run: python -m export, or set KIZU_ALLOW_RANDOM=true"
    ):
        stock(tmp_path, pretrained="random", allow_random=False).spec(TWINS.image)


def test_the_text_tower_of_a_space_is_found_wherever_the_settings_point(tmp_path: Path) -> None:
    for name in (*REAL, *TWINS):
        install(tmp_path, name)

    assert stock(tmp_path).text_tower("open_clip/ViT-B-32/random/p1/0") == TWINS.text
    with pytest.raises(ConfigError, match=f"no text model of the vector space strange is in .*; run: python -m export --models {REAL.text}"):
        stock(tmp_path).text_tower("strange")


def test_a_text_tower_without_its_tokenizer_is_told(tmp_path: Path) -> None:
    install(tmp_path, REAL.text)

    with pytest.raises(ConfigError, match=r"tokenizer\.json"):
        stock(tmp_path).text(REAL.text)


def test_a_model_that_is_not_there_is_not_random(tmp_path: Path) -> None:
    assert not stock(tmp_path).is_random(TWINS.image)


def test_the_fake_models_are_always_there_and_never_random() -> None:
    models = FakeModels()
    models.require(models.names())

    assert [models.spec(name).name for name in models.names()] == list(models.names())
    assert not any(models.is_random(name) for name in models.names())
    assert models.text_tower(fake.SPACE) == models.text(models.names().text).spec.name


def test_the_fake_models_know_neither_real_names_nor_real_spaces() -> None:
    with pytest.raises(ConfigError, match="the fake backend has no model yolov8m"):
        FakeModels().spec("yolov8m")
    with pytest.raises(ConfigError, match="does not know the vector space open_clip/x"):
        FakeModels().text_tower("open_clip/x")


def test_a_clip_photo_becomes_a_row_that_its_spec_takes() -> None:
    model = ClipImage(fake.IMAGE)
    prepared = model.prepare(PHOTO)

    model.spec.check_row(prepared.tensors)
    assert prepared.bucket is None


def test_a_clip_answer_becomes_an_embedding_in_the_spec_s_space() -> None:
    vector = np.eye(1, fake.DIM, dtype=np.float32)[0]
    result = ClipImage(fake.IMAGE).prepare(PHOTO).finish({"image_features": vector})

    assert isinstance(result, Embedding)
    assert result.space == fake.SPACE
    assert np.array_equal(result.vector, vector)


def test_an_embedding_outlives_the_batch_that_it_came_in() -> None:
    batch = np.eye(8, fake.DIM, dtype=np.float32)
    result = ClipImage(fake.IMAGE).prepare(PHOTO).finish({"image_features": batch[3]})

    assert not np.shares_memory(result.vector, batch)


def test_a_vector_that_is_not_of_length_one_fails_its_photo() -> None:
    with pytest.raises(PermanentError, match="length 0"):
        ClipImage(fake.IMAGE).prepare(PHOTO).finish({"image_features": np.zeros(fake.DIM, np.float32)})


def test_steps_of_a_newer_version_are_refused_at_load() -> None:
    newer = specs.clip_image("clip", side=224, dim=512, space="s", preprocessing="p9")

    with pytest.raises(ConfigError, match="clip: unknown preprocessing 'p9'"):
        ClipImage(newer)


@pytest.mark.parametrize(("width", "height", "bucket"), [(4000, 3000, (480, 640)), (3000, 4000, (640, 480)), (1000, 1000, (640, 640))])
def test_a_detector_takes_the_bucket_nearest_to_the_photo(width: int, height: int, bucket: tuple[int, int]) -> None:
    photo = Photo(np.zeros((height // 10, width // 10, 3), np.uint8), width, height)
    prepared = Yolo(fake.OBJECTS, min_score=0.25).prepare(photo)

    assert prepared.bucket == bucket
    fake.OBJECTS.at(bucket).check_row(prepared.tensors)


def test_objects_come_back_in_pixels_of_the_original_above_the_score() -> None:
    boxes = np.zeros((specs.YOLO_CANDIDATES, 4), np.float32)
    scores, classes = np.zeros(specs.YOLO_CANDIDATES, np.float32), np.zeros(specs.YOLO_CANDIDATES, np.int32)
    boxes[:2] = (64, 48, 128, 96), (0, 0, 640, 480)
    scores[:2], classes[:2] = (0.9, 0.3), (3, 0)

    result = Yolo(fake.OBJECTS, min_score=0.5).prepare(PHOTO).finish({"boxes": boxes, "scores": scores, "classes": classes})

    assert isinstance(result, Detections)
    assert result.labels == ("dog",)
    assert result.boxes_xyxy[0] == pytest.approx([400, 300, 800, 600], abs=0.01)


def test_a_text_becomes_a_row_that_its_spec_takes() -> None:
    model = ClipText(fake.TEXT, fake.tokenize)

    model.spec.check_row(model.prepare("a dog on a beach").tensors)
