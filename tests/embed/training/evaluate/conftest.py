"""A library whose truth is known: records of a text and a picture, or a text and a sound."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from embed.training.evaluate.library import Library, Stored, library
from embed.types import Modality, normalise

DIM = 24
TEXT, IMAGE, AUDIO = Modality.TEXT, Modality.IMAGE, Modality.AUDIO


def skewed(count: int = 120, *, seed: int = 0, noise: float = 0.5) -> Library:
    """Each text has a picture and a sound that mean the same; all sounds lie near the texts, all
    pictures far from them, so that cosines do not compare."""
    rng = np.random.default_rng(seed)
    meaning = normalise(rng.standard_normal((count, DIM)))
    near, far = np.array([2.0, 0.0]), np.array([0.0, 2.0])
    items = []
    for number, thing in enumerate(meaning):
        for modality, place in ((TEXT, near), (IMAGE, far), (AUDIO, near)):
            seen = normalise(thing + noise * rng.standard_normal(DIM) / DIM**0.5)
            joint = normalise(np.concatenate([place, seen])[None])
            native = seen[None] if modality is IMAGE else None
            name = f"{modality} of {number}"
            items.append(Stored(modality, str(number), name, joint, native))
    return library(items)


@pytest.fixture(name="skewed")
def skewed_fixture() -> Callable[..., Library]:
    return skewed
