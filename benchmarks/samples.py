"""One small, whole file of every kind that Crossbind reads, made here: what the fuzzer breaks.

A few frames, a second of sound, two pages. The same bytes in every run.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

RATE = 16_000


def samples() -> dict[str, bytes]:
    """By file name."""
    return {name: make() for name, make in _MAKERS.items()}


def pixels(height: int = 48, width: int = 64, seed: int = 0) -> NDArray[np.uint8]:
    """A gradient with some noise, `(H, W, 3)`."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 200, width)[None, :, None] + np.linspace(0, 40, height)[:, None, None]
    return (ramp + rng.integers(0, 15, (height, width, 3))).astype(np.uint8)


def tone(seconds: float = 1.0, hertz: float = 440.0, channels: int = 1) -> NDArray[np.float32]:
    """`(channels, N)` at RATE."""
    time = np.arange(int(seconds * RATE)) / RATE
    return np.tile(0.4 * np.sin(2 * np.pi * hertz * time), (channels, 1)).astype(np.float32)


def picture(kind: str, **options: object) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(pixels()).save(encoded, kind, **options)
    return encoded.getvalue()


def animation() -> bytes:
    encoded = io.BytesIO()
    first, *rest = [Image.fromarray(pixels(seed=seed)) for seed in range(3)]
    first.save(encoded, "GIF", save_all=True, append_images=rest)
    return encoded.getvalue()


def captioned_jpeg() -> bytes:
    exif = Image.Exif()
    exif[0x010E] = "a harbour at dusk"
    exif[0x0112] = 6
    return picture("JPEG", exif=exif.tobytes(), comment=b"evening")


def sound(container: str, codec: str, form: str, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        layout = "mono" if channels == 1 else "stereo"
        stream = out.add_stream(codec, rate=RATE, layout=layout)
        out.metadata["title"] = "A tone"
        wave = tone(channels=channels)
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout=layout)
        frame.sample_rate = RATE
        resampler = av.AudioResampler(
            format=form, layout=layout, rate=RATE, frame_size=stream.frame_size or 1024
        )
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    return file.getvalue()


def film(container: str, codec: str, audio: str | None = None) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        voice = out.add_stream(audio, rate=RATE, layout="mono") if audio else None
        out.metadata["title"] = "A gradient"
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(pixels(seed=number // 10 * 50), format="rgb24")
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if voice is not None:
            frame = av.AudioFrame.from_ndarray(tone(2.0), format="fltp", layout="mono")
            frame.sample_rate = RATE
            resampler = av.AudioResampler(
                format=voice.format.name, layout="mono", rate=RATE, frame_size=voice.frame_size
            )
            for piece in [*resampler.resample(frame), *resampler.resample(None)]:
                out.mux(voice.encode(piece))
            out.mux(voice.encode(None))
    return file.getvalue()


def pdf() -> bytes:
    """Two pages of words, written by hand: the format's own few objects (ISO 32000)."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R 4 0 R] /Count 2 >>",
        *(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 100] /Contents %d 0 R"
            b" /Resources << /Font << /F 7 0 R >> >> >>" % number
            for number in (5, 6)
        ),
        *(_stream(b"BT /F 12 Tf 10 50 Td (%s) Tj ET" % words) for words in (b"one", b"two")),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
    return out + end % (len(objects) + 1, table)


def _stream(content: bytes) -> bytes:
    packed = zlib.compress(content)
    return b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(packed), packed)


def word_document() -> bytes:
    """A heading, a paragraph and a table: as little of ECMA-376 as a reader needs."""
    space = b'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    heading, quiet, boats = (
        b"<w:p><w:r><w:t>%s</w:t></w:r></w:p>" % words
        for words in (b"A report", b"The harbour was quiet.", b"boats")
    )
    table = b"<w:tbl><w:tr><w:tc>%s</w:tc></w:tr></w:tbl>" % boats
    body = b"<w:document %s><w:body>%s</w:body></w:document>" % (space, heading + quiet + table)
    types = b'<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {"[Content_Types].xml": types, "word/document.xml": body}.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def wav_of_zero_rate() -> bytes:
    """Whole, and says that a second has no samples."""
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 44, b"WAVE", b"fmt ", 16, 1, 1, 0, 0, 2, 16,
                         b"data", 8)  # fmt: skip
    return header + bytes(8)


_MAKERS: dict[str, Callable[[], bytes]] = {
    "a.jpg": captioned_jpeg,
    "progressive.jpg": lambda: picture("JPEG", progressive=True),
    "a.png": lambda: picture("PNG"),
    "a.gif": animation,
    "a.webp": lambda: picture("WEBP"),
    "a.bmp": lambda: picture("BMP"),
    "a.tif": lambda: picture("TIFF", compression="tiff_lzw"),
    "a.jp2": lambda: picture("JPEG2000"),
    "a.avif": lambda: picture("AVIF"),
    "a.wav": lambda: sound("wav", "pcm_s16le", "s16"),
    "zero.wav": wav_of_zero_rate,
    "a.flac": lambda: sound("flac", "flac", "s16"),
    "a.ogg": lambda: sound("ogg", "libopus", "s16", channels=2),
    "a.mp3": lambda: sound("mp3", "libmp3lame", "fltp"),
    "a.m4a": lambda: sound("ipod", "aac", "fltp"),
    "a.mp4": lambda: film("mp4", "libx264", "aac"),
    "silent.mp4": lambda: film("mp4", "mpeg4"),
    "a.mkv": lambda: film("matroska", "libx264", "libopus"),
    "a.webm": lambda: film("webm", "libvpx"),
    "a.avi": lambda: film("avi", "mpeg4", "libmp3lame"),
    "a.ts": lambda: film("mpegts", "mpeg2video", "mp2"),
    "a.pdf": pdf,
    "a.docx": word_document,
    "a.html": lambda: b"<!doctype html><title>Sea</title><p>Waves &amp; <b>wind</b><p>Sand",
    "a.json": lambda: json.dumps([{"name": "boat", "year": 1990}, {"name": "sail"}]).encode(),
    "a.jsonl": lambda: b'{"name": "boat"}\n{"name": "sail", "tags": ["sea"]}\n',
    "a.csv": lambda: b'name,year\nboat,1990\n"a, b",2\n',
    "a.md": "# Naïve\n\nA text of — some — words.\n".encode,
}
