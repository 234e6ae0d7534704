"""Films: a track's frames, streamed, upright, no larger than asked for, cut where the picture cuts.

Frames are taken by their timestamps, so variable frame rates need no care: what counts is which
frame is shown at a given second. Rotation and pixels that are not square are undone. A film whose
size changes on the way is brought to the size that it began with.

It knows nothing of containers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
from av.audio.frame import AudioFrame
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from embed.errors import CorruptMedia, TooLarge
from embed.media.container import MAX_PIXELS, File
from embed.media.track import Shown, Track, duration_of
from embed.types import Floats, Pixels, TimeSpan

CUT = 20.0
"""From this distance on, of 255, two pictures are of two shots. It is the mean over the channels of
the earth mover's distance between their histograms: how far colours moved, whatever their place, so
that moving things and cameras hardly count. At 18.6, of 300 photos of clothing, 94 in 100 cuts from
one to the next were found; no camera that moved on by 15 % of the picture was taken for a cut, and
12 in 100 that moved on by 35 %."""

_FAR = 10.0
"""Seconds that are rather jumped over than decoded."""
_MOMENT = 1e-5
"""Seconds by which rounding may make a timestamp late."""
_MAX_STRETCH = 4.0
_SKETCH = 32


class FilmFile:
    """The picture track `index` of a file; implements `embed.types.Film`."""

    def __init__(self, file: File, index: int, width: int, height: int) -> None:
        """width, height: as the header has them. Raises CorruptMedia, TooLarge."""
        if width * height > MAX_PIXELS:
            raise TooLarge(
                f"{file.called} is {width:,} x {height:,} pixels; at most {MAX_PIXELS:,} a frame "
                "are decoded: make it smaller"
            )
        self._file = file
        self._index = index
        self._duration = duration_of(file, index)

    @property
    def duration(self) -> float:
        return self._duration

    def shots(
        self, *, seconds: float, per_second: float, min_side: int
    ) -> Iterator[tuple[TimeSpan, Pixels]]:
        """As `embed.types.Film.shots`; cuts are found to within one sampled frame.

        Frame k of the film is the one shown at k / per_second seconds. A shorter side of
        `2 * min_side` pixels or more is divided by a whole number, never below `min_side`.
        """
        window: list[Pixels] = []
        start = 0
        with Track(self._file, self._index) as track:
            painter = _Painter(track, min_side)
            for k, frame in enumerate(_sampled(track, per_second, painter)):
                if window and (k - start >= seconds * per_second or _is_cut(window[-1], frame)):
                    yield TimeSpan(start / per_second, k / per_second), np.stack(window)
                    window, start = [], k
                window.append(frame)
        if not window:
            raise _nothing(self._file)
        begin, end = start / per_second, (start + len(window)) / per_second
        yield TimeSpan(begin, self._end(begin, end)), np.stack(window)

    def _end(self, begin: float, end: float) -> float:
        """Of the last window: where the film ends, or where it broke."""
        return min(self._duration, end) if self._duration > begin else end

    def frames(self, times: Sequence[float], *, min_side: int) -> Pixels:
        """As `embed.types.Film.frames`: the last frame that begins by then, else the first."""
        with Track(self._file, self._index) as track:
            paint = _Painter(track, min_side)
            pictures = [paint(shown.frame) for shown in _shown_at(track, times)]
        if not pictures:
            raise _nothing(self._file)
        return np.stack(pictures)


def _is_cut(before: Pixels, after: Pixels) -> bool:
    return float(np.abs(_palette(before) - _palette(after)).mean()) > CUT


def _nothing(file: File) -> CorruptMedia:
    return CorruptMedia(
        f"{file.called} has a picture track of which no frame can be decoded: it is damaged or "
        "empty"
    )


def _sampled(track: Track, per_second: float, paint: _Painter) -> Iterator[Pixels]:
    """What is shown at 0, 1, 2 … / per_second seconds, to the end of the last frame."""
    count, held = 0, None
    for shown in track.frames():
        if held is not None and count / per_second < shown.at - _MOMENT:
            pixels = paint(held.frame)
            while count / per_second < shown.at - _MOMENT:
                yield pixels
                count += 1
        held = shown
    if held is None:
        return
    pixels = paint(held.frame)
    while count == 0 or count / per_second < held.at + held.length - _MOMENT:
        yield pixels
        count += 1


def _shown_at(track: Track, times: Sequence[float]) -> Iterator[Shown]:
    """For each of the ascending times what is shown then; nothing when there is no frame."""
    coming = track.frames()
    held = ahead = next(coming, None)
    for time in times:
        if ahead is not None and time - ahead.at > _FAR:
            coming = _from(track, time)
            held = ahead = next(coming, None)
        while ahead is not None and ahead.at <= time + _MOMENT:
            held, ahead = ahead, next(coming, None)
        if held is None:
            return
        yield held


def _from(track: Track, time: float) -> Iterator[Shown]:
    """Frames from at or before `time`."""
    track.seek(time)
    coming = track.frames()
    first = next(coming, None)
    if first is None or first.at > time + _MOMENT:
        track.rewind()
        return track.frames()
    return chain([first], coming)


class _Painter:
    """Frames to upright RGB pixels, all of the size that the first one settles."""

    def __init__(self, track: Track, min_side: int) -> None:
        self._scaler = VideoReformatter()
        self._stretch = _stretch(track.stream)
        self._min_side = min_side
        self._size: tuple[int, int] | None = None
        self._turns = 0

    def __call__(self, frame: AudioFrame | VideoFrame) -> Pixels:
        assert isinstance(frame, VideoFrame)
        if self._size is None:
            self._turns = round(frame.rotation / 90) % 4
            self._size = self._fitting(frame)
        width, height = self._size
        scaled = self._scaler.reformat(
            frame, width, height, "rgb24", interpolation=Interpolation.AREA, threads=1
        )
        pixels: Pixels = np.ascontiguousarray(np.rot90(scaled.to_ndarray(), self._turns))
        return pixels

    def _fitting(self, frame: VideoFrame) -> tuple[int, int]:
        """Width and height, as stored, once square and small."""
        width, height = (
            frame.width * max(self._stretch, 1.0),
            frame.height / min(self._stretch, 1.0),
        )
        factor = max(1, int(min(width, height)) // self._min_side)
        return max(1, round(width / factor)), max(1, round(height / factor))


def _stretch(stream: Stream) -> float:
    """How much wider than high a pixel is; 1 where the header says nothing that can be."""
    assert isinstance(stream, VideoStream)
    ratio = float(stream.sample_aspect_ratio or 1)
    return ratio if 1 / _MAX_STRETCH <= ratio <= _MAX_STRETCH else 1.0


def _palette(pixels: Pixels) -> Floats:
    """`(n, 3)`: some pixels of a picture, each channel in order, whatever their place."""
    height, width = pixels.shape[:2]
    few = pixels[:: max(1, height // _SKETCH), :: max(1, width // _SKETCH)]
    return np.sort(few.reshape(-1, 3), axis=0).astype(np.float32)
