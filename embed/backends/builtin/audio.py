"""The audio half of the built-in space: our own log-mel network, bound to words by ConSE.

The network says how likely each of its classes is; the joint vector is normalise(Σ p_k T_k), T_k
the text prototype of class k (Norouzi et al., 2014), as with pictures. Its pooled features are the
native vector. It knows nothing of how the network was made (`embed.training.audio`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from embed.backends.onnx_runtime.session import open_session
from embed.backends.recipes import AudioRecipe
from embed.backends.tower import AudioEncoder, Rows, samples_of
from embed.types import Floats, Media

RECIPE = AudioRecipe(
    kind="log-mel",
    rate=16_000,
    seconds=5.12,  # what is called five seconds is often a little more
    window=512,
    hop=200,
    mels=64,
    low=40.0,
    high=8_000.0,
    scale="htk",
    short="repeat-pad",
)


class BuiltinAudio(AudioEncoder[Floats]):
    """Clips of 5.12 s to vectors in the space of words, and to the network's own features."""

    rate = RECIPE.rate
    seconds = RECIPE.seconds

    def __init__(self, graph: Path) -> None:
        # One thread: sounds in parallel beat parallel loops inside one sound.
        self._session = open_session(graph, threads=1, optimise=True)

    def prepare(self, piece: Media) -> Floats:
        return RECIPE.prepare(samples_of(piece, self.rate))

    def run(self, batch: Sequence[Floats]) -> Rows:
        """Joint `(N, 384)` and native `(N, 128)`."""
        # One by one, as pictures: rounding cannot depend on the neighbours.
        outputs = ["joint", "native"]
        pairs = [self._session.run(outputs, {"decibels": clip[np.newaxis]}) for clip in batch]
        joint, native = (np.concatenate(rows) for rows in zip(*pairs, strict=True))
        return Rows(joint, native)
