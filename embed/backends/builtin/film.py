"""The film half of the built-in space: what its frames show, and what moves in it.

A piece of film is normalise(mean of frames) + Σ p_m D_m: p the posterior over the ways to move,
by softmax regression on what `flow` measures, and D_m the direction in the space of words that
tells the m-th way from the others ("moving left" from "moving right"). It is ConSE again, with ways
to move for classes. It knows nothing of how these weights are made (`embed.training.motion`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from embed.backends.builtin.flow import PER_SECOND, motion
from embed.backends.builtin.image import BuiltinImage
from embed.backends.tower import FramesEncoder, Rows, VideoEncoder, pixels_of
from embed.types import Floats, Media, Pixels, normalise

LOOKS = 1.0
"""Frames a second that the network reads; motion wants more of them, and small ones."""


class Watched(NamedTuple):
    """Frames ready for the network, and what moves in them; None where there is but one."""

    frames: list[Pixels]
    motion: Floats | None


class Motions:
    """Ways to move as directions in the space of words."""

    def __init__(self, weights: Path) -> None:
        with np.load(weights, allow_pickle=False) as stored:
            self.names: list[str] = stored["names"].tolist()
            self._weight: Floats = stored["weight"]  # (12, M)
            self._bias: Floats = stored["bias"]
            self._directions: Floats = stored["directions"]  # (M, 384)

    def posterior(self, measured: Floats) -> Floats:
        """`(M,)`: how likely each way to move is."""
        logits = np.einsum("f,fm->m", measured, self._weight) + self._bias
        likely = np.exp(logits - logits.max())
        posterior: Floats = likely / likely.sum()
        return posterior

    def __call__(self, measured: Floats | None) -> Floats:
        """`(384,)`, to be added to a unit vector; zero where nothing was measured."""
        if measured is None:
            return np.zeros(self._directions.shape[1], np.float32)
        direction: Floats = np.einsum("m,md->d", self.posterior(measured), self._directions)
        return direction


class BuiltinFilm(VideoEncoder[Watched]):
    """Films to vectors in the space of words; the native ones are the mean of the frames'."""

    per_second = PER_SECOND

    def __init__(self, frames: BuiltinImage, motions: Path, *, min_side: int) -> None:
        self._frames = FramesEncoder(frames, min_side=min_side)
        self._motions = Motions(motions)
        self.min_side = min_side

    def prepare(self, piece: Media) -> Watched:
        """Frames that come without a rate are all read, and taken for `PER_SECOND` a second."""
        pictures = pixels_of(piece, frames=True)
        step = max(1, round(piece.rate / LOOKS)) if piece.rate else 1
        looks = self._frames.prepare(Media(piece.modality, pictures[::step]))
        return Watched(looks, motion(pictures, piece.rate or PER_SECOND))

    def run(self, batch: Sequence[Watched]) -> Rows:
        rows = self._frames.run([film.frames for film in batch])
        moves = np.stack([self._motions(film.motion) for film in batch])
        return Rows(normalise(rows.joint) + moves, rows.native)
