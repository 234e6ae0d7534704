"""A picture in the cells of a terminal: two pixels a cell, one above the other, as "▀".

It knows pictures and cells, and nothing of items.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

from embed.types import Pixels

COLOURS = {"256", "truecolor"}


def can_show(console: Console) -> bool:
    """Whether a picture would be one there, and not a heap of signs."""
    utf = console.encoding.lower().startswith("utf")
    return console.is_terminal and utf and console.color_system in COLOURS


def thumbnail(data: bytes, columns: int, rows: int) -> Text:
    """The encoded picture `data`, as large as fits into so many cells."""
    with Image.open(io.BytesIO(data)) as image:
        small = image.convert("RGB")
        small.thumbnail((columns, 2 * rows))
        pixels = np.asarray(small)
    return Text("\n").join(
        Text.assemble(
            *(("▀", _style(above, below)) for above, below in zip(upper, lower, strict=True))
        )
        for upper, lower in zip(pixels[0::2], _even(pixels)[1::2], strict=True)
    )


def _even(pixels: Pixels) -> Pixels:
    """The last row stands twice where their number is odd."""
    return np.concatenate([pixels, pixels[-1:]]) if len(pixels) % 2 else pixels


def _style(above: Pixels, below: Pixels) -> Style:
    return Style(color=Color.from_rgb(*above.tolist()), bgcolor=Color.from_rgb(*below.tolist()))
