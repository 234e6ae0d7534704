"""What keeps FFmpeg inside the one file that it was handed."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from embed.errors import CorruptMedia, CrossbindError, Forbidden, NotFound, UnsupportedMedia
from embed.media import container
from embed.media.av_open import open_sound_or_film
from embed.media.container import DEMUXERS, File
from embed.types import Modality, TimeSpan

Make = Callable[..., bytes]


@pytest.fixture
def secret(make_sound: Make, tmp_path: Path) -> Path:
    path = tmp_path / "secret.wav"
    path.write_bytes(make_sound(np.full((1, 8_000), 30_000, np.int16), rate=8_000))
    return path


def heard(data: bytes, media_type: str) -> float:
    """The loudest sample of everything that can be heard in the data."""
    found = open_sound_or_film(data, media_type=media_type, called="it")
    reader = found[Modality.AUDIO](0).data
    windows = reader.windows([TimeSpan(0, 100)], rate=8_000)  # type: ignore[union-attr]
    return max(float(np.abs(window).max()) for window in windows)


@pytest.mark.parametrize("media_type", sorted(DEMUXERS))
@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{path}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{path}'\n",
        "<?xml version='1.0'?><MPD><Period><BaseURL>{path}</BaseURL></Period></MPD>",
        "v=0\nm=audio 5004 RTP/AVP 0\nc=IN IP4 127.0.0.1\n",
    ],
)
def test_a_playlist_dressed_as_a_medium_reads_no_other_file(
    secret: Path, playlist: str, media_type: str
) -> None:
    with pytest.raises(CrossbindError):
        heard(playlist.format(path=secret).encode() * 20, media_type)


def with_reference(data: bytes, path: Path) -> bytes:
    """A QuickTime file whose sound is said to lie in another file (QTFF, data references)."""
    name = str(path).encode()
    alias = bytes(10) + bytes(28) + bytes(12) + bytes(64) + bytes(16)
    alias += struct.pack(">HH", 1, 1) + bytes(16)
    for kind, text in ((2, name), (18, name)):
        alias += struct.pack(">HH", kind, len(text)) + text + bytes(len(text) % 2)
    alias += struct.pack(">HH", 0xFFFF, 0)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    start = data.rindex(b"dref") - 4
    size = struct.unpack_from(">I", data, start)[0]
    box = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
    longer = bytearray(data[:start] + box + data[start + size :])
    for parent in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        at = bytes(longer[:start]).rindex(parent) - 4
        struct.pack_into(">I", longer, at, struct.unpack_from(">I", data, at)[0] + len(box) - size)
    return bytes(longer)


def test_a_film_that_refers_to_another_file_does_not_get_it(make_sound: Make, secret: Path) -> None:
    quiet = make_sound(np.full((1, 8_000), 300, np.int16), "mov", rate=8_000)
    referring = with_reference(quiet, secret)
    assert str(secret).encode() in referring
    with pytest.raises(CorruptMedia):
        heard(referring, "video/quicktime")


def test_even_when_asked_to_follow_it_the_file_is_not_opened(
    make_sound: Make, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second lock: with the first one taken off, opening is what is refused."""
    quiet = make_sound(np.full((1, 8_000), 300, np.int16), "mov", rate=8_000)
    referring = with_reference(quiet, secret)
    monkeypatch.setitem(container.OPTIONS, "enable_drefs", "1")
    with pytest.raises(Forbidden, match=r"another file, .*secret\.wav"):
        heard(referring, "video/quicktime")


def test_ffmpeg_says_nothing(make_sound: Make, capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(make_sound(np.zeros((1, 90_000), np.int16), "mp3", codec="libmp3lame"))
    data[5_000:6_000] = bytes(1_000)
    heard(bytes(data), "audio/mpeg")
    assert capfd.readouterr() == ("", "")
    assert av.logging.get_level() is None


def test_a_demuxer_that_reads_in_circles_is_stopped(
    make_sound: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_sound(np.zeros((1, 200_000), np.int16))
    monkeypatch.setattr(container, "SLACK", -16 * len(data) + 100_000)
    with pytest.raises(CorruptMedia, match="in circles"):
        heard(data, "audio/wav")


def test_a_path_must_lead_to_a_file(tmp_path: Path) -> None:
    with pytest.raises(NotFound), File(tmp_path / "no.wav", "audio/wav", "it").opened():
        pass
    with pytest.raises(UnsupportedMedia), File(tmp_path, "audio/wav", "it").opened():
        pass
