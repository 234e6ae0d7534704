"""ImageBind's encoders: what a tower is fed with, and what becomes of several clips.

It knows nothing of where weights come from, nor of what the networks do with several clips.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from embed.backends.imagebind.config import SIDE
from embed.backends.imagebind.inputs import (
    CROPS,
    FILM_CLIPS,
    FILM_FRAMES,
    RATE,
    film,
    frame_rows,
    frame_times,
    spectrograms,
    squares,
)
from embed.backends.recipe_encoders import Core, Example, Made, network_of
from embed.backends.recipes import Network
from embed.backends.tower import AudioEncoder, Encoder, Rows, VideoEncoder, pixels_of, samples_of
from embed.errors import BadInput
from embed.media.pieces import clip_spans
from embed.types import Downmix, Film, Floats, Media, Pixels, Span, TimeSpan

PIECE_SECONDS = 10.0
FULL_HD = 1080  # up to here a film's frames come unshrunk: the recipe blends without smoothing


class ClipsEncoder(AudioEncoder[Floats]):
    """Sounds: three clips of 2 s of each 10 s, the first channel alone, at 16 kHz."""

    rate = RATE
    seconds = PIECE_SECONDS
    downmix = Downmix.FIRST

    def __init__(self, core: Core, module: Made | None = None) -> None:
        self._core = core
        self._module = module

    def prepare(self, piece: Media) -> Floats:
        """`(3, 1, 128, 204)`."""
        return spectrograms(samples_of(piece, RATE))

    def run(self, batch: Sequence[Floats]) -> Rows:
        return Rows(*self._core(np.stack(batch)))

    def network(self) -> Network:
        """Raises NotAvailable where there is no module."""
        noise = np.random.default_rng(0).normal(0.0, 0.1, (2, 3 * RATE)).astype(np.float32)
        inputs = {"clips": np.stack([spectrograms(sound) for sound in noise])}
        return network_of(self._module, Example(inputs), kind="imagebind-sound")


class FilmsEncoder(VideoEncoder[Pixels]):
    """Films: of each 10 s ten frames in three squares, two to a clip.

    A piece holds those squares, `(30, 224, 224, 3)`, and no rate. Frames that have a rate are a
    whole film, and the ten are chosen among them.
    """

    seconds = PIECE_SECONDS
    min_side = FULL_HD

    def __init__(self, core: Core, module: Made | None = None) -> None:
        self._core = core
        self._module = module

    def pieces(self, media: Media) -> Iterator[tuple[Span | None, Media]]:
        if not hasattr(media.data, "frames"):
            yield from super().pieces(media)
            return
        reader = cast("Film", media.data)
        for span in clip_spans(reader.duration, self.seconds):
            cuts = squares(self._frames(reader, span))
            yield span, replace(media, data=cuts.reshape(-1, SIDE, SIDE, 3), rate=None)

    def prepare(self, piece: Media) -> Pixels:
        """`(15, 2, 224, 224, 3)`."""
        pixels = pixels_of(piece, frames=True)
        if piece.rate is None and pixels.shape == (FILM_FRAMES * CROPS, SIDE, SIDE, 3):
            return film(pixels)
        if not piece.rate or piece.rate <= 0:
            raise BadInput(f"a film says its frames per second; here the rate is {piece.rate!r}")
        return film(squares(pixels[frame_rows(len(pixels), piece.rate)]))

    def run(self, batch: Sequence[Pixels]) -> Rows:
        # One by one: a film is fifteen clips, as much as a batch of anything else.
        return Rows(np.concatenate([self._core(clips[np.newaxis])[0] for clips in batch]))

    def network(self) -> Network:
        """Raises NotAvailable where there is no module."""
        shape = (2, FILM_CLIPS * CROPS, 2, SIDE, SIDE, 3)
        inputs = {"clips": np.random.default_rng(0).integers(0, 256, shape, np.uint8)}
        return network_of(self._module, Example(inputs), kind="imagebind-film")

    def _frames(self, reader: Film, span: TimeSpan) -> Pixels:
        """The ten frames in the order of their clips, which overlap where a film is short."""
        times = np.array(frame_times(span.end - span.start)) + span.start
        ascending, places = np.unique(times, return_inverse=True)
        return reader.frames(ascending.tolist(), min_side=self.min_side)[places]


class ArrayEncoder(Encoder[Floats]):
    """Depth, thermal and motion: an array of one shape, as the tower takes it."""

    def __init__(self, core: Core, shape: tuple[int, ...], module: Made | None = None) -> None:
        self._core = core
        self._shape = shape
        self._module = module

    def pieces(self, media: Media) -> Iterator[tuple[Span | None, Media]]:
        yield None, media

    def prepare(self, piece: Media) -> Floats:
        data = piece.data
        found = f"{data.shape} {data.dtype}" if isinstance(data, np.ndarray) else type(data)
        if not isinstance(data, np.ndarray) or data.shape != self._shape or data.dtype.kind != "f":
            raise BadInput(f"{piece.modality} is an array {self._shape} of floats, not {found}")
        if not np.isfinite(data).all():
            raise BadInput(f"{piece.modality} holds a number that is not finite")
        return data.astype(np.float32, copy=False)

    def run(self, batch: Sequence[Floats]) -> Rows:
        return Rows(*self._core(np.stack(batch)))

    def network(self) -> Network:
        """Raises NotAvailable where there is no module."""
        values = np.random.default_rng(0).normal(size=(2, *self._shape)).astype(np.float32)
        numbers = {"shape": list(self._shape)}
        return network_of(self._module, Example({"values": values}), kind="array", numbers=numbers)
