"""The model repository on disk: manifests to specs, and one clear line for whatever is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from kizu_fast.backends.repository import ModelRepository, export_command
from kizu_fast.errors import ConfigError
from kizu_fast.specs import Family

SPACE = "open_clip/ViT-B-32/openai/p1/40d36571"
IMAGE = {"family": "clip_image", "source": "official", "original": "ViT-B-32/openai", "space": SPACE, "side": 224, "dim": 512}
TEXT = {"family": "clip_text", "source": "official", "original": "ViT-B-32/openai", "space": SPACE, "context": 77, "dim": 512}
OBJECTS = {"family": "yolo", "source": "random", "original": "yolov8m", "labels_file": "labels.txt"}


def install(root: Path, name: str, manifest: dict[str, Any], labels: str | None = None) -> None:
    """A model's folder as the export leaves it, around a graph of no bytes."""
    (root / name / "1").mkdir(parents=True)
    (root / name / "1" / "model.onnx").write_bytes(b"")
    (root / name / "manifest.json").write_text(json.dumps({"name": name, **manifest}))
    if labels is not None:
        (root / name / "labels.txt").write_text(labels)


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    install(tmp_path, "clip-image", IMAGE)
    install(tmp_path, "clip-text", TEXT)
    install(tmp_path, "yolov8m-random", OBJECTS, labels="person\nbicycle\n\n")
    return ModelRepository(tmp_path)


def test_a_clip_image_tower_becomes_its_spec(repository: ModelRepository) -> None:
    spec = repository.spec("clip-image")

    assert (spec.name, spec.family, spec.space, spec.preprocessing) == ("clip-image", Family.CLIP_IMAGE, SPACE, "p1")
    assert spec.inputs[0].shape == (224, 224, 3)
    assert spec.outputs[0].shape == (512,)


def test_a_clip_text_tower_becomes_its_spec(repository: ModelRepository) -> None:
    spec = repository.spec("clip-text")

    assert (spec.family, spec.space) == (Family.CLIP_TEXT, SPACE)
    assert spec.inputs[0].shape == (77,)


def test_a_detector_becomes_its_spec_with_its_labels(repository: ModelRepository) -> None:
    spec = repository.spec("yolov8m-random")

    assert spec.labels == ("person", "bicycle")
    assert spec.buckets


def test_the_steps_before_the_graph_are_those_the_manifest_names(repository: ModelRepository) -> None:
    install(repository.root, "siglip", {**IMAGE, "preprocessing": "p1-squash-bicubic"})

    assert repository.spec("siglip").preprocessing == "p1-squash-bicubic"


def test_names_lists_whole_models_only(repository: ModelRepository) -> None:
    (repository.root / "yolov8n").mkdir()
    (repository.root / "yolov8n" / "config.pbtxt").write_text("")  # committed, never exported here
    (repository.root / "half").mkdir()
    (repository.root / "half" / "manifest.json").write_text("{}")

    assert repository.names() == ("clip-image", "clip-text", "yolov8m-random")


def test_a_repository_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert ModelRepository(tmp_path / "nowhere").names() == ()


def test_a_missing_model_is_told_with_the_command_that_brings_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"model yolov8m is not in {tmp_path}; run: python -m export --models yolov8m"):
        ModelRepository(tmp_path).spec("yolov8m")


@pytest.mark.parametrize(
    ("manifest", "complaint"),
    [
        ({**IMAGE, "family": "clip_sound"}, "unknown family 'clip_sound'"),
        ({key: value for key, value in IMAGE.items() if key != "family"}, "does not state 'family'"),
        ({key: value for key, value in IMAGE.items() if key != "source"}, "does not state 'source'"),
        ({**IMAGE, "side": None}, "'side' must be a positive number, it is None"),
        ({**IMAGE, "side": "224"}, "'side' must be a positive number, it is '224'"),
        ({**IMAGE, "dim": -1}, "'dim' must be a positive number"),
        ({**IMAGE, "space": ""}, "does not name its vector 'space'"),
        ({**TEXT, "context": 0}, "'context' must be a positive number"),
        ({**IMAGE, "name": "other"}, "is of the model 'other'"),
        ({**OBJECTS, "labels_file": "names.txt"}, r"names\.txt"),
    ],
)
def test_a_manifest_that_is_not_whole_is_told_by_its_field(tmp_path: Path, manifest: dict[str, Any], complaint: str) -> None:
    install(tmp_path, "model", manifest)

    with pytest.raises(ConfigError, match=complaint) as error:
        ModelRepository(tmp_path).spec("model")

    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("text", "complaint"), [("{", "is no JSON"), ("[]", "holds no object"), ("", "is no JSON")])
def test_a_manifest_that_is_no_manifest_is_told_with_its_path(tmp_path: Path, text: str, complaint: str) -> None:
    install(tmp_path, "model", IMAGE)
    (tmp_path / "model" / "manifest.json").write_text(text)

    with pytest.raises(ConfigError, match=rf"manifest\.json {complaint}.*run: python -m export --models model"):
        ModelRepository(tmp_path).manifest("model")


def test_a_detector_without_labels_is_told(tmp_path: Path) -> None:
    install(tmp_path, "yolo", OBJECTS, labels="\n")

    with pytest.raises(ConfigError, match=r"labels\.txt is empty"):
        ModelRepository(tmp_path).spec("yolo")


def test_random_weights_are_known_by_their_source(repository: ModelRepository) -> None:
    assert repository.manifest("yolov8m-random").is_random
    assert not repository.manifest("clip-image").is_random


def test_the_model_of_a_space_is_found_by_space_and_family(repository: ModelRepository) -> None:
    assert repository.find_space(SPACE, Family.CLIP_TEXT) == "clip-text"
    assert repository.find_space(SPACE, Family.CLIP_IMAGE) == "clip-image"
    assert repository.find_space("another space", Family.CLIP_TEXT) is None


def test_one_broken_manifest_does_not_hide_the_others(repository: ModelRepository) -> None:
    install(repository.root, "a-broken-one", {"family": "?"})

    assert repository.find_space(SPACE, Family.CLIP_TEXT) == "clip-text"


def test_a_model_that_is_exported_while_we_run_is_there_at_once(repository: ModelRepository) -> None:
    assert not repository.has("late")
    install(repository.root, "late", IMAGE)
    assert repository.spec("late").name == "late"


def test_the_export_command_names_the_model() -> None:
    assert export_command("yolov8m") == "python -m export --models yolov8m"
