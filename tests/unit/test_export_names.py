"""What `--models` may name. Runs without the original libraries: the quick path must not need them."""

import sys
from pathlib import Path

import pytest

from export.sources import FAMILIES, chosen, clip, standard, untrained, yolo
from export.wanted import Original, Wanted
from kizu_fast.domain import Operation
from kizu_fast.errors import ConfigError
from kizu_fast.settings import Settings
from kizu_fast.specs import Family

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = Settings(clip_model="ViT-B-32", clip_pretrained="openai", yolo_size="m", operations=(Operation.EMBEDDING, Operation.OBJECTS))


def names(models: list[Wanted]) -> list[str]:
    return [model.name for model in models]


def test_by_default_the_models_of_the_settings_are_wanted() -> None:
    models = standard(SETTINGS, random=False)
    assert names(models) == ["clip-vit-b-32-openai-image", "clip-vit-b-32-openai-text", "yolov8m"]
    assert [model.family for model in models] == [Family.CLIP_IMAGE, Family.CLIP_TEXT, Family.YOLO]


def test_random_weights_put_random_into_every_name() -> None:
    twins = chosen(["clip", "yolo"], SETTINGS, random=True)
    assert names(twins) == ["clip-vit-b-32-random-image", "clip-vit-b-32-random-text", "yolov8m-random"]
    assert all(model.original.random for model in twins)
    assert [untrained(model) for model in twins] == twins


def test_both_towers_share_their_weights() -> None:
    image, text = clip.towers("ViT-L-14", "openai")
    assert image.original == text.original == Original("clip", "ViT-L-14", "openai")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["clip"], ["clip-vit-b-32-openai-image", "clip-vit-b-32-openai-text"]),
        (["yolo"], ["yolov8m"]),
        (["yolov8n", "yolov8x"], ["yolov8n", "yolov8x"]),
        (["yolov8s-random"], ["yolov8s-random"]),
        (["clip-vit-b-32-openai-text"], ["clip-vit-b-32-openai-text"]),
        (["clip-vit-b-32-random-image"], ["clip-vit-b-32-random-image"]),
        (["ViT-L-14/openai"], ["clip-vit-l-14-openai-image", "clip-vit-l-14-openai-text"]),
        (["ViT-L-14/random"], ["clip-vit-l-14-random-image", "clip-vit-l-14-random-text"]),
        (["yolo", "yolov8m"], ["yolov8m"]),
    ],
)
def test_models_are_chosen_by_family_folder_or_origin(words: list[str], expected: list[str]) -> None:
    assert names(chosen(words, SETTINGS, random=False)) == expected
    assert "torch" not in sys.modules


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("clip-vit-b-32-openai-image", "clip-vit-b-32-random-image"),
        ("clip-vit-b-32-random-text", "clip-vit-b-32-random-text"),
        ("yolov8n", "yolov8n-random"),
        ("yolo", "yolov8m-random"),
    ],
)
def test_with_random_weights_a_trained_name_means_its_untrained_twin(word: str, expected: str) -> None:
    assert names(chosen([word], SETTINGS, random=True)) == [expected]


def test_settings_that_name_random_weights_are_taken_at_their_word() -> None:
    settings = SETTINGS.model_copy(update={"clip_pretrained": "random"})
    assert names(standard(settings, random=False))[:2] == ["clip-vit-b-32-random-image", "clip-vit-b-32-random-text"]


def test_an_original_is_written_as_its_library_names_it() -> None:
    assert str(Original("clip", "ViT-B-32", "openai")) == "ViT-B-32/openai"
    assert str(Original("clip", "ViT-B-32", "", random=True)) == "ViT-B-32/random"
    assert str(yolo.detector("m").original) == "yolov8m"


def test_a_pack_is_brought_only_where_faces_are_wanted_and_never_with_random_weights() -> None:
    settings = SETTINGS.model_copy(update={"operations": tuple(Operation), "face_model_name": "buffalo_s"})
    halves = {"face-buffalo-s-detector", "face-buffalo-s-embedder"}
    assert not halves & set(names(standard(SETTINGS, random=False)))
    assert halves <= set(names(standard(settings, random=False)))
    assert not any(name.startswith("face") for name in names(standard(settings, random=True)))


def test_a_half_of_a_pack_is_found_by_its_folder() -> None:
    assert names(chosen(["face-antelopev2-embedder"], SETTINGS, random=False)) == ["face-antelopev2-embedder"]


@pytest.mark.parametrize("word", ["yolov9", "nonsense", "face-buffalo-s"])
def test_an_unknown_word_is_refused_by_name(word: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown model '{word}'"):
        chosen([word], SETTINGS, random=False)


def test_every_family_names_the_files_that_shape_it() -> None:
    for word, family in FAMILIES.items():
        assert f"{word}.py" in family.SHAPING
        assert all((ROOT / "export" / name).is_file() for name in family.SHAPING)
