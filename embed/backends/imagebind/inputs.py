"""What ImageBind's towers are fed: pictures, films, sounds, to the sizes it was trained on.

Girdhar et al. (CVPR 2023), appendix. A picture's recipe is torchvision's Resize(224, bicubic) and
CenterCrop(224). A sound is heard in three clips of 2 s, a film seen in five, of two frames and
three squares each. Clip k of n starts at k · max(D - 2, 0) / (n - 1) seconds, D the duration.
Pixels stay uint8, and their mean and deviation are taken off inside the network. It knows no
network. Depth, thermal and motion have no published preparation: theirs are arrays.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embed.backends.imagebind.config import FRAMES, MELS, SIDE
from embed.backends.recipes import ImageRecipe
from embed.media.fbank import FRAME_SECONDS, fbank
from embed.types import Floats, Pixels

RATE = 16_000
CLIP_SECONDS = 2.0
SOUND_CLIPS, FILM_CLIPS = 3, 5
CROPS = 3
LOUDNESS_MEAN, LOUDNESS_STD = -4.268, 9.138
FILM_FRAMES = 2 * FILM_CLIPS
LAST_FRAME = 1e-3  # seconds before a clip's end at which its last frame is shown

PICTURE = ImageRecipe(
    height=SIDE,
    width=SIDE,
    resize="shortest",
    interpolation="bicubic",
    centre="even",
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
)


def clip_starts(duration: float, count: int) -> list[Fraction]:
    """Seconds at which each clip begins, exact; those of a short medium all begin it."""
    return [k * Fraction(max(duration - CLIP_SECONDS, 0.0)) / (count - 1) for k in range(count)]


def spectrograms(samples: Floats) -> Floats:
    """`(N,)` samples at 16 kHz to `(3, 1, 128, 204)`: a picture of each clip, mel by time."""
    starts = [int(start * RATE) for start in clip_starts(len(samples) / RATE, SOUND_CLIPS)]
    length = round(CLIP_SECONDS * RATE)
    return np.stack([spectrogram(samples[start : start + length]) for start in starts])


def spectrogram(clip: Floats) -> Floats:
    """`(N,)` samples to `(1, 128, 204)`: Kaldi's filter bank, padded with 0, then standardised.

    A clip too short for one frame is followed by silence.
    """
    short = max(0, int(FRAME_SECONDS * RATE) - len(clip))
    levels = fbank(np.pad(clip - clip.mean(), (0, short)), rate=RATE, bins=MELS)[:FRAMES]
    padded = np.pad(levels.T, ((0, 0), (0, FRAMES - len(levels))))
    return ((padded - LOUDNESS_MEAN) / LOUDNESS_STD)[np.newaxis].astype(np.float32, copy=False)


def frame_times(duration: float) -> list[float]:
    """The ten moments of a film that are seen: the first and the last frame of each clip."""
    starts = [float(start) for start in clip_starts(duration, FILM_CLIPS)]
    ends = [min(start + CLIP_SECONDS, duration) - LAST_FRAME for start in starts]
    return [
        time for start, end in zip(starts, ends, strict=True) for time in (start, max(start, end))
    ]


def frame_rows(count: int, per_second: float) -> list[int]:
    """The same ten moments among `count` frames of which `per_second` are shown a second.

    A clip holds the frames whose time, their number / `per_second`, is in [start, start + 2); one
    that holds none has the next.
    """
    rows = []
    for start in clip_starts(count / per_second, FILM_CLIPS):
        first = math.ceil(float(start) * per_second - LAST_FRAME)
        after = math.ceil((float(start) + CLIP_SECONDS) * per_second - LAST_FRAME)
        rows += [first, max(first, after - 1)]
    return [min(row, count - 1) for row in rows]


def squares(frames: Pixels) -> Pixels:
    """`(T, H, W, 3)` to `(T, 3, 224, 224, 3)`: the shorter side made 224, cut at three places.

    Each pixel is blended from the four around its centre, without smoothing, as torch's bilinear
    interpolation is; then rounded. Left, centre and right of a wide frame, top, centre and bottom
    of a tall one; only what stays is computed.
    """
    height, width = frames.shape[1:3]
    tall = SIDE if height <= width else math.floor(height / width * SIDE)
    wide = SIDE if width < height else math.floor(width / height * SIDE)
    rows = [_blend(height, tall, start) for start in _starts(tall, everywhere=tall > wide)]
    columns = [_blend(width, wide, start) for start in _starts(wide, everywhere=tall <= wide)]
    cuts = [(rows[k % len(rows)], columns[k % len(columns)]) for k in range(CROPS)]
    return np.stack([[_blended(frame, *cut) for cut in cuts] for frame in frames])


def film(cuts: Pixels) -> Pixels:
    """`squares` of the ten frames, `(10, 3, 224, 224, 3)`, to clips: `(15, 2, 224, 224, 3)`."""
    pairs = cuts.reshape(FILM_CLIPS, 2, CROPS, SIDE, SIDE, 3)
    return pairs.swapaxes(1, 2).reshape(FILM_CLIPS * CROPS, 2, SIDE, SIDE, 3)


class _Blend(NamedTuple):
    """For each pixel along a side: its source pixels, and the share of the second of them."""

    before: NDArray[np.intp]
    after: NDArray[np.intp]
    share: Floats


def _starts(side: int, *, everywhere: bool) -> list[int]:
    middle = math.ceil((side - SIDE) / 2)
    return [0, middle, side - SIDE] if everywhere else [middle]


def _blend(source: int, side: int, start: int) -> _Blend:
    """Pixels `[start, start + 224)` of `source` pixels stretched to `side`."""
    centres = np.arange(start, start + SIDE) + 0.5
    places = np.maximum(centres * (source / side) - 0.5, 0.0)
    before = np.minimum(places.astype(np.intp), source - 1)
    share = (places - before).astype(np.float32)
    return _Blend(before, np.minimum(before + 1, source - 1), share)


def _blended(frame: Pixels, rows: _Blend, columns: _Blend) -> Pixels:
    across = columns.share[:, np.newaxis]
    upper, lower = (
        _mixed(lines[:, columns.before], lines[:, columns.after], across)
        for lines in (frame[rows.before], frame[rows.after])
    )
    mixed = _mixed(upper, lower, rows.share[:, np.newaxis, np.newaxis])
    pixels: Pixels = np.rint(mixed).astype(np.uint8)
    return pixels


def _mixed(one: NDArray[Any], other: NDArray[Any], share: Floats) -> Floats:
    mixed: Floats = one * (1.0 - share) + other * share
    return mixed
