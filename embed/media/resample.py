"""A sound at another rate: libswresample's windowed sinc (FFmpeg's default, 32 taps), padded.

Padding is what makes it exact at both ends and for sounds shorter than the filter: the first and
last sample are held for a while before and after, so that a constant stays one.
"""

from __future__ import annotations

from math import gcd

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from embed.types import Floats

_TAPS = 64
"""Samples, at the lower of the two rates, that one sample of the result depends on at most."""


def resample(samples: Floats, from_rate: int, to_rate: int) -> Floats:
    """`(N,)` float32 at `from_rate` to `(M,)` at `to_rate`, M = round(N · to / from), at least 1.

    What the lower rate cannot carry is filtered out. Sample k of the result stands at k / to_rate
    seconds. A pure function. Raises ValueError for no samples or a rate below 1.
    """
    if not samples.size or min(from_rate, to_rate) < 1:
        raise ValueError(
            f"cannot take {samples.size} samples from {from_rate} to {to_rate} a second"
        )
    if from_rate == to_rate:
        return samples
    pad = padding(from_rate, to_rate)
    skip = pad * to_rate // from_rate
    count = max(1, round(len(samples) * to_rate / from_rate))
    return _converted(np.pad(samples, pad, "edge"), from_rate, to_rate)[skip : skip + count]


def padding(from_rate: int, to_rate: int) -> int:
    """Samples at `from_rate` beyond which a sample has no influence: a whole number at both rates.

    A cut at a multiple of this, or with this much to spare, does not show in the result.
    """
    step = from_rate // gcd(from_rate, to_rate)
    reach = _TAPS * max(1, -(-from_rate // to_rate))
    return -(-reach // step) * step


def _converted(samples: Floats, from_rate: int, to_rate: int) -> Floats:
    frame = AudioFrame.from_ndarray(samples[np.newaxis], format="fltp", layout="mono")
    frame.sample_rate = from_rate
    resampler = AudioResampler(format="fltp", layout="mono", rate=to_rate)
    blocks = [*resampler.resample(frame), *resampler.resample(None)]
    whole: Floats = np.concatenate([block.to_ndarray()[0] for block in blocks])
    return whole
