"""The image half of the built-in space: EfficientNet-Lite0, bound to words by ConSE.

Features and class posterior p are the network's (Tan & Le, 2019; the Lite variant). The joint
vector is normalise(Σ p_k T_k), T_k the text prototype of class k (Norouzi et al., Zero-shot
learning by convex combination of semantic embeddings, 2014). It knows nothing of how prototypes
are made (`embed.training.prototypes`), nor where its files come from.
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

    def __init__(self, graph: Path, prototypes: Path) -> None:
        # One thread: pictures in parallel beat parallel loops inside one picture.
        self._session = open_session(graph, threads=1, optimise=True)
        self._prototypes = np.load(prototypes, allow_pickle=False).astype(np.float32)

    def prepare(self, piece: Media) -> Pixels:
        return prepare(pixels_of(piece))

    def run(self, batch: Sequence[Pixels]) -> Rows:
        """Joint `(N, 384)` and native `(N, 1280)`."""
        # One by one: as fast as a batch on a CPU, and rounding cannot depend on the neighbours.
        pairs = [self._run(pixels) for pixels in batch]
        joint, native = zip(*pairs, strict=True)
        return Rows(np.stack(joint), np.stack(native))

    def _run(self, pixels: Pixels) -> tuple[Floats, Floats]:
        outputs = ["features", "posterior"]
        features, posterior = self._session.run(outputs, {"pixels": pixels[np.newaxis]})
        # Not `@`: the rounding of BLAS depends on how many threads it was given.
        joint: Floats = np.einsum("k,kd->d", posterior[0], self._prototypes)
        return joint, features[0]


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
