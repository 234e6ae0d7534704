"""The image half of the built-in space: EfficientNet-Lite0, bound to words by ConSE.

Features and class posterior p are the network's (Tan & Le, 2019; the Lite variant). The joint
vector is normalise(Σ p_k T_k + c Σ q_j U_j). T_k is the text prototype of class k (Norouzi et al.,
Zero-shot learning by convex combination of semantic embeddings, 2014). The rest tells ten kinds of
clothes apart for which ImageNet has other names or none: c is the posterior's share of clothes, q a
softmax regression on the features, U_j the direction in the space of words from clothes to kind j.
Where no clothes are seen, c is near 0. It knows nothing of how prototypes and directions are made
(`embed.training.image_head`), nor where its files come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from embed.backends.onnx_runtime.session import open_session
from embed.backends.tower import ImageEncoder, Rows, pixels_of
from embed.types import Floats, Media, Pixels

RESIZE = 256
CROP = 224


class BuiltinImage(ImageEncoder[Pixels]):
    """Pictures to vectors in the space of words, and to the network's own features."""

    def __init__(self, graph: Path, prototypes: Path, clothes: Path) -> None:
        # One thread: pictures in parallel beat parallel loops inside one picture.
        self._session = open_session(graph, threads=1, optimise=True)
        self._prototypes = np.load(prototypes, allow_pickle=False).astype(np.float32)
        self._clothes = Clothes(clothes)

    def prepare(self, piece: Media) -> Pixels:
        return prepare(pixels_of(piece))

    def run(self, batch: Sequence[Pixels]) -> Rows:
        """Joint `(N, 384)` and native `(N, 1280)`."""
        # One by one: as fast as a batch on a CPU, and rounding cannot depend on the neighbours.
        pairs = [self._run(pixels) for pixels in batch]
        joint, native = zip(*pairs, strict=True)
        return Rows(np.stack(joint), np.stack(native))

    def look(self, pixels: Pixels) -> tuple[Floats, Floats]:
        """Features `(1280,)` and class posterior `(1000,)` of a prepared picture."""
        outputs = ["features", "posterior"]
        features, posterior = self._session.run(outputs, {"pixels": pixels[np.newaxis]})
        return features[0], posterior[0]

    def _run(self, pixels: Pixels) -> tuple[Floats, Floats]:
        features, posterior = self.look(pixels)
        # Not `@`: the rounding of BLAS depends on how many threads it was given.
        joint = np.einsum("k,kd->d", posterior, self._prototypes)
        return joint + self._clothes(features, posterior), features


class Clothes:
    """Kinds of clothes as directions in the space of words."""

    def __init__(self, weights: Path) -> None:
        with np.load(weights, allow_pickle=False) as stored:
            self._branch = stored["branch"]  # (1000,) bool: which classes are clothes
            self._weight: Floats = stored["weight"]  # (1280, 10)
            self._bias: Floats = stored["bias"]
            self._directions: Floats = stored["directions"]  # (10, 384)

    def __call__(self, features: Floats, posterior: Floats) -> Floats:
        """`(384,)`, to be added to the mean of the prototypes."""
        logits = np.einsum("f,fj->j", features, self._weight) + self._bias
        likely = np.exp(logits - logits.max())
        share = posterior[self._branch].sum() / likely.sum()
        direction: Floats = share * np.einsum("j,jd->d", likely, self._directions)
        return direction


def prepare(picture: Pixels) -> Pixels:
    """`(H, W, 3)` uint8 to the `(224, 224, 3)` centre crop after the shorter side became 256.

    Bicubic, antialiased, sizes rounded as torchvision's Resize(256) and CenterCrop(224) do. Only
    the crop is computed, so that a very long picture costs no more than a square one.
    """
    height, width = picture.shape[:2]
    shorter = min(height, width)
    box = (*_crop(width, shorter), *_crop(height, shorter))
    left, right, top, bottom = box
    image = Image.fromarray(picture).resize(
        (CROP, CROP), Image.Resampling.BICUBIC, box=(left, top, right, bottom)
    )
    pixels: Pixels = np.asarray(image)
    return pixels


def _crop(side: int, shorter: int) -> tuple[float, float]:
    """Where the crop begins and ends along a side, in pixels of the picture as it came."""
    resized = RESIZE * side // shorter
    start = round((resized - CROP) / 2)
    scale = side / resized
    return start * scale, (start + CROP) * scale
