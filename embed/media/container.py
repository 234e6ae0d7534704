"""Sounds and films as files: opened so that nothing but the one file is ever read.

FFmpeg reads, through PyAV, and sees only the open file handed to it: the demuxer is named by what
was sniffed, never guessed; no protocol is allowed; whatever asks for a second file is refused.
Bytes read are counted, and their number is bounded. What FFmpeg would log, PyAV keeps quiet.

It knows which tracks there are, and nothing of what is on them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, NoReturn

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.stream import VideoStream

from embed.errors import CorruptMedia, CrossbindError, Forbidden, TooLarge, UnsupportedMedia
from embed.media.source import open_regular

MAX_BYTES = 32 * 2**30
MAX_PIXELS = 40_000_000
"""Of one frame: 8K passes. Decoders keep up to seventeen of them."""
MAX_CHANNELS = 64
MIN_RATE = 100
"""Samples a second. Below, resampling multiplies what little there is without end."""
MAX_RATE = 768_000
SLACK = 2**28
"""Bytes that may be read of a file beyond sixteen times its size, while jumping about in it."""

DEMUXERS = {
    "audio/wav": "wav",
    "audio/flac": "flac",
    "audio/aiff": "aiff",
    "audio/ogg": "ogg",
    "audio/mpeg": "mp3",
    "audio/mp4": "mov",
    "audio/webm": "matroska",
    "audio/matroska": "matroska",
    "video/ogg": "ogg",
    "video/mp4": "mov",
    "video/quicktime": "mov",
    "video/webm": "matroska",
    "video/matroska": "matroska",
    "video/x-msvideo": "avi",
    "video/mpeg": "mpeg",
    "video/mp2t": "mpegts",
}

_ELEMENTARY = b"\0\0\1\xb3"
"""How a bare MPEG video begins, which shares its media type with those that carry sound."""
_BUFFER = 2**16

OPTIONS = {
    "protocol_whitelist": "",
    "enable_drefs": "0",
    "max_pixels": str(MAX_PIXELS),
    "max_samples": str(2**20),
}


@dataclass(frozen=True, slots=True)
class File:
    """A sound or a film that can be opened again and again. `media_type` is what was sniffed."""

    source: Path | bytes
    media_type: str
    called: str

    @contextmanager
    def opened(self) -> Iterator[InputContainer]:
        """Its container, header read; closed when done.

        Foreign errors inside become CorruptMedia or TooLarge. Raises UnsupportedMedia for a type
        that is not listed, and what `open_regular` raises.
        """
        demuxer = self._demuxer()
        with self._bytes() as file, refusing(self.called):
            if file.read(4) == _ELEMENTARY:
                demuxer = "mpegvideo"
            with av.open(
                _Metered(file, self.called),
                "r",
                format=demuxer,
                options=OPTIONS,
                metadata_errors="replace",
                buffer_size=_BUFFER,
                io_open=self._refuse,
            ) as container:
                yield container

    def _demuxer(self) -> str:
        if self.media_type not in DEMUXERS:
            raise UnsupportedMedia(
                f"{self.called} is {self.media_type}; sounds and films are read from "
                f"{', '.join(sorted(DEMUXERS))}"
            )
        return DEMUXERS[self.media_type]

    @contextmanager
    def _bytes(self) -> Iterator[IO[bytes]]:
        if isinstance(self.source, bytes):
            yield BytesIO(self.source)
        else:
            with open_regular(self.source, self.called) as file:
                yield file

    def _refuse(self, url: str, *_: object) -> NoReturn:
        raise Forbidden(f"{self.called} refers to another file, {url!r}, which is not read")


@contextmanager
def refusing(called: str) -> Iterator[None]:
    """The one place where what FFmpeg and PyAV raise becomes ours."""
    try:
        yield
    except CrossbindError:
        raise
    except MemoryError as error:
        raise TooLarge(f"{called} needs more memory than there is") from error
    except Exception as error:
        if isinstance(error, OSError) and not isinstance(error, FFmpegError):
            raise  # the disk's, not the decoder's: `open_regular` knows what to say
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise CorruptMedia(
            f"{called} is no sound or film that can be decoded: {reason}; it is damaged, "
            "incomplete or of a rare kind: save it anew, for example as FLAC or MP4"
        ) from error


class _Metered:
    """A file of which a bounded number of bytes may be read, so that no demuxer runs in circles."""

    def __init__(self, file: IO[bytes], called: str) -> None:
        self._file = file
        self._called = called
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if size > MAX_BYTES:
            raise TooLarge(f"{called} has {size:,} bytes; at most {MAX_BYTES:,} are read: split it")
        self._left = 16 * size + SLACK

    def read(self, count: int) -> bytes:
        data = self._file.read(count)
        self._left -= len(data)
        if self._left < 0:
            raise CorruptMedia(f"{self._called} leads its reader in circles: it is damaged")
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def films_of(container: InputContainer) -> list[VideoStream]:
    """Its tracks of moving pictures that can be decoded; cover pictures are none."""
    cover = Disposition.attached_pic | Disposition.timed_thumbnails
    return [s for s in container.streams.video if s.codec_context and not s.disposition & cover]


def sounds_of(container: InputContainer) -> list[AudioStream]:
    """Its sound tracks that can be decoded."""
    return [s for s in container.streams.audio if s.codec_context]
