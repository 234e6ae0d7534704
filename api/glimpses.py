"""The medium behind an item, or behind a place in it, decoded as small as a generator wants it.

What is gone, damaged or no longer what was indexed has none: evidence still has its words. It
knows neither generators nor prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from api.blobs import Blobs
from api.originals import bytes_of
from embed.errors import CrossbindError
from embed.media.read import open_media
from embed.types import (
    BoxSpan,
    CharSpan,
    Film,
    Item,
    Media,
    Modality,
    Pages,
    PageSpan,
    Pixels,
    Sound,
    Span,
    TimeSpan,
)

MAX_SECONDS = 60.0  # of a sound
FRAMES = 8  # of a film, or of a part of one
RATE = 16_000  # samples a second, which is what models of speech and sounds ask for
SIDE = 320  # pixels, for whom the size is all the same


def glimpses(blobs: Blobs) -> Callable[[Item, Span | None, int], Media | None]:
    """`rag.library.MediaOf` over the files of a library and its uploads."""

    def media_of(item: Item, span: Span | None, side: int) -> Media | None:
        if item.modality is Modality.TEXT:
            return _words(item, span)
        try:
            return _decoded(item, span, side or SIDE, blobs)
        except CrossbindError:
            return None

    return media_of


def _words(item: Item, span: Span | None) -> Media | None:
    if item.text is None:
        return None
    part = item.text[span.start : span.end] if isinstance(span, CharSpan) else item.text
    return Media(Modality.TEXT, part, source=item.title)


def _decoded(item: Item, span: Span | None, side: int, blobs: Blobs) -> Media | None:
    """Raises what opening and decoding raise."""
    raw = open_media(bytes_of(item, blobs), accepts=frozenset({item.modality}), name=item.title)
    if raw.digest != item.digest:  # it would be shown as what it is not
        return None
    data = raw.decode(item.modality, image_side=side).data
    if isinstance(data, Pages):
        return _picture(_page(data, span), None, side, item)
    if isinstance(data, Sound):
        return _heard(data, span, item)
    if isinstance(data, Film):
        return _seen(data, span, side, item)
    assert isinstance(data, np.ndarray)
    return _picture(data, span, side, item)


def _page(pages: Pages, span: Span | None) -> Pixels | None:
    wanted = span.page if isinstance(span, PageSpan) else 1
    drawn: Iterator[Pixels] = (pixels for page, pixels in pages.pictures() if page.page == wanted)
    return next(drawn, None)


def _picture(pixels: Pixels | None, span: Span | None, side: int, item: Item) -> Media | None:
    if pixels is None:
        return None
    return Media(Modality.IMAGE, _small(_cropped(pixels, span), side), source=item.title)


def _cropped(pixels: Pixels, span: Span | None) -> Pixels:
    if not isinstance(span, BoxSpan):
        return pixels
    height, width = pixels.shape[:2]
    top, left = int(span.top * height), int(span.left * width)
    bottom = max(top + 1, round(span.bottom * height))
    return pixels[top:bottom, left : max(left + 1, round(span.right * width))]


def _small(pixels: Pixels, side: int) -> Pixels:
    """Its longer side at most `side`."""
    if max(pixels.shape[:2]) <= side:
        return np.ascontiguousarray(pixels)
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side))
    return np.array(picture)


def _heard(sound: Sound, span: Span | None, item: Item) -> Media | None:
    start, end = span if isinstance(span, TimeSpan) else (0.0, sound.duration)
    heard = TimeSpan(start, min(end, start + MAX_SECONDS))
    samples = next(sound.windows([heard], rate=RATE), None)
    if samples is None:
        return None
    return Media(Modality.AUDIO, samples, rate=RATE, source=item.title)


def _seen(film: Film, span: Span | None, side: int, item: Item) -> Media:
    """Frames from the middles of as many equal parts."""
    start, end = span if isinstance(span, TimeSpan) else (0.0, film.duration)
    step = (end - start) / FRAMES
    times = [start + (n + 0.5) * step for n in range(FRAMES)]
    frames = np.stack([_small(frame, side) for frame in film.frames(times, min_side=side)])
    return Media(Modality.VIDEO, frames, rate=1 / step if step > 0 else None, source=item.title)
