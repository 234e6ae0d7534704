"""The world's law: what things there are, and how each of their attributes looks, sounds and reads.

A scene is one thing with five attributes. Every medium shows all of them, each in its own way, so
that any medium of a scene can find any other:

    attribute   picture, film            sound                                   words
    colour      which of red, green,     tone: which of the partials 2, 3, 4     its name
                blue are lit             sound with the first
    shape       its outline              rhythm: its beats                       its name
    size        its size                 octave: the larger, the lower           an adjective
    place       where it is, or the      across: early, amid or late;            where it is
                middle of its path       up: its pitch within the octave
    motion      it moves; in a picture   right: ever louder, left: ever softer;  what it does
                it has left a trail      up and down: the pitch glides

8 colours x 6 shapes x 3 sizes x 9 places x 5 motions = 6,480 scenes. A sixth of the pairs of
colour and shape is held out: scenes that hold one are never trained on, though each colour and
each shape is, so that finding them takes understanding both.

This file knows no pixels, samples or words: those are `draw`, `sing` and `tell`.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

COLOURS = {  # red, green, blue: lit or not
    "black": (0, 0, 0),
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "yellow": (1, 1, 0),
    "magenta": (1, 0, 1),
    "cyan": (0, 1, 1),
    "white": (1, 1, 1),
}
RHYTHMS = {  # by shape, eight steps: x begins a note, - holds it, . is silence
    "disc": "x-------",
    "ring": "x--.x--.",
    "triangle": "x-.x-.x-",
    "cross": "x.x.x.x.",
    "bar": "x-x-....",
    "post": "x......x",
}
SIZES = ("small", "medium", "large")
ACROSS = ("left", "centre", "right")
UP = ("bottom", "middle", "top")
MOTIONS = {  # to the right, up
    "still": (0, 0),
    "left": (-1, 0),
    "right": (1, 0),
    "up": (0, 1),
    "down": (0, -1),
}


class Scene(NamedTuple):
    """The truth about a scene: a name from each table above."""

    colour: str
    shape: str
    size: str
    across: str
    up: str
    motion: str

    @property
    def rhythm(self) -> str:
        return RHYTHMS[self.shape]

    @property
    def partials(self) -> tuple[int, ...]:
        """Its tone: which multiples of the pitch sound."""
        return (1, *(k for k, lit in enumerate(COLOURS[self.colour], 2) if lit))

    @property
    def octave(self) -> int:
        """Above the lowest."""
        return len(SIZES) - 1 - SIZES.index(self.size)

    @property
    def held_out(self) -> bool:
        """Whether its colour and shape are a pair that training never sees."""
        colour, shape = list(COLOURS).index(self.colour), list(RHYTHMS).index(self.shape)
        return (colour * 5 + 1) % len(RHYTHMS) == shape


SCENES = tuple(Scene(*names) for names in product(COLOURS, RHYTHMS, SIZES, ACROSS, UP, MOTIONS))
"""Every scene there is."""
