"""Sounds to log-mel spectrograms, as the tower hears them when it serves. It knows no class."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from embed.backends.builtin.audio import RECIPE
from embed.media.read import open_media
from embed.types import Downmix, Floats, Modality, Sound, TimeSpan


def read_clip(path: Path) -> Floats:
    """The first five seconds of a sound file, `(N,)` at 16 kHz. Raises what `open_media` raises."""
    raw = open_media(path, accepts=frozenset({Modality.AUDIO}))
    sound = raw.decode(Modality.AUDIO, image_side=0).data
    assert isinstance(sound, Sound)
    span = TimeSpan(0.0, min(sound.duration, RECIPE.seconds))
    return next(iter(sound.windows([span], rate=RECIPE.rate, downmix=Downmix.MEAN)))


def spectrograms(sounds: Iterable[Floats]) -> Tensor:
    """`(N, T, 64)` decibels, float16: a quarter of a decibel is finer than any ear."""
    rows = [RECIPE.prepare(sound[: RECIPE.samples])[0].astype(np.float16) for sound in sounds]
    return torch.from_numpy(np.stack(rows))


def band_centres() -> Tensor:
    """`(64,)` Hz, evenly spaced on the mel scale."""
    low, high = (2595.0 * np.log10(1.0 + hertz / 700.0) for hertz in (RECIPE.low, RECIPE.high))
    mels = np.linspace(low, high, RECIPE.mels + 2)[1:-1]
    return torch.from_numpy(700.0 * (10.0 ** (mels / 2595.0) - 1.0)).float()
