"""Pictures of every class without pictures: features drawn as if the network had seen one.

The network's last layer is a linear discriminant: with a covariance S of features within a class,
its rows w_k say that the mean of class k lies along S (w_k - mean w). A picture is drawn there, a
`strength` away from the mean of all, and what a real photo differs by from the mean of its own
class is added. `strength` sets how often the network is right: 22 and 50 give the accuracy of about
.71 and .84 that it has on photos it was not, and was, trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embed.backends.builtin.export import image_tower
from embed.backends.builtin.space import SOURCES
from embed.training.image_head.photos import Photos
from embed.types import Floats
from embed.weights import store

UNSEEN, SEEN = 22.0, 50.0
_LEAST = -0.3  # features are the mean of a swish, which is never less


class Gallery(NamedTuple):
    """N drawn pictures: their classes `(N,)` and class posterior `(N, 1000)`."""

    classes: NDArray[np.int64]
    posterior: Floats


class Galleries:
    """Draws pictures that vary as `photos` do. It needs the weights of the last layer."""

    def __init__(self, photos: Photos) -> None:
        layer = image_tower(store.find(SOURCES["image"][0])).network._fc
        self._weight = layer.weight.detach().numpy().astype(np.float64)
        self._bias = layer.bias.detach().numpy().astype(np.float64)
        means = {label: _mean(photos, label) for label in np.unique(photos.labels).tolist()}
        self._offsets = photos.features - np.stack([means[str(label)] for label in photos.labels])
        self._mean = np.mean(list(means.values()), axis=0)
        within = self._offsets.T @ self._offsets / len(self._offsets)
        self._towards = (self._weight - self._weight.mean(axis=0)) @ within

    def draw(self, seed: int | Sequence[int], strength: float, each: int = 1) -> Gallery:
        """`each` pictures of every class."""
        rng = np.random.default_rng(seed)
        classes = np.repeat(np.arange(len(self._weight)), each)
        offsets = self._offsets[rng.integers(0, len(self._offsets), len(classes))]
        features = np.maximum(self._mean + strength * self._towards[classes] + offsets, _LEAST)
        logits = features @ self._weight.T + self._bias
        likely = np.exp(logits - logits.max(axis=1, keepdims=True))
        posterior = likely / likely.sum(axis=1, keepdims=True)
        return Gallery(classes, posterior.astype(np.float32))


def _mean(photos: Photos, label: str) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = photos.features[photos.labels == label].mean(axis=0, dtype=float)
    return mean
