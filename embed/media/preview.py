"""Previews: a small JPEG of any medium, the same for the same bytes.

A picture is its thumbnail, a film a frame that shows something, a sound its loudness drawn as
bars, a document its first page. It knows no page and no cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from embed.errors import CorruptMedia, UnsupportedModality
from embed.media.av_open import open_sound_or_film
from embed.media.film import FilmFile
from embed.media.image import thumbnail
from embed.media.sniff import HEAD, media_type
from embed.media.sound import SoundFile
from embed.media.source import open_regular, shown
from embed.types import Film, Floats, Modality, Pages, Pixels, Sound, TimeSpan

BARS = 72
"""Of a sound's picture."""

_QUALITY = 82
_POSTER_AT = (0.1, 0.3, 0.5, 0.7, 0.0)
_DARK = 24.0
_FLAT = 8.0
_RATE = 8_000
_LISTEN = 10.0
"""Seconds a bar is drawn from at most; of a sound over BARS times this, some is not heard."""
_ASPECT = 0.5
_FINE = 4
_QUIETEST = 0.025
_BEHIND = (24, 29, 48)
_LOW = (76, 139, 245)
_HIGH = (169, 123, 250)


def preview(source: Path | bytes | Pages, modality: Modality, *, side: int) -> bytes:
    """A JPEG without metadata, its longer side at most `side` pixels.

    source: the file, or, of a document, its `Pages`.
    Raises UnsupportedModality for what cannot be seen or heard, and what decoding raises.
    """
    if not isinstance(source, Path | bytes):
        return _jpeg(_first_page(source), side)
    if modality is Modality.IMAGE:
        return thumbnail(source, side=side)
    reader = _reader(source, modality)
    if isinstance(reader, FilmFile):
        return _jpeg(Image.fromarray(poster(reader, side)), side)
    if isinstance(reader, SoundFile):
        return _jpeg(waveform(reader, side), side)
    raise UnsupportedModality(
        f"{shown(source)} is {modality}; previews are drawn of image, video and audio"
    )


def poster(film: Film, side: int) -> Pixels:
    """`(H, W, 3)`: the first of a few frames that is neither nearly black nor of one colour.

    The one with most contrast when all are.
    """
    times = sorted(film.duration * part for part in _POSTER_AT)
    frames = dict(zip(times, film.frames(times, min_side=side), strict=True))
    candidates = [frames[film.duration * part] for part in _POSTER_AT]
    telling = (f for f in candidates if f.mean() > _DARK and f.std() > _FLAT)
    return next(telling, max(candidates, key=lambda frame: float(frame.std())))


def waveform(sound: Sound, side: int) -> Image.Image:
    """Loudness over time, as rounded bars about a middle line, on a ground of its own.

    The ground is dark, so that the picture looks the same on a light page and on a dark one.
    """
    width, height = side * _FINE, max(1, round(side * _ASPECT)) * _FINE
    mask = Image.new("L", (width, height))
    draw = ImageDraw.Draw(mask)
    pitch = width / (BARS + 4)
    for k, level in enumerate(_levels(sound)):
        middle, half = pitch * (k + 2.5), max(level * 0.42 * height, pitch * 0.3)
        box = (middle - pitch * 0.3, height / 2 - half, middle + pitch * 0.3, height / 2 + half)
        draw.rounded_rectangle(box, radius=pitch * 0.3, fill=255)
    picture = Image.new("RGB", mask.size, _BEHIND)
    picture.paste(_colours(mask.size), mask=mask)
    return picture.reduce(_FINE)


def _levels(sound: Sound) -> Floats:
    """`(BARS,)` in [0, 1]: root mean squares, the loudest 1, on a scale that ears would draw."""
    means = list(_loudness(sound))
    levels = np.zeros(BARS, np.float32)
    levels[: len(means)] = means
    loudest = float(levels.max())
    if loudest < 1e-4:
        return np.zeros(BARS, np.float32)
    scaled: Floats = np.maximum((levels / loudest) ** 0.6, _QUIETEST)
    return scaled


def _loudness(sound: Sound) -> Iterator[float]:
    each = sound.duration / BARS
    spans = [TimeSpan(k * each, k * each + min(each, _LISTEN)) for k in range(BARS)]
    for samples in sound.windows(spans, rate=_RATE):
        yield float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def _colours(size: tuple[int, int]) -> Image.Image:
    """From one colour on the left to another on the right."""
    ramp = np.linspace(_LOW, _HIGH, size[0]).round().astype(np.uint8)
    return Image.fromarray(np.broadcast_to(ramp, (size[1], *ramp.shape)).copy())


def _reader(source: Path | bytes, modality: Modality) -> object:
    """What reads a sound or a film; None for another modality. Raises UnsupportedModality."""
    if modality not in (Modality.AUDIO, Modality.VIDEO):
        return None
    called = shown(source)
    kind = media_type(_head(source, called))
    openers = open_sound_or_film(source, media_type=kind, called=called)
    if modality not in openers:
        raise UnsupportedModality(f"{called} holds no {modality}, but {' and '.join(openers)}")
    return openers[modality](0).data


def _head(source: Path | bytes, called: str) -> bytes:
    if isinstance(source, bytes):
        return source[:HEAD]
    with open_regular(source, called) as file:
        return file.read(HEAD)


def _first_page(pages: Pages) -> Image.Image:
    picture = next(iter(pages.pictures()), None)
    if picture is None:
        raise CorruptMedia("the document has no page")
    return Image.fromarray(picture[1])


def _jpeg(picture: Image.Image, side: int) -> bytes:
    picture.thumbnail((side, side))
    encoded = BytesIO()
    picture.save(encoded, "JPEG", quality=_QUALITY)
    return encoded.getvalue()
