"""Our own small networks in numbers: what a manifest says of them and `networks` builds.

It imports no torch, so that a folder can be read, and refused, before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any, ClassVar

from embed.backends.bounds import FRAMES, REPEATS, SIDE, TOKENS, within
from embed.backends.recipes import AudioRecipe, ImageRecipe, Recipe, TextRecipe
from embed.types import Modality


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """width: channels of the first layer. depth: residual blocks a stage, or layers of attention.

    Sizes of what a network reads are its recipe's. `modality` and `recipe` say what goes with it.
    """

    kind: ClassVar[str]
    modality: ClassVar[Modality]
    recipe: ClassVar[type[Recipe]]

    width: int
    depth: int

    def __post_init__(self) -> None:
        """Raises ValueError or TypeError for numbers that make no network."""
        within("the width", self.width, SIDE)
        within("the depth", self.depth, REPEATS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Convnet(Shape):
    """Pictures, squares of one size."""

    kind = "convnet"
    modality = Modality.IMAGE
    recipe = ImageRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectrum(Shape):
    """Sounds, log-mel spectrograms."""

    kind = "spectrum"
    modality = Modality.AUDIO
    recipe = AudioRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames(Shape):
    """Films: `frames` of each shot, which lasts `seconds` at most."""

    kind = "frames"
    modality = Modality.VIDEO
    recipe = ImageRecipe

    frames: int
    seconds: float

    def __post_init__(self) -> None:
        super(Frames, self).__post_init__()
        within("the number of frames", self.frames, FRAMES)
        if not (isfinite(self.seconds) and 0 < self.seconds <= FRAMES):
            raise ValueError(f"a shot lasts {self.seconds!r} seconds: from 0 to {FRAMES} is wanted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Words(Shape):
    """Texts: a transformer of `heads` heads over `vocabulary` kinds of tokens."""

    kind = "words"
    modality = Modality.TEXT
    recipe = TextRecipe

    heads: int
    vocabulary: int

    def __post_init__(self) -> None:
        super(Words, self).__post_init__()
        within("the number of heads", self.heads, self.width)
        within("the vocabulary", self.vocabulary, TOKENS)
        if self.width % self.heads:
            raise ValueError(f"a width of {self.width} cannot be shared by {self.heads} heads")


SHAPES: dict[str, type[Shape]] = {shape.kind: shape for shape in (Convnet, Spectrum, Frames, Words)}


def to_json(shape: Shape) -> dict[str, Any]:
    """`{"kind": "convnet", …}`."""
    return {"kind": shape.kind, **asdict(shape)}


def from_json(value: Mapping[str, Any]) -> Shape:
    """The inverse of `to_json`. Raises KeyError, TypeError or ValueError for anything else."""
    numbers = dict(value)
    return SHAPES[str(numbers.pop("kind"))](**numbers)


def names(shape: type[Shape]) -> tuple[str, ...]:
    """What numbers a shape has."""
    return tuple(field.name for field in fields(shape))
