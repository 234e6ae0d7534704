"""Kaldi's filter bank: how much energy a sound has in each mel band, 100 times a second.

The definition is Kaldi's `compute-fbank-feats` with `--htk-compat --window-type=hanning
--dither=0 --use-energy=false` and its defaults (feature-window.cc, feature-fbank.cc,
mel-computations.cc), on samples in [-1, 1] instead of 16-bit integers. For each frame of 25 ms,
every 10 ms, that lies wholly in the sound (`--snip-edges`):

    x ← x - mean(x);  x_t ← x_t - 0.97 x_{t-1}, with x_{-1} = x_0;  x ← x · hanning
    P = |FFT(x padded to a power of two)|²;  feature_m = ln max(Σ_f w_mf P_f, ε)

w_m is a triangle in the mel scale 1127 ln(1 + f / 700), the triangles' feet spread evenly from
20 Hz to half the rate; ε is the spacing of float32 at 1, 2⁻²³. It knows no network.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embed.types import Floats

FRAME_SECONDS, STEP_SECONDS = 0.025, 0.010
PRE_EMPHASIS = 0.97
LOW_HERTZ = 20.0
FLOOR = 2.0**-23

Doubles = NDArray[np.float64]


def fbank(samples: Floats, *, rate: int, bins: int) -> Floats:
    """`(N,)` samples in [-1, 1] to `(1 + (N - frame) // step, bins)` natural logarithms.

    A sound shorter than a frame gives no rows.
    """
    length, step = int(rate * FRAME_SECONDS), int(rate * STEP_SECONDS)
    if len(samples) < length:
        return np.empty((0, bins), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, length)[::step].astype(np.float64)
    frames -= frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    windowed = (frames - PRE_EMPHASIS * before) * np.hanning(length)
    size = _power_of_two(length)
    power = np.abs(np.fft.rfft(windowed, n=size)) ** 2
    energies = power @ _triangles(rate, size, bins)
    logarithms: Floats = np.log(np.maximum(energies, FLOOR)).astype(np.float32)
    return logarithms


@lru_cache(maxsize=4)
def _triangles(rate: int, size: int, bins: int) -> Doubles:
    """`(size / 2 + 1, bins)` weights; the highest frequency has none."""
    mels = _mel(np.arange(size // 2 + 1) * (rate / size))[:, np.newaxis]
    feet = np.linspace(_mel(LOW_HERTZ), _mel(rate / 2), bins + 2)
    left, centre, right = feet[:-2], feet[1:-1], feet[2:]
    rising, falling = (mels - left) / (centre - left), (right - mels) / (right - centre)
    weights: Doubles = np.maximum(0.0, np.minimum(rising, falling))
    weights[-1] = 0.0
    return weights


def _mel(hertz: ArrayLike) -> Doubles:
    mels: Doubles = 1127.0 * np.log1p(np.asarray(hertz) / 700.0)
    return mels


def _power_of_two(length: int) -> int:
    return 1 << (length - 1).bit_length()
