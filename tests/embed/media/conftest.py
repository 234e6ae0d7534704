"""Sounds and films for the tests of this folder, encoded on the spot."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from fractions import Fraction

import av
import numpy as np
import pytest
from numpy.typing import NDArray

MUXERS = {
    "wav": "wav",
    "flac": "flac",
    "ogg": "ogg",
    "mp3": "mp3",
    "m4a": "ipod",
    "mp4": "mp4",
    "mov": "mov",
    "mkv": "matroska",
    "webm": "webm",
    "avi": "avi",
    "ts": "mpegts",
    "mpg": "mpeg",
    "aiff": "aiff",
}


def _sound(
    samples: NDArray[np.generic],
    kind: str = "wav",
    *,
    rate: int = 44_100,
    codec: str = "pcm_s16le",
    form: str = "s16p",
    layout: str = "mono",
    tags: dict[str, str] | None = None,
) -> bytes:
    """samples: `(C, N)` of the type that `form` names."""
    file = io.BytesIO()
    with av.open(file, "w", format=MUXERS[kind]) as container:
        container.metadata.update(tags or {})
        stream = container.add_stream(codec, rate=rate, layout=layout)
        _encode_sound(container, stream, samples, rate, form, layout)
    return file.getvalue()


def _encode_sound(container, stream, samples, rate, form, layout) -> None:
    block = 1 << 16
    for start in range(0, samples.shape[1], block):
        part = np.ascontiguousarray(samples[:, start : start + block])
        if not form.endswith("p"):
            part = np.ascontiguousarray(part.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(part, format=form, layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _film(
    frames: Iterable[NDArray[np.uint8]],
    kind: str = "mp4",
    *,
    codec: str = "mpeg4",
    form: str = "yuv420p",
    per_second: int = 10,
    stamps: Iterable[int] | None = None,
    rotation: int = 0,
    aspect: Fraction | None = None,
    sound: NDArray[np.int16] | None = None,
    tags: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
) -> bytes:
    """frames: `(H, W, 3)` each; stamps: when each is shown, in frames, by default 0, 1, 2 …"""
    frames = list(frames)
    file = io.BytesIO()
    with av.open(file, "w", format=MUXERS[kind]) as container:
        container.metadata.update(tags or {})
        stream = container.add_stream(codec, rate=per_second, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = form
        if codec in ("mpeg4", "mpeg2video"):
            stream.bit_rate = 4_000_000
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        track = (
            container.add_stream("aac", rate=16_000, layout="mono") if sound is not None else None
        )
        for stamp, pixels in zip(stamps or range(len(frames)), frames, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, per_second)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if track is not None:
            floats = sound.astype(np.float32)[None] / 32768
            _encode_sound(container, track, floats, 16_000, "fltp", "mono")
    return file.getvalue()


@pytest.fixture(scope="session")
def make_sound() -> Callable[..., bytes]:
    return _sound


@pytest.fixture(scope="session")
def make_film() -> Callable[..., bytes]:
    return _film
