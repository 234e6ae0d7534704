"""Media to pieces: the passages, pages, clips and shots that get one vector each.

Cuts are the same every time, as they depend on nothing but the medium. It knows no tower: what one
wants of length and rate is passed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from embed.errors import BadInput
from embed.types import CharSpan, Downmix, Film, Floats, Media, Pages, Sound, Span, TimeSpan

MAX_CLIPS = 720
"""Of one sound: two hours in clips of 10 s. Longer ones have gaps between clips, all alike."""
MAX_SHOTS = 1440
"""Of one film without cuts: four hours in shots of 10 s. Longer ones have longer shots, and as many
frames in all: a few bytes can claim to be shown for a day."""

Piece = tuple[Span | None, Media]


def of_text(media: Media, cut: Callable[[str], Iterator[CharSpan | None]]) -> Iterator[Piece]:
    """Passages; `cut` is asked about one section at a time. Sections without a word are left out.

    A text that is one section and one passage is one piece, without a span.
    """
    text = media.data
    if not isinstance(text, str):
        raise BadInput(f"a text medium holds a str, not {type(text).__name__}")
    if not media.sections:
        for span in cut(text):
            yield span, media if span is None else _passage(media, text, span)
        return
    for section in media.sections:
        words = text[section.start : section.end]
        if not words.strip():
            continue
        for span in cut(words):
            start, end = (0, len(words)) if span is None else span[:2]
            own = CharSpan(section.start + start, section.start + end, section.page)
            yield own, _passage(media, text, own)


def of_image(media: Media) -> Iterator[Piece]:
    """A picture is one piece; pages are one each."""
    if isinstance(media.data, np.ndarray):
        yield None, media
    elif isinstance(media.data, Pages):
        for page, pixels in media.data.pictures():
            yield page, replace(media, data=pixels)
    else:
        raise BadInput(f"a picture is (H, W, 3) uint8 pixels, not {type(media.data).__name__}")


def of_sound(media: Media, *, seconds: float, rate: int, downmix: Downmix) -> Iterator[Piece]:
    """Clips of at most `seconds`, at `rate`."""
    if isinstance(media.data, np.ndarray):
        yield None, media
    elif isinstance(media.data, Sound):
        spans = clip_spans(media.data.duration, seconds)
        clips = media.data.windows(spans, rate=rate, downmix=downmix)
        for span, clip in zip(spans, clips, strict=False):
            yield span, replace(media, data=clip, rate=float(rate))
    else:
        raise BadInput(f"a sound is (N,) float32 samples, not {type(media.data).__name__}")


def of_film(media: Media, *, seconds: float, per_second: float, min_side: int) -> Iterator[Piece]:
    """Shots of at most `seconds`, some frames of each; see `MAX_SHOTS`."""
    if isinstance(media.data, np.ndarray):
        yield None, media
    elif isinstance(media.data, Film):
        slower = max(1.0, media.data.duration / (MAX_SHOTS * seconds))
        rate = per_second / slower
        shots = media.data.shots(seconds=seconds * slower, per_second=rate, min_side=min_side)
        for span, frames in shots:
            yield span, replace(media, data=frames, rate=rate)
    else:
        raise BadInput(f"a film is (T, H, W, 3) uint8 frames, not {type(media.data).__name__}")


def clip_spans(duration: float, seconds: float) -> list[TimeSpan]:
    """Uniform clips over `duration`: as few of `seconds` each as cover it, at most MAX_CLIPS.

    Clip k of n starts at k · (duration - seconds) / (n - 1); one that is no longer than `seconds`
    is one clip.
    """
    if duration <= seconds:
        return [TimeSpan(0.0, duration)]
    count = min(max(2, math.ceil(duration / seconds)), MAX_CLIPS)
    step = (duration - seconds) / (count - 1)
    return [TimeSpan(k * step, k * step + seconds) for k in range(count)]


def samples(piece: Media, rate: int) -> Floats:
    """`(N,)` float32 at `rate`, resampled if need be. Raises BadInput for anything else."""
    data = piece.data
    if not isinstance(data, np.ndarray) or data.ndim != 1 or data.dtype != np.float32:
        shape = f"{data.shape} {data.dtype}" if isinstance(data, np.ndarray) else type(data)
        raise BadInput(f"a sound is (N,) float32 samples in [-1, 1], not {shape}")
    if not data.size or not np.isfinite(data).all():
        raise BadInput("a sound has at least one sample, and every sample is a finite number")
    if not piece.rate or piece.rate <= 0:
        raise BadInput(f"a sound says its samples per second; here the rate is {piece.rate!r}")
    if piece.rate == rate:
        return data
    from embed.media.resample import resample  # noqa: PLC0415 (loads FFmpeg)

    return resample(data, int(piece.rate), rate)


def _passage(media: Media, text: str, span: CharSpan) -> Media:
    return replace(media, data=text[span.start : span.end], sections=())
