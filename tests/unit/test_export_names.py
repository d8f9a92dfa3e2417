"""What `--models` may name. Runs without the original libraries: the quick path must not need them."""

import sys

import pytest

from export.wanted import Original, Wanted, chosen, clip_towers, defaults, untrained, yolo_detector
from kizu_fast.specs import Family

STANDARD = defaults("ViT-B-32", "openai", "m")


def names(models: list[Wanted]) -> list[str]:
    return [model.name for model in models]


def test_by_default_the_models_of_the_settings_are_wanted() -> None:
    assert names(STANDARD) == ["clip-vit-b-32-openai-image", "clip-vit-b-32-openai-text", "yolov8m"]
    assert [model.family for model in STANDARD] == [Family.CLIP_IMAGE, Family.CLIP_TEXT, Family.YOLO]


def test_random_weights_put_random_into_every_name() -> None:
    twins = chosen(["clip", "yolo"], STANDARD, random=True)
    assert names(twins) == ["clip-vit-b-32-random-image", "clip-vit-b-32-random-text", "yolov8m-random"]
    assert all(model.original.random for model in twins)
    assert [untrained(model) for model in twins] == twins


def test_both_towers_share_their_weights() -> None:
    image, text = clip_towers("ViT-L-14", "openai")
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
    assert names(chosen(words, STANDARD, random=False)) == expected
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
    assert names(chosen([word], STANDARD, random=True)) == [expected]


def test_settings_that_name_random_weights_are_taken_at_their_word() -> None:
    assert names(defaults("ViT-B-32", "random", "n"))[:2] == ["clip-vit-b-32-random-image", "clip-vit-b-32-random-text"]


def test_an_original_is_written_as_its_library_names_it() -> None:
    assert str(Original("clip", "ViT-B-32", "openai")) == "ViT-B-32/openai"
    assert str(Original("clip", "ViT-B-32", "", random=True)) == "ViT-B-32/random"
    assert str(yolo_detector("m").original) == "yolov8m"
