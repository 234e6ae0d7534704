"""When two say the same: words by their letters, anything by its vectors."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from embed.calibration import Curve

_STRANGE = 0.5  # cosine of what has nothing in common, at most, where no curve tells
_GAPS = re.compile(r"[\W_]+")

Alike = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From joint cosines of two of one modality to how far they say the same, in [0, 1]."""


def normal(text: str) -> str:
    """Words as they are compared: no case, no punctuation, single spaces."""
    return _GAPS.sub(" ", text.casefold()).strip()


def likeness(curve: Curve | None) -> Alike:
    """By the probability that one is what was looked for with the other; a guess without it."""

    def alike(cosines: NDArray[np.float64]) -> NDArray[np.float64]:
        if curve is None:
            guessed: NDArray[np.float64] = np.clip((cosines - _STRANGE) / (1 - _STRANGE), 0, 1)
            return guessed
        p: NDArray[np.float64] = 1 / (1 + np.exp(-(curve.slope * cosines + curve.intercept)))
        return p

    return alike
