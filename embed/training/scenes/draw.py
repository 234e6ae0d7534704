"""Scenes to pixels: pictures and films, antialiased, on an uneven and noisy ground.

Outlines are signed distances in units of the radius, y upwards, whose coverage of a pixel falls
from 1 to 0 over one pixel. It knows no sound and no words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from embed.training.scenes.law import ACROSS, COLOURS, MOTIONS, SIZES, UP, Scene
from embed.types import Floats, Pixels

Grid = NDArray[np.floating[Any]]

PICTURE_SIDE = 48
FILM_SIDE = 32
FRAMES = 8
FRAMES_PER_SECOND = 8.0

_RADII = (0.15, 0.21, 0.29)
_STEP = 0.2
"""Between two places, as all lengths here a fraction of the side."""
_TRAVEL = 0.26
_OPACITY = np.array([0.2, 0.35, 0.5, 1.0], np.float32)
"""Of what a picture shows of a path, from its beginning to its end."""
_NOISE = 0.02


class _Thing(NamedTuple):
    """A scene's thing as it happens to be this time: all but the names, a little off."""

    x: float
    y: float
    radius: float
    turn: float
    colour: Floats
    heading: tuple[int, int]


def picture(scene: Scene, rng: Generator) -> Pixels:
    """`(48, 48, 3)`: the thing at the end of its path, and a fading trail from where it came."""
    thing = _thing(scene, rng)
    canvas = _ground(rng, (PICTURE_SIDE, PICTURE_SIDE))
    cover = _coverage(scene.shape, thing, _path(len(_OPACITY)), PICTURE_SIDE)
    trail = (cover * _OPACITY[:, None, None]).max(axis=0)
    return _painted(canvas, thing.colour, trail, rng)


def film(scene: Scene, rng: Generator) -> Pixels:
    """`(8, 32, 32, 3)`: the thing moves through its place, or stays there."""
    thing = _thing(scene, rng)
    canvas = _ground(rng, (FILM_SIDE, FILM_SIDE))
    cover = _coverage(scene.shape, thing, _path(FRAMES), FILM_SIDE)
    return _painted(canvas, thing.colour, cover, rng)


def _path(steps: int) -> Floats:
    """How far ahead of its place what moves is, from the beginning of its path to the end."""
    return np.linspace(-_TRAVEL / 2, _TRAVEL / 2, steps, dtype=np.float32)


def _thing(scene: Scene, rng: Generator) -> _Thing:
    off_x, off_y, larger, turn = rng.uniform(-1, 1, 4)
    return _Thing(
        x=0.5 + _STEP * (ACROSS.index(scene.across) - 1) + 0.025 * off_x,
        y=0.5 + _STEP * (UP.index(scene.up) - 1) + 0.025 * off_y,
        radius=_RADII[SIZES.index(scene.size)] * (1 + 0.06 * larger),
        turn=0.15 * turn,
        colour=_lit(scene.colour) + rng.uniform(-0.06, 0.06, 3).astype(np.float32),
        heading=MOTIONS[scene.motion],
    )


def _lit(colour: str) -> Floats:
    return 0.07 + 0.86 * np.array(COLOURS[colour], np.float32)


def _ground(rng: Generator, size: tuple[int, int]) -> Floats:
    """`(H, W, 3)`: greys that change evenly from side to side."""
    level, slope_x, slope_y = rng.uniform((0.4, -0.2, -0.2), (0.6, 0.2, 0.2))
    y, x = (np.linspace(-0.5, 0.5, n, dtype=np.float32) for n in size)
    grey = level + slope_x * x[None, :] + slope_y * y[:, None]
    return np.repeat(grey[:, :, None].astype(np.float32), 3, axis=2)


def _coverage(shape: str, thing: _Thing, ahead: Floats, side: int) -> Floats:
    """`(T, H, W)` in [0, 1]: the thing this far ahead of its place, T times."""
    centres = (np.arange(side, dtype=np.float32) + 0.5) / side
    right, up = thing.heading
    x = centres[None, None, :] - (thing.x + right * ahead)[:, None, None]
    y = 1 - centres[None, :, None] - (thing.y + up * ahead)[:, None, None]
    cos, sin = np.cos(thing.turn) / thing.radius, np.sin(thing.turn) / thing.radius
    distance = _OUTLINES[shape](
        (x * cos + y * sin).astype(np.float32), (y * cos - x * sin).astype(np.float32)
    )
    covered: Floats = np.clip(0.5 - distance * (thing.radius * side), 0, 1).astype(np.float32)
    return covered


def _painted(canvas: Floats, colour: Floats, cover: Floats, rng: Generator) -> Pixels:
    cover = cover[..., None]
    paint = canvas + cover * (colour - canvas)
    paint += _NOISE * rng.standard_normal(paint.shape, dtype=np.float32)
    pixels: Pixels = (np.clip(paint, 0, 1) * 255 + 0.5).astype(np.uint8)
    return pixels


def _disc(x: Grid, y: Grid) -> Grid:
    return np.hypot(x, y) - 1


def _ring(x: Grid, y: Grid) -> Grid:
    return np.abs(np.hypot(x, y) - 0.8) - 0.2


def _triangle(x: Grid, y: Grid) -> Grid:
    return np.maximum(np.abs(x) * 0.866 + y * 0.5, -y) - 0.55


def _cross(x: Grid, y: Grid) -> Grid:
    x, y = np.abs(x), np.abs(y)
    return np.asarray(np.minimum(np.maximum(x - 1.1, y - 0.27), np.maximum(x - 0.27, y - 1.1)))


def _bar(x: Grid, y: Grid) -> Grid:
    return np.asarray(np.maximum(np.abs(x) - 1.1, np.abs(y) - 0.3))


def _post(x: Grid, y: Grid) -> Grid:
    return _bar(y, x)


_OUTLINES: dict[str, Callable[[Grid, Grid], Grid]] = {
    "disc": _disc,
    "ring": _ring,
    "triangle": _triangle,
    "cross": _cross,
    "bar": _bar,
    "post": _post,
}
