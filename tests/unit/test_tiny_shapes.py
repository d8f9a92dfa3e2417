"""Rendered pictures and captions of the tiny CLIP: the same on every machine, true to each other, and with pairs that training never sees."""

from dataclasses import replace

import numpy as np
import pytest

from export.tiny_shapes.pictures import (
    COLOURS,
    NUMBERS,
    PLACES,
    RELATIONS,
    SHAPES,
    SURROUNDINGS,
    Scene,
    Thing,
    caption,
    gallery,
    render,
    scenes,
    things,
)

RED_SQUARE, BLUE_STAR = Thing("red", "square"), Thing("blue", "star")
WHITE = "on a white background"


def dice(seed: int = 3) -> np.random.Generator:
    return np.random.default_rng(seed)


def where(scene: Scene, colour: str) -> tuple[float, float]:
    """Centre of the pixels of one colour, parts of width and height."""
    pixels = np.asarray(render(scene, dice())).astype(int)
    near = np.abs(pixels - np.array(COLOURS[colour])).max(axis=2) < 40
    rows, columns = np.nonzero(near)
    assert len(rows) > 30, "nothing of that colour is there"
    return float(columns.mean() / near.shape[1]), float(rows.mean() / near.shape[0])


def test_each_colour_and_each_shape_is_known_and_has_pairs_held_out() -> None:
    known, held_out = things(held_out=False), things(held_out=True)
    assert len(known) + len(held_out) == len(COLOURS) * len(SHAPES)
    assert {thing.colour for thing in known} == {thing.colour for thing in held_out} == set(COLOURS)
    assert {thing.shape for thing in known} == set(SHAPES)
    assert len(held_out) == 2 * len(COLOURS)


@pytest.mark.parametrize("held_out", [True, False])
def test_scenes_keep_to_their_side_of_the_fence(held_out: bool) -> None:
    for scene in scenes(500, dice(), held_out=held_out):
        assert scene.thing.held_out is held_out
        assert scene.other is None or (scene.other.held_out is held_out and scene.other != scene.thing)


def test_scenes_show_everything_there_is() -> None:
    found = scenes(2000, dice(), held_out=False)
    assert {scene.thing for scene in found} == set(things(held_out=False))
    assert {scene.surroundings for scene in found} == set(SURROUNDINGS)
    assert {scene.number for scene in found} == {1, 2, 3, 4}
    assert {scene.place for scene in found} == {None, *PLACES}
    assert {scene.relation for scene in found} == {None, *RELATIONS}


@pytest.mark.parametrize(
    ("scene", "words"),
    [
        (Scene(RED_SQUARE, WHITE), "a red square on a white background"),
        (Scene(RED_SQUARE, "at night", number=3), "three red squares at night"),
        (Scene(Thing("green", "fish"), "on a beach", number=2), "two green fish on a beach"),
        (Scene(BLUE_STAR, "on grass", place="in the top left corner"), "a blue star in the top left corner on grass"),
        (Scene(RED_SQUARE, WHITE, relation="left of", other=BLUE_STAR), "a red square left of a blue star on a white background"),
    ],
)
def test_the_plainest_caption(scene: Scene, words: str) -> None:
    assert caption(scene) == words


def test_a_caption_has_many_wordings_and_all_say_the_same() -> None:
    chance, scene = dice(), Scene(RED_SQUARE, "on grass", relation="above", other=BLUE_STAR)
    said = {caption(scene, chance) for _ in range(200)}
    assert len(said) > 10
    for words in said:
        assert "on grass" in words
        assert words.count("red square") == words.count("blue star") == 1
        first_is_red = words.index("red") < words.index("blue")
        assert ("above" if first_is_red else "below") in words


def test_counted_things_are_in_the_plural() -> None:
    chance = dice()
    for number in (2, 3, 4):
        assert all(f"{NUMBERS[number]} red squares" in caption(Scene(RED_SQUARE, WHITE, number=number), chance) for _ in range(20))


def test_the_same_seed_renders_the_same_picture_and_another_one_another() -> None:
    scene = Scene(RED_SQUARE, "at night", number=3)
    one, same, other = (np.asarray(render(scene, dice(seed))) for seed in (5, 5, 6))
    assert np.array_equal(one, same)
    assert one.shape != other.shape or not np.array_equal(one, other)


def test_a_thing_is_where_its_caption_says() -> None:
    for place, (x, y) in PLACES.items():
        across, down = where(Scene(RED_SQUARE, WHITE, place=place), "red")
        assert (across < 0.5) is (x < 0.5), place
        assert (down < 0.5) is (y < 0.5), place


@pytest.mark.parametrize("relation", list(RELATIONS))
def test_things_stand_to_each_other_as_the_caption_says(relation: str) -> None:
    scene = Scene(RED_SQUARE, WHITE, relation=relation, other=BLUE_STAR)
    red, blue = where(scene, "red"), where(scene, "blue")
    dx, dy = RELATIONS[relation]
    assert (red[0] - blue[0]) * dx + (red[1] - blue[1]) * dy > 0.2


def test_more_things_cover_more_of_the_picture() -> None:
    covered = []
    for number in (2, 3, 4):
        pixels = np.asarray(render(Scene(RED_SQUARE, WHITE, number=number), dice(8))).astype(int)
        covered.append(int((np.abs(pixels - np.array(COLOURS["red"])).max(axis=2) < 40).sum()))
    assert covered == sorted(covered)
    assert covered[0] < covered[-1]


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize("surroundings", SURROUNDINGS)
def test_every_shape_is_seen_in_all_surroundings(shape: str, surroundings: str) -> None:
    empty = np.asarray(render(Scene(Thing("red", shape), surroundings, number=0), dice(4))).astype(int)
    full = np.asarray(render(Scene(Thing("red", shape), surroundings), dice(4))).astype(int)
    assert empty.shape == full.shape
    assert (np.abs(empty - full).max(axis=2) > 60).mean() > 0.03


def test_no_two_pictures_of_a_gallery_can_be_told_by_the_same_words() -> None:
    found = gallery(240, dice(), held_out=True)
    said = {caption(scene) for scene in found}
    assert len(said) == len(found) == 240
    for scene in found:
        if scene.relation is not None and scene.other is not None:
            opposite = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}[scene.relation]
            assert caption(replace(scene, thing=scene.other, relation=opposite, other=scene.thing)) not in said
