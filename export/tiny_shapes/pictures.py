"""Rendered pictures and their captions: coloured shapes by number, place, neighbour and surroundings. Pure; the same on every machine for a seed.

Some pairs of colour and shape are held out: no training picture shows them and no training caption names them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (215, 30, 35),
    "yellow": (250, 225, 40),
    "green": (35, 160, 60),
    "blue": (35, 80, 215),
    "pink": (250, 150, 195),
    "black": (20, 20, 20),
}
SHAPES: dict[str, str] = {  # with their plurals
    "circle": "circles",
    "square": "squares",
    "triangle": "triangles",
    "star": "stars",
    "heart": "hearts",
    "cross": "crosses",
    "house": "houses",
    "fish": "fish",
}
NUMBERS = ("", "one", "two", "three", "four")
PLACES: dict[str, tuple[float, float]] = {  # centre, as a part of width and height
    "in the top left corner": (0.24, 0.24),
    "in the top right corner": (0.76, 0.24),
    "in the bottom left corner": (0.24, 0.76),
    "in the bottom right corner": (0.76, 0.76),
}
SURROUNDINGS = ("on a white background", "on a grey background", "on a beach", "on grass", "at night")
RELATIONS: dict[str, tuple[float, float]] = {
    "left of": (-1, 0),
    "right of": (1, 0),
    "above": (0, -1),
    "below": (0, 1),
}  # of the first, seen from the second
OPENINGS = ("", "a photo of", "a picture of", "I see")
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
SIZES = ((128, 96), (96, 128), (96, 96), (144, 96))  # width, height


@dataclass(frozen=True, slots=True)
class Thing:
    """A shape of one colour."""

    colour: str
    shape: str

    @property
    def held_out(self) -> bool:
        """Whether no training picture shows it: two shapes of each colour."""
        colour, shape = list(COLOURS).index(self.colour), list(SHAPES).index(self.shape)
        return (shape - colour) % len(SHAPES) in (0, 4)


@dataclass(frozen=True, slots=True)
class Scene:
    """What a picture shows: several of one thing, one thing at a place, or one beside another. None: not so."""

    thing: Thing
    surroundings: str
    number: int = 1
    place: str | None = None
    relation: str | None = None
    other: Thing | None = None


def things(*, held_out: bool) -> list[Thing]:
    """All pairs of colour and shape of one side of the fence."""
    return [thing for colour in COLOURS for shape in SHAPES if (thing := Thing(colour, shape)).held_out is held_out]


def scenes(count: int, chance: np.random.Generator, *, held_out: bool) -> list[Scene]:
    """count scenes by chance; half of them count, a quarter places, a quarter relates."""
    known = things(held_out=held_out)
    return [_scene(known, chance) for _ in range(count)]


def _scene(known: Sequence[Thing], chance: np.random.Generator) -> Scene:
    thing, surroundings = known[int(chance.integers(len(known)))], SURROUNDINGS[chance.integers(len(SURROUNDINGS))]
    kind = chance.integers(4)
    if kind == 0:
        return Scene(thing, surroundings, place=list(PLACES)[chance.integers(len(PLACES))])
    if kind == 1:
        others = [other for other in known if other != thing]
        return Scene(thing, surroundings, relation=list(RELATIONS)[chance.integers(len(RELATIONS))], other=others[chance.integers(len(others))])
    return Scene(thing, surroundings, number=int(chance.integers(1, len(NUMBERS))))


def caption(scene: Scene, chance: np.random.Generator | None = None) -> str:
    """A sentence about it: the plainest one, or by chance one of several ways to say the same."""
    if chance is None:
        return f"{_said(scene, 'a')} {scene.surroundings}"
    if scene.relation is not None and scene.other is not None and chance.integers(2):
        scene = replace(scene, thing=scene.other, relation=OPPOSITE[scene.relation], other=scene.thing)
    said, opening = _said(scene, ("a", "one")[chance.integers(2)]), OPENINGS[chance.integers(len(OPENINGS))]
    return f"{scene.surroundings}, {said}" if chance.integers(2) else f"{opening} {said} {scene.surroundings}".strip()


def _said(scene: Scene, one: str) -> str:
    thing = scene.thing
    if scene.number > 1:
        return f"{NUMBERS[scene.number]} {thing.colour} {SHAPES[thing.shape]}"
    words = [one, thing.colour, thing.shape]
    if scene.place is not None:
        words.append(scene.place)
    if scene.relation is not None and scene.other is not None:
        words += [scene.relation, "a", scene.other.colour, scene.other.shape]
    return " ".join(words)


def gallery(count: int, chance: np.random.Generator, *, held_out: bool) -> list[Scene]:
    """count scenes of which no two can be told by the same words."""
    found: dict[str, Scene] = {}
    while len(found) < count:
        scene = scenes(1, chance, held_out=held_out)[0]
        mirrored = (
            scene
            if scene.other is None or scene.relation is None
            else replace(scene, thing=scene.other, relation=OPPOSITE[scene.relation], other=scene.thing)
        )
        if caption(mirrored) not in found:
            found.setdefault(caption(scene), scene)
    return list(found.values())


def render(scene: Scene, chance: np.random.Generator) -> Image.Image:
    """An RGB picture of it. Size, position, tilt, shade and grain are by chance."""
    width, height = SIZES[chance.integers(len(SIZES))]
    image = _surroundings(scene.surroundings, width, height, chance)
    draw = ImageDraw.Draw(image)
    side = min(width, height)
    for thing, x, y, size in _laid_out(scene, chance):
        centre = (width / 2 + (x - 0.5) * side, height / 2 + (y - 0.5) * side)
        _shape(draw, thing, centre, size * side / 2, chance)
    grain = chance.integers(-6, 7, (height, width, 1))
    return Image.fromarray(np.clip(np.asarray(image).astype(np.int16) + grain, 0, 255).astype(np.uint8))


def _laid_out(scene: Scene, chance: np.random.Generator) -> list[tuple[Thing, float, float, float]]:
    """(thing, centre x, centre y, diameter), parts of the centre square: the tower sees no more of a picture."""

    def near(value: float, by: float) -> float:
        return float(value + chance.uniform(-by, by))

    if scene.place is not None:
        x, y = PLACES[scene.place]
        return [(scene.thing, near(x, 0.05), near(y, 0.05), near(0.42, 0.05))]
    if scene.relation is not None and scene.other is not None:
        dx, dy = RELATIONS[scene.relation]
        return [
            (scene.thing, near(0.5 + 0.25 * dx, 0.03), near(0.5 + 0.25 * dy, 0.03), near(0.43, 0.04)),
            (scene.other, near(0.5 - 0.25 * dx, 0.03), near(0.5 - 0.25 * dy, 0.03), near(0.43, 0.04)),
        ]
    if scene.number == 1:
        return [(scene.thing, near(0.5, 0.06), near(0.5, 0.06), near(0.6, 0.1))]
    cells = [(0.27, 0.27), (0.73, 0.27), (0.27, 0.73), (0.73, 0.73)]
    chosen = chance.permutation(len(cells))[: scene.number]
    return [(scene.thing, near(cells[i][0], 0.04), near(cells[i][1], 0.04), near(0.41, 0.04)) for i in chosen]


def _surroundings(name: str, width: int, height: int, chance: np.random.Generator) -> Image.Image:
    def shade(colour: tuple[int, int, int]) -> tuple[int, int, int]:
        r, g, b = np.clip(np.array(colour) + chance.integers(-12, 13), 0, 255)
        return int(r), int(g), int(b)

    plain = {
        "on a white background": (245, 245, 245),
        "on a grey background": (140, 140, 140),
        "on a beach": (150, 205, 245),
        "on grass": (185, 220, 250),
        "at night": (15, 20, 60),
    }
    image = Image.new("RGB", (width, height), shade(plain[name]))
    draw = ImageDraw.Draw(image)
    if name == "on a beach":
        draw.rectangle((0, height * 0.35, width, height * 0.5), fill=shade((40, 120, 190)))
        draw.rectangle((0, height * 0.5, width, height), fill=shade((235, 210, 150)))
    if name == "on grass":
        draw.rectangle((0, height * 0.4, width, height), fill=shade((110, 185, 80)))
    if name == "at night":
        for _ in range(25):
            x, y = chance.uniform(0, width), chance.uniform(0, height)
            draw.ellipse((x, y, x + 1.5, y + 1.5), fill=(255, 255, 230))
    return image


def _shape(draw: ImageDraw.ImageDraw, thing: Thing, centre: tuple[float, float], radius: float, chance: np.random.Generator) -> None:
    r, g, b = np.clip(np.array(COLOURS[thing.colour]) + chance.integers(-14, 15), 0, 255)
    fill, line = (int(r), int(g), int(b)), (240, 240, 240) if thing.colour == "black" else (25, 25, 25)
    tilt = chance.uniform(-0.15, 0.15)
    for outline in _OUTLINES[thing.shape]:
        turned = outline @ np.array([[math.cos(tilt), math.sin(tilt)], [-math.sin(tilt), math.cos(tilt)]])
        points = [(float(centre[0] + radius * x), float(centre[1] + radius * y)) for x, y in turned]
        draw.polygon(points, fill=fill, outline=line, width=2)


def _points(*numbers: float) -> NDArray[np.float64]:
    return np.array(numbers, np.float64).reshape(-1, 2)


_AROUND = np.linspace(0, 2 * np.pi, 33)[:-1]
_SPIKES = np.arange(10) * np.pi / 5 - np.pi / 2
_OUTLINES: dict[str, list[NDArray[np.float64]]] = {  # polygons within the unit circle, x right, y down
    "circle": [np.stack([np.cos(_AROUND), np.sin(_AROUND)], axis=1)],
    "square": [_points(-0.8, -0.8, 0.8, -0.8, 0.8, 0.8, -0.8, 0.8)],
    "triangle": [_points(0, -1, 0.95, 0.75, -0.95, 0.75)],
    "star": [np.stack([np.cos(_SPIKES), np.sin(_SPIKES)], axis=1) * np.tile([[1.0], [0.42]], (5, 1))],
    "heart": [
        np.stack(
            [np.sin(_AROUND) ** 3, -(13 * np.cos(_AROUND) - 5 * np.cos(2 * _AROUND) - 2 * np.cos(3 * _AROUND) - np.cos(4 * _AROUND)) / 16], axis=1
        )
    ],
    "cross": [_points(-0.3, -1, 0.3, -1, 0.3, -0.3, 1, -0.3, 1, 0.3, 0.3, 0.3, 0.3, 1, -0.3, 1, -0.3, 0.3, -1, 0.3, -1, -0.3, -0.3, -0.3)],
    "house": [
        _points(-0.65, -0.1, 0.65, -0.1, 0.65, 0.9, -0.65, 0.9),
        _points(-0.95, -0.1, 0, -0.95, 0.95, -0.1),
        _points(-0.2, 0.3, 0.2, 0.3, 0.2, 0.9, -0.2, 0.9),
    ],
    "fish": [_points(0.45, 0, 1, -0.5, 1, 0.5), np.stack([-0.2 + 0.8 * np.cos(_AROUND), 0.5 * np.sin(_AROUND)], axis=1)],
}
