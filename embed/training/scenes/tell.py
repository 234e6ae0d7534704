"""Scenes to words: a caption that names every attribute, in one of many ways.

Two scenes never share a caption. It knows no pixels and no sound.
"""

from __future__ import annotations

from numpy.random import Generator

from embed.training.scenes.law import Scene

SYNONYMS: dict[str, tuple[str, ...]] = {
    "small": ("small", "little", "tiny"),
    "medium": ("medium", "mid-sized"),
    "large": ("large", "big", "huge"),
    "magenta": ("magenta", "pink"),
    "cyan": ("cyan", "turquoise"),
    "disc": ("disc", "circle"),
    "ring": ("ring", "hoop"),
    "cross": ("cross", "plus sign"),
    "bar": ("bar", "beam"),
    "post": ("post", "pillar"),
}
PLACES: dict[tuple[str, str], tuple[str, ...]] = {
    ("left", "top"): ("at the top left", "in the upper left corner"),
    ("centre", "top"): ("at the top", "at the upper edge"),
    ("right", "top"): ("at the top right", "in the upper right corner"),
    ("left", "middle"): ("on the left", "at the left edge"),
    ("centre", "middle"): ("in the middle", "in the centre"),
    ("right", "middle"): ("on the right", "at the right edge"),
    ("left", "bottom"): ("at the bottom left", "in the lower left corner"),
    ("centre", "bottom"): ("at the bottom", "at the lower edge"),
    ("right", "bottom"): ("at the bottom right", "in the lower right corner"),
}
SAID_MOTIONS: dict[str, tuple[str, ...]] = {
    "still": ("standing still", "not moving"),
    "left": ("moving left", "drifting leftwards"),
    "right": ("moving right", "drifting rightwards"),
    "up": ("moving up", "rising"),
    "down": ("moving down", "falling"),
}
_SENTENCES = (
    "a {size} {colour} {shape} {place}, {motion}",
    "{place}, a {size} {colour} {shape} {motion}",
    "{motion}: a {size} {colour} {shape} {place}",
    "there is a {colour} {shape} {place}, {size} and {motion}",
)


def caption(scene: Scene, rng: Generator) -> str:
    return _one_of(_SENTENCES, rng).format(
        size=_said(scene.size, rng),
        colour=_said(scene.colour, rng),
        shape=_said(scene.shape, rng),
        place=_one_of(PLACES[scene.across, scene.up], rng),
        motion=_one_of(SAID_MOTIONS[scene.motion], rng),
    )


def _said(name: str, rng: Generator) -> str:
    return _one_of(SYNONYMS.get(name, (name,)), rng)


def _one_of(choices: tuple[str, ...], rng: Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
