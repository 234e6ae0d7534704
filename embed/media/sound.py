"""Sounds: a track's samples, streamed, one channel, at any rate, the same every time.

A window is decoded at the sound's own rate with a little to spare on both sides and then resampled
on one grid for the whole sound, so that windows side by side join without a seam and overlapping
ones agree. Encoder delay and padding are dropped where the file declares them, as FFmpeg does.

Samples stand where their timestamps say, to a tenth of a second, and within that where counting
says; what a gap leaves out is silence. It knows nothing of containers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from embed.errors import CorruptMedia, TooLarge
from embed.media.container import MAX_CHANNELS, MAX_RATE, MIN_RATE, File
from embed.media.resample import padding, resample
from embed.media.track import Track, duration_of
from embed.types import Downmix, Floats, TimeSpan

_GAP = 0.1
"""Seconds between the count of samples and their timestamp up to which the count is right."""
_FAR = 20.0
"""Seconds that are rather jumped over than decoded."""
_BLOCK = 16_384
_PREROLL = 1.0
"""Seconds decoded before a jump's goal, for codecs that need to warm up (Opus: 80 ms)."""


class SoundFile:
    """The sound track `index` of a file; implements `embed.types.Sound`."""

    def __init__(self, file: File, index: int, rate: int, channels: int) -> None:
        """rate, channels: as the header has them. Raises CorruptMedia, TooLarge."""
        if not MIN_RATE <= rate <= MAX_RATE:
            raise CorruptMedia(
                f"{file.called} claims {rate:,} samples a second; {MIN_RATE} to {MAX_RATE:,} can be"
            )
        if channels > MAX_CHANNELS:
            raise TooLarge(
                f"{file.called} has {channels} channels; at most {MAX_CHANNELS} are read: "
                "mix it down"
            )
        self._file = file
        self._index = index
        self._rate = rate
        self._duration = duration_of(file, index)

    @property
    def duration(self) -> float:
        return self._duration

    @property
    def rate(self) -> int:
        return self._rate

    def windows(
        self, spans: Sequence[TimeSpan], *, rate: int, downmix: Downmix = Downmix.MEAN
    ) -> Iterator[Floats]:
        """As `embed.types.Sound.windows`; spans past the end have no window, and end it.

        A window begins within half a sample of its span. Raises CorruptMedia when nothing at all
        can be decoded.
        """
        with Track(self._file, self._index) as track:
            tape = _Tape(track, self._rate, downmix)
            for span in spans:
                window = self._window(tape, span, rate)
                if not window.size:
                    break
                yield window
            if tape.reached <= 0:
                raise CorruptMedia(
                    f"{self._file.called} has a sound track of which nothing can be decoded: it "
                    "is damaged or empty"
                )

    def _window(self, tape: _Tape, span: TimeSpan, rate: int) -> Floats:
        """Cut on the grid of the resampled sound: multiples of `step` are whole at both rates."""
        first = round(span.start * rate)
        count = max(1, round((span.end - span.start) * rate))
        spare = padding(self._rate, rate)
        start = max(0, first * self._rate // rate // spare * spare - spare)
        stop = -(-(first + count) * self._rate // rate) + spare
        samples = tape.read(start, stop)
        if not samples.size:
            return samples
        skip = first - start * rate // self._rate
        return np.clip(resample(samples, self._rate, rate)[skip : skip + count], -1.0, 1.0)


class _Block(NamedTuple):
    start: int
    samples: Floats

    @property
    def stop(self) -> int:
        return self.start + len(self.samples)


class _Tape:
    """Samples by number, read forwards, of which only what may be asked for again is kept."""

    def __init__(self, track: Track, rate: int, downmix: Downmix) -> None:
        self._track = track
        self._rate = rate
        self._downmix = downmix
        self._kept: deque[_Block] = deque()
        self._coming = self._blocks()
        self.reached = 0

    def read(self, start: int, stop: int) -> Floats:
        """Samples `[start, stop)`, fewer where the sound ends; starts never go back."""
        if start - self.reached > _FAR * self._rate:
            self._jump(start)
        while self._kept and self._kept[0].stop <= start:
            self._kept.popleft()
        while self.reached < stop and (block := next(self._coming, None)) is not None:
            self.reached = block.stop
            if block.stop > start:
                self._kept.append(block)
        return self._joined(start, min(stop, self.reached))

    def _joined(self, start: int, stop: int) -> Floats:
        samples = np.zeros(max(0, stop - start), np.float32)
        for block in self._kept:
            low, high = max(start, block.start), min(stop, block.stop)
            if low < high:
                samples[low - start : high - start] = block.samples[
                    low - block.start : high - block.start
                ]
        return samples

    def _jump(self, start: int) -> None:
        """Goes on shortly before `start`, or decodes from the beginning where that fails."""
        self._track.seek(start / self._rate - _PREROLL)
        self._coming = self._blocks()
        first = next(self._coming, None)
        if first is None or first.start > start:
            self._track.rewind()
            self._coming = self._blocks()
        else:
            self.reached = first.stop
            self._kept.append(first)

    def _blocks(self) -> Iterator[_Block]:
        """Runs of frames without a gap, joined: many are shorter than what handling one costs."""
        run: _Run | None = None
        for at, _, frame in self._track.frames():
            assert isinstance(frame, AudioFrame)
            start = round(at * self._rate)
            if run is None or start - run.coming > _GAP * self._rate or not run.fits(frame):
                if run is not None:
                    yield from run.taken(None)
                    start = max(start, run.stop)
                run = _Run(start, frame, self._rate, self._downmix)
            yield from run.taken(frame)
        if run is not None:
            yield from run.taken(None)


class _Run:
    """Frames of one kind that follow each other, to blocks of one channel at one rate."""

    def __init__(self, start: int, frame: AudioFrame, rate: int, downmix: Downmix) -> None:
        # Packed, because PyAV 18 reads past the end of what holds the planes of eight channels.
        self._resampler = AudioResampler(format="flt", rate=rate, frame_size=_BLOCK)
        self._kind = _kind(frame)
        self._speed = rate / frame.sample_rate
        self._mean = downmix is Downmix.MEAN
        self.coming: float = start
        self.stop = start

    def fits(self, frame: AudioFrame) -> bool:
        return _kind(frame) == self._kind

    def taken(self, frame: AudioFrame | None) -> Iterator[_Block]:
        """What this frame fills; what is left, for None."""
        self.coming += frame.samples * self._speed if frame is not None else 0
        for block in self._resampler.resample(frame):
            start, self.stop = self.stop, self.stop + block.samples
            yield _Block(start, self._one_channel(block))

    def _one_channel(self, block: AudioFrame) -> Floats:
        channels = block.to_ndarray().reshape(block.samples, -1)
        mono = channels.mean(axis=1, dtype=np.float32) if self._mean else channels[:, 0]
        finite: Floats = np.where(np.isfinite(mono), mono, np.float32(0)).astype(np.float32)
        return finite


def _kind(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate
