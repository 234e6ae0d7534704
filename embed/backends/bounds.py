"""How large the numbers of a stranger's configuration may be, before anything is built of them.

Weights bound their own shapes: a network is laid out without memory and compared with its file.
What nothing bounds is how often a layer is repeated, and what is done before the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SIDE = 8_192  # pixels, or dimensions of a vector
FRAMES = 4_096
TOKENS = 1_000_000
SAMPLES = 50_000_000
REPEATS = 1_000  # the deepest towers have some fifty layers

_REPEATED = ("layers", "depth", "repeats", "blocks", "experts", "stages")


def within(what: str, value: int, most: int) -> None:
    """Raises ValueError unless `value` is in [1, `most`], TypeError when it is no whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what} is {value!r} and must be a whole number")
    if not 1 <= value <= most:
        raise ValueError(f"{what} is {value} and must be from 1 to {most}")


def check_repeats(config: Mapping[str, Any]) -> None:
    """Raises ValueError where a network would have over REPEATS layers of one kind."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            check_repeats(value)
        elif any(word in key for word in _REPEATED):
            for number in value if isinstance(value, list) else [value]:
                if isinstance(number, int) and number > REPEATS:
                    raise ValueError(f"{key} is {number} and must be at most {REPEATS}")
