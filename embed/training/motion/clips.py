"""Short films whose motion is known: scenes, and photos that move or are moved over.

A clip of photos shows a cut-out of one photo, round or square, that moves over another photo or a
plain ground, or one photo that the camera pans, tilts or zooms over; noise is added. Directions are
those of the thing in the picture, and of the camera.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from embed.training.scenes.world import Scenes
from embed.types import Modality, Pixels

THINGS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
CAMERA = {f"{'tilt' if y else 'pan'} {way}": (x, y) for way, (x, y) in THINGS.items()}
DEPTH = {"towards": 1, "away": -1}
MOTIONS = ("still", *THINGS, *DEPTH, *CAMERA)
SIDE = 64

Photos = Sequence[Pixels]


class Clip(NamedTuple):
    """`(T, H, W, 3)` frames, `rate` of them a second, and the name of what moves and how."""

    frames: Pixels
    rate: float
    motion: str


def scenes(count: int, seed: int, *, held_out: bool = False) -> Iterator[Clip]:
    """Films of the generated world."""
    world = Scenes(count, seed, (Modality.TEXT, Modality.VIDEO), held_out=held_out)
    for number in range(count):
        (film,) = world[number].media[Modality.VIDEO]
        assert isinstance(film.data, np.ndarray)
        assert film.rate is not None
        yield Clip(film.data, film.rate, world.truth(number).motion)


def photographed(photos: Photos, count: int, seed: int) -> Iterator[Clip]:
    """Clips of `photos`, every motion in turn."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        motion = MOTIONS[number % len(MOTIONS)]
        rate, length = float(rng.choice([4.0, 4.0, 8.0])), int(rng.integers(4, 13))
        seconds = (length - 1) / rate
        ground, thing = (
            Image.fromarray(photos[n]) for n in rng.integers(0, len(photos), 2).tolist()
        )
        travel = float(np.clip(rng.uniform(0.15, 0.5) * seconds, 0.12, 0.55))
        if motion in CAMERA:
            frames = _panned(ground, CAMERA[motion], travel, length)
        elif motion in DEPTH and rng.random() < 0.5:
            frames = _zoomed(ground, DEPTH[motion], rng.uniform(0.25, 0.7), length)
        else:
            frames = _moved(thing, _ground(ground, rng), motion, travel, length, rng)
        yield Clip(_noisy(frames, rng), rate, motion)


def _panned(photo: Image.Image, way: tuple[int, int], travel: float, length: int) -> Pixels:
    """The camera's window moves, so that the picture moves the other way."""
    side = 0.6 * min(photo.size)
    reach = min(travel, 0.6) * side
    return np.stack(
        [
            _window(photo, side, (way[0] * ahead * reach, way[1] * ahead * reach))
            for ahead in np.linspace(-0.5, 0.5, length)
        ]
    )


def _zoomed(photo: Image.Image, way: int, growth: float, length: int) -> Pixels:
    sizes = 0.95 * min(photo.size) * np.exp(-np.linspace(0, growth, length))
    return np.stack([_window(photo, side, (0, 0)) for side in sizes[::way].tolist()])


def _window(photo: Image.Image, side: float, off: tuple[float, float]) -> Pixels:
    """`(SIDE, SIDE, 3)`: a square of a photo, `off` its middle but inside it."""
    starts = [
        float(np.clip((whole - side) / 2 + o, 0, whole - side))
        for whole, o in zip(photo.size, off, strict=True)
    ]
    box = (starts[0], starts[1], starts[0] + side, starts[1] + side)
    return np.asarray(photo.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box))


def _ground(photo: Image.Image, rng: Generator) -> Pixels:
    if rng.random() < 0.35:
        colour = rng.integers(30, 225, 3, dtype=np.uint8)
        return np.broadcast_to(colour, (SIDE, SIDE, 3))
    return _window(photo, 0.9 * min(photo.size), (0, 0))


def _moved(
    photo: Image.Image, ground: Pixels, motion: str, travel: float, length: int, rng: Generator
) -> Pixels:
    """A cut-out that goes, grows or shrinks, or stays where it is."""
    middle = 0.5 + rng.uniform(-0.2, 0.2, 2)
    size = rng.uniform(0.2, 0.45) * SIDE
    round_ = rng.random() < 0.5
    right, down = THINGS.get(motion, (0, 0))
    frames = []
    for ahead in np.linspace(-0.5, 0.5, length).tolist():
        side = max(4, round(size * (1 + (0.5 + DEPTH.get(motion, 0) * ahead) * (motion in DEPTH))))
        x, y = SIDE * (middle + travel * ahead * np.array([right, down])) - side / 2
        frame = Image.fromarray(ground)
        thing = photo.resize((side, side), Image.Resampling.BILINEAR)
        frame.paste(thing, (round(x), round(y)), _disc(side) if round_ else None)
        frames.append(np.asarray(frame))
    return np.stack(frames)


def _disc(side: int) -> Image.Image:
    across = (np.arange(side) + 0.5) / side * 2 - 1
    inside: NDArray[np.bool_] = np.hypot(across[:, None], across) < 1
    return Image.fromarray(inside.astype(np.uint8) * 255)


def _noisy(frames: Pixels, rng: Generator) -> Pixels:
    noise = rng.integers(-4, 5, frames.shape, dtype=np.int16)
    return np.asarray(np.clip(frames.astype(np.int16) + noise, 0, 255), np.uint8)
