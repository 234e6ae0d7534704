"""Augmentation of sounds where it is cheap: on batches of log-mel spectrograms.

On the mel scale another pitch is a shift along frequency, another speed a stretch of time, and two
sounds at once add their power; a room, a microphone or a codec is a curve over the bands. All of it
is drawn anew for every batch from one seeded generator. Masking: Park et al., SpecAugment (2019).
It knows no class.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

FLOOR_DB = -100.0
_QUIET_DB = 30.0  # under a clip's loudest frame: where a crop need not reach


class Augmenter:
    """Spectrograms `(N, T, M)` in decibels to `(N, frames, M)`, each changed in its own way."""

    def __init__(self, hertz: Tensor, frames: int, seed: int) -> None:
        """hertz: `(M,)`, the centres of the bands, on the mel scale of HTK evenly spaced."""
        mel = _mel(hertz)
        self._hertz, self._first, self._step = hertz, float(mel[0]), float(mel[1] - mel[0])
        self._frames = frames
        self._dice = torch.Generator().manual_seed(seed)

    def __call__(self, clips: Tensor) -> Tensor:
        changed = self._coloured(self._warped(clips))
        return self._masked(self._noisy(changed))

    def _warped(self, clips: Tensor) -> Tensor:
        """A crop around something that is heard, at another pitch and speed."""
        count, length, bands = clips.shape
        speed = torch.exp(self._normal(count) * 0.08).clamp(0.75, 1.35)
        pitch = torch.exp(self._normal(count) * 0.06).clamp(0.8, 1.25)
        start = self._starts(clips, speed)
        times = start[:, None] + torch.arange(self._frames) * speed[:, None]
        source = (_mel(self._hertz / pitch[:, None]) - self._first) / self._step
        across = (2 * times / (length - 1) - 1)[:, :, None].expand(-1, -1, bands)
        along = (2 * source / (bands - 1) - 1)[:, None, :].expand(-1, self._frames, -1)
        grid = torch.stack([along, across], -1)
        warped = functional.grid_sample(
            clips[:, None], grid, padding_mode="reflection", align_corners=True
        )
        return warped[:, 0]

    def _starts(self, clips: Tensor, speed: Tensor) -> Tensor:
        """First frames of crops that hold a frame near the loudest."""
        length = clips.shape[1]
        loudness = clips.amax(-1)
        heard = (loudness > loudness.amax(1, keepdim=True) - _QUIET_DB).float()
        anchor = torch.multinomial(heard, 1, generator=self._dice)[:, 0]
        span = self._frames * speed
        first = anchor - self._uniform(len(clips)) * span
        return torch.minimum(first.clamp_min(0), (length - span).clamp_min(0))

    def _coloured(self, clips: Tensor) -> Tensor:
        """A smooth random curve over the bands; for some, nothing above or below an edge."""
        count, _, bands = clips.shape
        knots = self._normal(count, 1, 5) * 2.0
        curve = functional.interpolate(knots, bands, mode="linear", align_corners=True)
        band = torch.arange(bands)
        top = self._where(0.1, 0.45 + 0.5 * self._uniform(count), 2.0) * bands
        bottom = self._where(0.1, 0.25 * self._uniform(count), -1.0) * bands
        over = (band - top[:, None]).clamp_min(0) + (bottom[:, None] - band).clamp_min(0)
        return (clips + curve - 12.0 * over[:, None]).clamp_min(FLOOR_DB)

    def _noisy(self, clips: Tensor) -> Tensor:
        """Coloured noise 15 to 50 dB under the loudest band, its bins as random as noise is."""
        count, _, bands = clips.shape
        tilt = (self._uniform(count, 1, 1) - 0.5) * 40 * torch.linspace(-0.5, 0.5, bands)
        below = self._where(0.25, 15 + 35 * self._uniform(count), 90.0)[:, None, None]
        bins = -torch.log(self._uniform(*clips.shape).clamp_min(1e-6))
        level = clips.amax((1, 2), keepdim=True) - below + tilt
        return add(clips, level + 10 * torch.log10(bins))

    def _masked(self, clips: Tensor) -> Tensor:
        count, frames, bands = clips.shape
        level = clips.mean((1, 2), keepdim=True)
        hidden = self._stripes(count, frames, frames // 8)[:, :, None]
        hidden = hidden | self._stripes(count, bands, 10)[:, None, :]
        hidden = hidden | self._stripes(count, bands, 6)[:, None, :]
        return torch.where(hidden, level, clips)

    def _stripes(self, count: int, length: int, widest: int) -> Tensor:
        width = self._uniform(count, 1) * widest
        start = self._uniform(count, 1) * (length - widest)
        place = torch.arange(length)
        return (place >= start) & (place < start + width)

    def mixed(self, clips: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """Two sounds at once, and `(N,)` the share of the first in the label, at least a half.

        The other is 0 to 20 dB under it, measured at their loudest (Tokozume et al., 2018).
        """
        below = 20.0 * self._uniform(len(clips))
        gap = clips.amax((1, 2)) - others.amax((1, 2)) - below
        gain = 10 ** (-below / 20)
        return add(clips, others + gap[:, None, None]), 1 / (1 + gain)

    def _where(self, share: float, value: Tensor, otherwise: float) -> Tensor:
        return torch.where(self._uniform(*value.shape) < share, value, otherwise)

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self._dice)

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._dice)


def add(first: Tensor, second: Tensor) -> Tensor:
    """Decibels of two sounds heard at once: their powers added."""
    return torch.logaddexp(first * _NEPER, second * _NEPER) / _NEPER


_NEPER = math.log(10) / 10


def _mel(hertz: Tensor) -> Tensor:
    return 2595.0 * torch.log10(1.0 + hertz / 700.0)
