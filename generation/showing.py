"""Media as models are handed them: pictures no larger than they read, films as a few frames.

Readers of long media end here: what comes out is words, `(H, W, 3)`, `(T, H, W, 3)` and samples.
It knows no model and no endpoint.
"""

from __future__ import annotations

import base64
import wave
from collections.abc import Iterator
from io import BytesIO
from itertools import islice

import numpy as np
from PIL import Image

from embed.errors import BadInput, UnsupportedModality
from embed.media import pieces
from embed.types import Downmix, Film, Media, Modality, Pages, Pixels, Sound, TimeSpan
from generation.types import Taste

MAX_FRAMES = 8
"""Of one film: enough to tell what happens, few enough to leave room for others."""

_RATE = 16_000
_QUALITY = 90
_FEW_COLOURS = 256


def shown(
    media: Media, *, takes: frozenset[Modality], taste: Taste, films: bool = False
) -> Iterator[Media]:
    """`media` as a generator that `takes` such is handed it, whole arrays at its size.

    films: it takes frames as a film; else they are pictures behind a line that says so.
    Raises UnsupportedModality, BadInput, CorruptMedia.
    """
    kind = media.modality
    if kind is Modality.TEXT:
        yield media
    elif kind not in takes:
        raise UnsupportedModality(
            f"this generator takes {' and '.join(sorted(takes))}, not {kind}: say it in words, or "
            "choose another generator"
        )
    elif kind is Modality.IMAGE:
        for pixels in _pictures(media, taste):
            yield Media(kind, _within(pixels, taste.image_side))
    elif kind is Modality.VIDEO:
        yield from _film(media, taste, films=films)
    elif kind is Modality.AUDIO:
        yield _sound(media, taste.seconds)
    else:
        raise UnsupportedModality(f"no generator takes {kind}: say it in words")


def data_uri(pixels: Pixels) -> str:
    """A picture as a `data:` URI: PNG where it has few colours, as JPEG smears such, else JPEG."""
    picture, encoded = Image.fromarray(pixels), BytesIO()
    flat = picture.getcolors(_FEW_COLOURS) is not None
    if flat:
        picture.save(encoded, "PNG", optimize=True)
    else:
        picture.save(encoded, "JPEG", quality=_QUALITY)
    kind = "png" if flat else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(encoded.getvalue()).decode()}"


def wav(media: Media) -> bytes:
    """A sound as a WAV file, 16 bits, mono."""
    assert isinstance(media.data, np.ndarray)
    assert media.rate is not None
    samples = (np.clip(media.data, -1.0, 1.0) * 32767.0).round().astype("<i2")
    encoded = BytesIO()
    with wave.open(encoded, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(int(media.rate))
        file.writeframes(samples.tobytes())
    return encoded.getvalue()


def _pictures(media: Media, taste: Taste) -> Iterator[Pixels]:
    if isinstance(media.data, Pages):
        yield from (pixels for _, pixels in islice(media.data.pictures(), max(1, taste.images)))
    else:
        yield _checked(media, rank=3)


def _film(media: Media, taste: Taste, *, films: bool) -> Iterator[Media]:
    count = MAX_FRAMES if films else max(1, min(MAX_FRAMES, taste.images))
    frames, rate, seconds = _frames(media, count, taste.image_side)
    frames = np.stack([_within(frame, taste.image_side) for frame in frames])
    if films:
        yield Media(Modality.VIDEO, frames, rate=rate)
        return
    yield Media(Modality.TEXT, f"({len(frames)} frames of a film of {seconds:.0f} s, in order:)")
    for frame in frames:
        yield Media(Modality.IMAGE, frame)


def _frames(media: Media, count: int, side: int) -> tuple[Pixels, float, float]:
    """Frames from the middles of `count` equal parts, how many a second that is, and seconds."""
    if isinstance(media.data, Film):
        seconds = media.data.duration
        times = [(k + 0.5) * seconds / count for k in range(count)]
        frames = media.data.frames(times, min_side=side)
    else:
        every = _checked(media, rank=4)
        seconds = len(every) / (media.rate or 1.0)
        count = min(count, len(every))
        frames = every[[int((k + 0.5) * len(every) / count) for k in range(count)]]
    return frames, len(frames) / max(seconds, 1e-3), seconds


def _sound(media: Media, seconds: float) -> Media:
    """What is heard of a sound: its beginning, at its own rate or, of a file, at 16 kHz."""
    if isinstance(media.data, Sound):
        span = TimeSpan(0.0, min(seconds, media.data.duration))
        samples = next(media.data.windows([span], rate=_RATE, downmix=Downmix.MEAN))
        return Media(Modality.AUDIO, samples, rate=float(_RATE))
    samples = pieces.samples(media, int(media.rate or 0))
    return Media(Modality.AUDIO, samples[: int(seconds * (media.rate or 0))], rate=media.rate)


def _within(pixels: Pixels, side: int) -> Pixels:
    """Made smaller where its longer side has more than `side` pixels."""
    if max(pixels.shape[:2]) <= side:
        return pixels
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def _checked(media: Media, *, rank: int) -> Pixels:
    data, wanted = media.data, "(H, W, 3)" if rank == 3 else "(T, H, W, 3)"
    if not isinstance(data, np.ndarray):
        raise BadInput(f"{media.modality} is {wanted} uint8 pixels, not {type(data).__name__}")
    if data.ndim != rank or data.shape[-1] != 3 or data.dtype != np.uint8 or not data.size:
        raise BadInput(
            f"{media.modality} is {wanted} uint8 with at least one pixel, not {data.shape} "
            f"{data.dtype}"
        )
    return data
