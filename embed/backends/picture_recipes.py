"""Pictures to the pixels of a network, as data: resizing, cutting, patches.

Pillow resizes; of what is cut off nothing is computed. It knows no model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embed.backends.bounds import SIDE, within
from embed.types import Pixels

Resize = Literal["shortest", "squash", "longest-pad"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]

_SCALE_STEP, _SCALE_MOST = 1e-5, 100.0


class _Along(NamedTuple):
    """One side of a picture: source pixels `[start, stop)` land on `[first, last)` of ours."""

    start: float
    stop: float
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecipe:
    """Any picture to `(height, width, 3)`: resized, then cut to its centre or padded around it.

    resize: "shortest" makes the shorter side `resize_to` pixels and cuts; "squash" makes a square
        of `resize_to`, whatever the shape, and cuts; "longest-pad" makes the longer side
        `resize_to` and pads with `fill`.
    resize_to: by default `height` (they differ where a margin is cut off).
    centre: where the cut begins when it cannot lie in the middle: "floor" as transformers has it,
        "even" (half to even) as torchvision has it.
    mean, std: of the channels, in [0, 1], for the network's first step. None of it is done here.
    """

    height: int
    width: int
    resize: Resize = "shortest"
    resize_to: int | None = None
    interpolation: Interpolation = "bicubic"
    centre: Literal["floor", "even"] = "floor"
    fill: int = 0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        """Raises ValueError or TypeError for numbers that make no picture."""
        within("the height", self.height, SIDE)
        within("the width", self.width, SIDE)
        within("the size to resize to", self.resize_to or self.height, SIDE)
        check_channels(self.mean, self.std)

    @property
    def min_side(self) -> int:
        """Pixels of the shorter side below which a picture would be enlarged."""
        return self.resize_to or max(self.height, self.width)

    def prepare(self, picture: Pixels) -> Pixels:
        """`(H, W, 3)` uint8 to `(height, width, 3)` uint8; only what stays is computed."""
        rows, columns = picture.shape[:2]
        tall, wide = self.resized(rows, columns)
        y = self._along(rows, tall, self.height)
        x = self._along(columns, wide, self.width)
        part = Image.fromarray(picture).resize(
            (x.last - x.first, y.last - y.first),
            Image.Resampling[self.interpolation.upper()],
            box=(x.start, y.start, x.stop, y.stop),
        )
        pixels: Pixels = np.asarray(part)
        if pixels.shape[:2] == (self.height, self.width):
            return pixels
        canvas = np.full((self.height, self.width, 3), self.fill, np.uint8)
        canvas[y.first : y.last, x.first : x.last] = pixels
        return canvas

    def resized(self, rows: int, columns: int) -> tuple[int, int]:
        """Height and width of the whole picture after resizing, before the cut."""
        side = self.resize_to
        if self.resize == "squash":
            return (self.height, self.width) if side is None else (side, side)
        side = self.height if side is None else side
        if self.resize == "shortest":
            shorter = min(rows, columns)
            return side * rows // shorter, side * columns // shorter
        ratio = max(rows, columns) / side
        return max(1, round(rows / ratio)), max(1, round(columns / ratio))

    def _along(self, source: int, resized: int, wanted: int) -> _Along:
        if resized < wanted:
            margin = wanted - resized
            first = (margin + 1) // 2 if self.centre == "floor" else margin // 2
            return _Along(0.0, float(source), first, first + resized)
        margin = resized - wanted
        start = margin // 2 if self.centre == "floor" else round(margin / 2)
        scale = source / resized
        return _Along(start * scale, min((start + wanted) * scale, source), 0, wanted)


def check_channels(mean: Sequence[float], std: Sequence[float]) -> None:
    """Raises ValueError unless there are three of each, finite, none divided by being 0."""
    finite = all(map(math.isfinite, (*mean, *std)))
    if len(mean) != 3 or len(std) != 3 or not finite or 0 in std:
        raise ValueError(f"pixels cannot be brought to mean {mean!r} and deviation {std!r}")


class Patches(NamedTuple):
    """A picture in squares: `(N, patch * patch * 3)` uint8 row by row, and how many they are."""

    pixels: Pixels
    rows: int
    columns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchRecipe:
    """Any picture to at most `max_patches` squares of its own shape (NaFlex; SigLIP 2, 2025)."""

    patch: int
    max_patches: int
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        """Raises ValueError or TypeError for numbers that make no picture."""
        within("the side of a patch", self.patch, SIDE)
        within("the number of patches", self.max_patches, SIDE)
        check_channels(self.mean, self.std)

    @property
    def min_side(self) -> int:
        """Pixels of the side of a square picture of all patches."""
        return math.isqrt(self.max_patches) * self.patch

    def prepare(self, picture: Pixels) -> Patches:
        """`(H, W, 3)` uint8, squashed a little so that its sides are whole patches."""
        rows, columns = self.grid(*picture.shape[:2])
        size = (columns * self.patch, rows * self.patch)
        image = Image.fromarray(picture).resize(size, Image.Resampling[self.interpolation.upper()])
        squares = np.asarray(image).reshape(rows, self.patch, columns, self.patch, 3)
        pixels = squares.transpose(0, 2, 1, 3, 4).reshape(rows * columns, -1)
        return Patches(pixels, rows, columns)

    def stack(
        self, batch: Sequence[Patches]
    ) -> tuple[Pixels, NDArray[np.int64], NDArray[np.int64]]:
        """Patches `(N, max_patches, F)`, mask `(N, max_patches)` and grids `(N, 2)` of a batch."""
        length = self.patch * self.patch * 3
        pixels = np.zeros((len(batch), self.max_patches, length), np.uint8)
        mask = np.zeros(pixels.shape[:2], np.int64)
        for row, picture in enumerate(batch):
            pixels[row, : len(picture.pixels)] = picture.pixels
            mask[row, : len(picture.pixels)] = 1
        return pixels, mask, np.array([(rows, columns) for _, rows, columns in batch], np.int64)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches at the largest scale that fits, sides rounded up.

        The scale is sought by halving, as the transformers library does, so that ties agree.
        """
        low, high = _SCALE_STEP / 10, _SCALE_MOST
        while high - low >= _SCALE_STEP:
            scale = (low + high) / 2
            rows, columns = self._counts(height, width, scale)
            low, high = (scale, high) if rows * columns <= self.max_patches else (low, scale)
        return self._counts(height, width, low)

    def _counts(self, height: int, width: int, scale: float) -> tuple[int, int]:
        rows, columns = (math.ceil(side * scale / self.patch) for side in (height, width))
        return max(1, rows), max(1, columns)
