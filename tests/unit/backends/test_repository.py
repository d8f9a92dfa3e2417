"""The model repository on disk: manifests to specs, and one clear line for whatever is wrong."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kizu_fast import specs
from kizu_fast.backends.repository import ModelRepository, export_command
from kizu_fast.errors import ConfigError
from kizu_fast.specs import Family, ModelSpec

SPACE = "open_clip/ViT-B-32/openai/p1/40d36571"
IMAGE = specs.clip_image("clip-image", side=224, dim=512, space=SPACE)
TEXT = specs.clip_text("clip-text", context=77, dim=512, space=SPACE)
OBJECTS = specs.yolo("yolov8m-random", labels=("person", "bicycle"))
RECORD = IMAGE.as_record()


def install(root: Path, model: ModelSpec, **manifest: Any) -> None:
    """A model's folder as the export leaves it, around a graph of no bytes."""
    folder = root / model.name
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").write_bytes(b"")
    written = {"name": model.name, "spec": model.as_record(), "source": "official", "original": "ViT-B-32/openai", **manifest}
    (folder / "manifest.json").write_text(json.dumps({key: value for key, value in written.items() if value is not None}))


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    install(tmp_path, IMAGE)
    install(tmp_path, TEXT)
    install(tmp_path, OBJECTS, source="random", original="yolov8m")
    return ModelRepository(tmp_path)


@pytest.mark.parametrize("spec", [IMAGE, TEXT, OBJECTS], ids=lambda spec: spec.name)
def test_a_manifest_gives_back_the_spec_that_was_exported(repository: ModelRepository, spec: ModelSpec) -> None:
    assert repository.spec(spec.name) == spec


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
        ({"source": None}, "does not state 'source'"),
        ({"original": None}, "does not state 'original'"),
        ({"spec": None}, "does not state 'spec': another version wrote it"),
        ({"spec": {**RECORD, "family": "clip_sound"}}, "spec: family: "),
        ({"spec": {key: value for key, value in RECORD.items() if key != "inputs"}}, "spec: inputs: Field required"),
        ({"spec": {**RECORD, "max_delay_us": "soon"}}, "spec: max_delay_us: .* 'soon'"),
        ({"spec": {**RECORD, "outputs": [{"name": "x", "dtype": "float64", "shape": [1]}]}}, "dtype 'float64' is unknown; known are uint8"),
        ({"spec": {**RECORD, "name": "other"}}, "is of the model 'other'"),
    ],
)
def test_a_manifest_that_is_not_whole_is_told_by_its_field(tmp_path: Path, manifest: dict[str, Any], complaint: str) -> None:
    install(tmp_path, IMAGE, **manifest)

    with pytest.raises(ConfigError, match=complaint) as error:
        ModelRepository(tmp_path).spec("clip-image")

    assert "run: python -m export --models clip-image" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("text", "complaint"), [("{", "is no JSON"), ("[]", "holds no object"), ("", "is no JSON")])
def test_a_manifest_that_is_no_manifest_is_told_with_its_path(tmp_path: Path, text: str, complaint: str) -> None:
    install(tmp_path, IMAGE)
    (tmp_path / "clip-image" / "manifest.json").write_text(text)

    with pytest.raises(ConfigError, match=rf"manifest\.json {complaint}.*run: python -m export --models clip-image"):
        ModelRepository(tmp_path).manifest("clip-image")


def test_random_weights_are_known_by_their_source(repository: ModelRepository) -> None:
    assert repository.manifest("yolov8m-random").is_random
    assert not repository.manifest("clip-image").is_random


def test_the_model_of_a_space_is_found_by_space_and_family(repository: ModelRepository) -> None:
    assert repository.find_space(SPACE, Family.CLIP_TEXT) == "clip-text"
    assert repository.find_space(SPACE, Family.CLIP_IMAGE) == "clip-image"
    assert repository.find_space("another space", Family.CLIP_TEXT) is None


def test_one_broken_manifest_does_not_hide_the_others(repository: ModelRepository) -> None:
    install(repository.root, replace(IMAGE, name="a-broken-one"), spec=None)

    assert repository.find_space(SPACE, Family.CLIP_TEXT) == "clip-text"


def test_a_model_that_is_exported_while_we_run_is_there_at_once(repository: ModelRepository) -> None:
    assert not repository.has("late")
    install(repository.root, replace(IMAGE, name="late"))
    assert repository.spec("late").name == "late"


def test_the_export_command_names_the_model() -> None:
    assert export_command("yolov8m") == "python -m export --models yolov8m"
