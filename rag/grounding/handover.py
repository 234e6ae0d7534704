"""Media as a generator wants them: pictures small enough, films as frames, sounds short enough.

Media come from the library and from the question, never from an address in a text. It knows no
prompt, only what is left of a taste.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from PIL import Image

from embed.types import Film, Item, Media, Modality, Pages, Pixels, Sound, Span, TimeSpan
from generation.types import Generator
from rag.library import Library

_FRAMES = 8  # of a film at most
_RATE = 16_000  # samples per second, for sounds that are still to be read


class Handover:
    """What of a generator's taste is left while a prompt is put together."""

    def __init__(self, library: Library, generator: Generator) -> None:
        self._library = library
        self._takes = generator.inputs
        self._side = generator.taste.image_side or 512
        self._images = generator.taste.images
        self._seconds = generator.taste.seconds

    def of(self, items: Iterable[tuple[Item, Span | None]]) -> Media | None:
        """The medium of the first that the generator takes, has room for, and that is there."""
        for item, span in items:
            if item.modality is Modality.TEXT or not self._wants(item.modality):
                continue
            medium = self._library.media_of(item, span, self._side)
            if medium is not None and (fitting := self.fitting(medium)) is not None:
                return fitting
        return None

    def fitting(self, medium: Media) -> Media | None:
        """A medium cut to what is left, which it uses up; None where the generator takes none."""
        if not self._wants(medium.modality):
            return None
        if medium.modality is Modality.IMAGE:
            return self._picture(medium)
        if medium.modality is Modality.VIDEO:
            return self._film(medium)
        return self._sound(medium) if medium.modality is Modality.AUDIO else None

    def _wants(self, modality: Modality) -> bool:
        if modality is Modality.VIDEO:
            return self._images > 0 and bool({Modality.VIDEO, Modality.IMAGE} & self._takes)
        left = {Modality.IMAGE: self._images, Modality.AUDIO: self._seconds}.get(modality, 0)
        return left > 0 and modality in self._takes

    def _picture(self, medium: Media) -> Media | None:
        data: object = medium.data
        if isinstance(data, Pages):
            data = next((pixels for _, pixels in data.pictures()), None)
        if not isinstance(data, np.ndarray):
            return None
        self._images -= 1
        return replace(medium, data=_small(data, self._side))

    def _film(self, medium: Media) -> Media | None:
        """Frames; the middle one alone for a generator that takes pictures and no films."""
        as_film = Modality.VIDEO in self._takes
        count = min(_FRAMES, self._images) if as_film else 1
        frames = _frames(medium, count, self._side)
        if frames is None:
            return None
        self._images -= len(frames)
        small = np.stack([_small(frame, self._side) for frame in frames])
        if as_film:
            return replace(medium, data=small)
        return Media(Modality.IMAGE, small[0], source=medium.source)

    def _sound(self, medium: Media) -> Media | None:
        data: object = medium.data
        rate = medium.rate
        if isinstance(data, Sound):
            span = TimeSpan(0.0, min(data.duration, self._seconds))
            data, rate = next(data.windows([span], rate=_RATE), None), float(_RATE)
        if not isinstance(data, np.ndarray) or not rate:
            return None
        samples = data[: int(self._seconds * rate)]
        self._seconds -= len(samples) / rate
        return Media(Modality.AUDIO, samples, rate=rate, source=medium.source)


def _frames(medium: Media, count: int, side: int) -> Pixels | None:
    """`(count, H, W, 3)` or fewer, evenly over the film."""
    data = medium.data
    if isinstance(data, Film):
        times = [(n + 0.5) * data.duration / count for n in range(count)]
        return data.frames(times, min_side=side)
    if not isinstance(data, np.ndarray) or not len(data):
        return None
    chosen = ((np.arange(min(count, len(data))) + 0.5) * len(data) / min(count, len(data))).astype(
        int
    )
    frames: Pixels = data[chosen]
    return frames


def _small(pixels: Pixels, side: int) -> Pixels:
    """Its longer side at most `side`."""
    if max(pixels.shape[:2]) <= side:
        return pixels
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side))
    return np.array(picture)
