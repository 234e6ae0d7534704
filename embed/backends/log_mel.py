"""Log-mel spectrograms in numpy: Hann window, power spectrum, triangular mel bands, decibels.

The mel scales are HTK's, 2595 log10(1 + f/700), and Slaney's Auditory Toolbox's (1998): linear
below 1 kHz, logarithmic above, bands of equal area. It knows no model.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from embed.types import Floats

_SLANEY_EDGE_HZ, _SLANEY_EDGE_MEL = 1000.0, 15.0
_SLANEY_STEP = np.log(6.4) / 27.0
_FLOOR = 1e-10  # of power: -100 dB

Doubles = NDArray[np.float64]


def decibels(samples: Floats, *, window: int, hop: int, bank: Doubles) -> Floats:
    """`(N,)` samples to `(1 + N // hop, mels)` dB: 10 log10 of the power in each band.

    Windows are centred on multiples of `hop`, the sound mirrored at its ends.
    """
    mirrored = np.pad(samples, window // 2, mode="reflect").astype(np.float64)
    frames = np.lib.stride_tricks.sliding_window_view(mirrored, window)[::hop]
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(window) / window)
    # Single precision here, as transformers has it: the same features to 1e-5 dB.
    spectrum = np.fft.rfft(frames * hann).astype(np.complex64)
    power = np.abs(spectrum, dtype=np.float64) ** 2
    levels: Floats = (10.0 * np.log10(np.maximum(power @ bank, _FLOOR))).astype(np.float32)
    return levels


@lru_cache(maxsize=8)
def filter_bank(*, rate: int, bins: int, mels: int, low: float, high: float, scale: str) -> Doubles:
    """`(bins, mels)` triangles between `low` and `high` Hz; Slaney's have an area of 1 Hz."""
    first, last = _mel(np.array([low, high]), scale)
    edges = _hertz(np.linspace(first, last, mels + 2), scale)
    frequencies = np.linspace(0, rate // 2, bins)
    widths = np.diff(edges)
    slopes = edges[np.newaxis] - frequencies[:, np.newaxis]
    rising, falling = -slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]
    bank: Doubles = np.maximum(0.0, np.minimum(rising, falling))
    if scale == "slaney":
        bank *= 2.0 / (edges[2:] - edges[:-2])
    bank.flags.writeable = False
    return bank


def _mel(hertz: Doubles, scale: str) -> Doubles:
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + hertz / 700.0)
    above = np.log(np.maximum(hertz, _SLANEY_EDGE_HZ) / _SLANEY_EDGE_HZ) / _SLANEY_STEP
    return np.where(hertz < _SLANEY_EDGE_HZ, 3.0 * hertz / 200.0, _SLANEY_EDGE_MEL + above)


def _hertz(mel: Doubles, scale: str) -> Doubles:
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    above = _SLANEY_EDGE_HZ * np.exp(_SLANEY_STEP * (mel - _SLANEY_EDGE_MEL))
    return np.where(mel < _SLANEY_EDGE_MEL, 200.0 * mel / 3.0, above)
