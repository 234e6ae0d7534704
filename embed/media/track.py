"""One track of a sound or a film: its packets and frames in order, its clock made honest.

Headers are claims: how long a track is, is read off its packets. Timestamps are claims too: one
that leaps is taken for a break in the count, and what it belongs to follows what came before.
Seconds count from where the file's earliest track begins, as players count.

It knows nothing of samples or pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import NamedTuple, Self

import av
from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from embed.errors import CorruptMedia, TooLarge
from embed.media.container import OPTIONS, File, films_of, sounds_of

MAX_SECONDS = 24 * 3600.0

_DECODER_THREADS = 1
"""The caller owns threads: it decodes several files at once. And what FFmpeg conceals of a damaged
picture depends on how its own threads fall; with one it is the same every time."""
_MAX_IDLE = 10_000
"""Packets in a row that give no frame, or in all that are broken, before a track is given up."""
_MAX_BREAK = 3600.0
"""Seconds that a timestamp may be ahead of the last frame, as one is after a long still."""
_MAX_RETURN = 10.0
"""Seconds that it may be behind, as packets are where frames are stored out of order."""
_MAX_LEAD = 60.0
"""Seconds by which one track may begin before another."""
_TAIL = 10.0
_TAIL_TOLERANCE = 1.0


class Shown(NamedTuple):
    """A frame, the second it begins at, and for how many it lasts (0 where nothing says)."""

    at: float
    length: float
    frame: AudioFrame | VideoFrame


def duration_of(file: File, index: int) -> float:
    """Seconds from the file's beginning to the end of the track, by its last packets.

    Packets at the end tell whether the header speaks the truth; if not, all are counted.
    Raises CorruptMedia for a track without a packet, TooLarge over `MAX_SECONDS`.
    """
    with Track(file, index) as track:
        end = track.end_by_header()
        if end is None:
            track.rewind()
            end = track.end_by_packets()
    if not end:
        raise CorruptMedia(f"{file.called} has a track without content: it lasts no time")
    if end > MAX_SECONDS:
        raise TooLarge(
            f"{file.called} lasts {end:,.0f} seconds; at most {MAX_SECONDS:,.0f} are read: split it"
        )
    return end


class Track:
    """One stream of a file, read in order; a context, to be closed. Other streams are skipped."""

    def __init__(self, file: File, index: int) -> None:
        """Raises as `File.opened`, here and at each later use."""
        self._file = file
        self._index = index
        self._stack = ExitStack()
        self.rewind()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def rewind(self) -> None:
        """To the start, by opening the file anew: that works where seeking does not."""
        self._stack.close()
        self._container = self._stack.enter_context(self._file.opened())
        self.stream = self._container.streams[self._index]
        self._check_index()
        self._origin = _origin(self._container, self.stream)
        self._fresh = True
        for stream in self._container.streams:
            stream.discard = Discard.all
        self.stream.discard = Discard.default
        self.stream.codec_context.thread_count = _DECODER_THREADS
        self.stream.codec_context.options = OPTIONS

    def seek(self, seconds: float) -> None:
        """To a point from which `seconds` can be decoded, in most files; to the start at worst."""
        stamp = round((max(seconds, 0.0) + self._origin) / _unit(self.stream))
        try:
            self._container.seek(stamp, stream=self.stream)
            self._fresh = False
        except FFmpegError:
            self.rewind()

    def frames(self) -> Iterator[Shown]:
        """Every frame that can be decoded from here on. What is broken is left out."""
        clock = self._clock()
        idle = broken = 0
        for packet in self._packets():
            frames = _decoded(self.stream, packet)
            idle = 0 if frames else idle + 1
            broken += frames is None
            if max(idle, broken) > _MAX_IDLE:
                return
            for frame in frames or []:
                length = self._seconds(frame)
                yield Shown(clock.at(frame.pts, length), length, frame)

    def end_by_header(self) -> float | None:
        """Where the track ends, if packets stand where the header says that it does."""
        claimed = self._claimed()
        if not 0 < claimed <= MAX_SECONDS:
            return None
        self.seek(claimed - _TAIL)
        end = self.end_by_packets()
        return end if end is not None and end >= claimed - _TAIL_TOLERANCE else None

    def end_by_packets(self) -> float | None:
        """Where the last packet from here on ends; None when there is none."""
        clock, unit, end = self._clock(), _unit(self.stream), None
        for packet in self._packets():
            if packet is None or packet.size == 0:
                continue
            length = _credible(packet.duration, unit) or self._usual()
            end = max(end or 0.0, clock.at(packet.pts, length) + length)
        return end

    def _check_index(self) -> None:
        """Before anything is looked up in an index that a few forged bytes can make endless."""
        packets, size = len(self.stream.index_entries), self._container.size
        if packets > size:
            raise CorruptMedia(
                f"{self._file.called} claims {packets:,} packets and has {size:,} bytes: its "
                "header is damaged"
            )

    def _packets(self) -> Iterator[Packet[Stream] | None]:
        """Packets up to the end or to where the file breaks, then None, which flushes."""
        empty = 0
        try:
            for packet in self._container.demux(self.stream):
                empty = 0 if packet.size else empty + 1
                if empty > _MAX_IDLE:
                    break
                yield packet if packet.size else None
        except FFmpegError:
            yield None

    def _clock(self) -> _Clock:
        return _Clock(self._origin, _unit(self.stream), 0.0 if self._fresh else None)

    def _claimed(self) -> float:
        if self.stream.duration is not None:
            start = self.stream.start_time or 0
            return (start + self.stream.duration) * _unit(self.stream) - self._origin
        return (self._container.duration or 0) / av.time_base

    def _seconds(self, frame: AudioFrame | VideoFrame) -> float:
        if isinstance(frame, AudioFrame):
            return frame.samples / frame.sample_rate
        return _credible(frame.duration, _unit(self.stream)) or self._usual()

    def _usual(self) -> float:
        """Seconds of one frame by the header's frame rate; 0 where it has none."""
        rate = self.stream.average_rate if isinstance(self.stream, VideoStream) else None
        return float(1 / rate) if rate else 0.0


class _Clock:
    """Timestamps to seconds that never leap: see the top of the file."""

    def __init__(self, origin: float, unit: float, expected: float | None) -> None:
        self._origin = origin
        self._unit = unit
        self._expected = expected

    def at(self, stamp: int | None, length: float) -> float:
        """When something begins that lasts `length` seconds."""
        expected = self._expected
        at = expected or 0.0
        if stamp is not None:
            at = stamp * self._unit - self._origin
            if expected is not None and not -_MAX_RETURN <= at - expected <= _MAX_BREAK:
                self._origin += at - expected
                at = expected
        self._expected = max(at + length, expected or 0.0)
        return at


def _origin(container: InputContainer, stream: Stream) -> float:
    """Where the file begins by its own clock, in seconds."""
    streams = [stream, *films_of(container), *sounds_of(container)]
    starts = [(s.start_time or 0) * _unit(s) for s in streams]
    return min(start for start in starts if starts[0] - _MAX_LEAD <= start <= starts[0])


def _unit(stream: Stream) -> float:
    """Seconds that timestamps count in."""
    return float(stream.time_base or 1 / av.time_base)


def _credible(duration: int | None, unit: float) -> float:
    """Seconds; 0 for one that no packet has: a negative one may have become a huge one."""
    seconds = (duration or 0) * unit
    return seconds if 0 < seconds <= _MAX_BREAK else 0.0


def _decoded(stream: Stream, packet: Packet[Stream] | None) -> list[AudioFrame | VideoFrame] | None:
    """None when the packet is broken."""
    try:
        return list(stream.decode(packet))  # type: ignore[attr-defined]
    except MemoryError:
        raise
    except FFmpegError:
        return None
