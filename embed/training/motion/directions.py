"""Ways to move as directions in the space of words.

Each way is said in phrases of several subjects. Its direction is the mean of its phrases less the
mean of all ways', whitened by how phrases of one way vary and, half as much, by how the names of
ImageNet's classes do (linear discriminant analysis with shrinkage): what tells "left" from "right"
whoever moves, and says little of what things are, so that finding things is not disturbed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from embed.training.prototypes import Words
from embed.types import Floats

WEIGHT = 0.4  # mean length of a direction, beside the unit vector of what is seen
_SHRINKAGE, _NAMES = 1.0, 0.5

SAID = {
    "still": ("still", "standing still", "not moving", "motionless", "nothing moves"),
    "left": (
        "moving left",
        "drifting leftwards",
        "going to the left",
        "heading left",
        "moves to the left",
    ),
    "right": (
        "moving right",
        "drifting rightwards",
        "going to the right",
        "heading right",
        "moves to the right",
    ),
    "up": ("moving up", "rising", "going upwards", "ascending", "climbing up"),
    "down": ("moving down", "falling", "going downwards", "descending", "sinking down"),
    "towards": (
        "moving towards the camera",
        "coming closer",
        "approaching",
        "getting bigger",
        "zooming in",
    ),
    "away": (
        "moving away from the camera",
        "going away",
        "receding",
        "getting smaller",
        "zooming out",
    ),
}
FILMED = {
    "pan left": ("the camera pans left", "the camera moves to the left", "panning left"),
    "pan right": ("the camera pans right", "the camera moves to the right", "panning right"),
    "tilt up": ("the camera tilts up", "the camera moves upwards", "tilting up"),
    "tilt down": ("the camera tilts down", "the camera moves downwards", "tilting down"),
}
_SUBJECTS = (
    "{}",
    "a red ball {}",
    "a car {}",
    "a dog {}",
    "a small blue square {}",
    "something {}",
    "people {}",
    "a white bird {}",
    "a video of a thing {}",
)
_SCENES = ("{}", "a video where {}")


def phrases(motion: str) -> list[str]:
    if motion in FILMED:
        return [form.format(said) for said in FILMED[motion] for form in _SCENES]
    return [form.format(said) for said in SAID[motion] for form in _SUBJECTS]


def directions(motions: Sequence[str], class_names: Sequence[str], words: Words) -> Floats:
    """`(M, D)`, in the order of `motions`."""
    said = [words(phrases(motion)).astype(np.float64) for motion in motions]
    means = np.stack([vectors.mean(axis=0) for vectors in said])
    within = np.concatenate([vectors - mean for vectors, mean in zip(said, means, strict=True)])
    spread = within.T @ within / len(within)
    dim = spread.shape[0]
    shrinkage = _SHRINKAGE * np.trace(spread) / dim * np.eye(dim)
    names = _NAMES * np.cov(words(class_names).T)
    apart = np.linalg.solve(spread + names + shrinkage, (means - means.mean(axis=0)).T).T
    mean_length = np.linalg.norm(apart, axis=1).mean()
    return np.asarray(WEIGHT * apart / mean_length, np.float32)
