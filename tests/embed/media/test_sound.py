from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from embed.errors import CorruptMedia, TooLarge, UnsupportedMedia
from embed.media import track
from embed.media.av_open import open_sound_or_film
from embed.media.resample import resample
from embed.media.sniff import media_type
from embed.media.track import _credible
from embed.types import Downmix, Media, Modality, Sound, TimeSpan

Make = Callable[..., bytes]
ALL = [TimeSpan(0.0, 1e4)]


def opened(source: bytes | Path) -> Mapping[Modality, Callable[[int], Media]]:
    head = source if isinstance(source, bytes) else source.read_bytes()
    return open_sound_or_film(source, media_type=media_type(head[:4096]), called="it")


def sound(source: bytes | Path) -> Sound:
    return opened(source)[Modality.AUDIO](0).data  # type: ignore[return-value]


def read_all(found: Mapping[Modality, Callable[[int], Media]]) -> None:
    for make in found.values():
        list(make(0).data.windows(ALL, rate=8_000))  # type: ignore[union-attr]


def chirp(seconds: float, rate: int = 44_100) -> NDArray[np.float32]:
    """Rising, so that a sample in the wrong place shows."""
    t = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * (200 * t + 40 * t * t))).astype(np.float32)


def int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.atleast_2d((samples * 32767).astype(np.int16))


CODECS = [
    ("wav", "pcm_s16le", "s16p", 0.0001),
    ("flac", "flac", "s16", 0.0001),
    ("aiff", "pcm_s16be", "s16p", 0.0001),
    ("m4a", "alac", "s16p", 0.0001),
    ("m4a", "aac", "fltp", 0.03),
    ("mp3", "libmp3lame", "fltp", 0.05),
    ("ogg", "flac", "s16", 0.0001),
    ("mkv", "pcm_s16le", "s16p", 0.0001),
]


@pytest.mark.parametrize(("kind", "codec", "form", "tolerance"), CODECS)
def test_every_kind_gives_the_samples_that_went_in(
    make_sound: Make, kind: str, codec: str, form: str, tolerance: float
) -> None:
    samples = chirp(3)
    given = samples[None] if form == "fltp" else int16(samples)
    reader = sound(make_sound(given, kind, codec=codec, form=form))
    (whole,) = reader.windows(ALL, rate=44_100)
    assert reader.rate == 44_100
    assert reader.duration == pytest.approx(3, abs=0.05)
    assert whole.dtype == np.float32
    assert len(whole) == pytest.approx(len(samples), abs=1_200)
    middle = slice(44_100, 88_200)
    assert np.abs(whole[middle] - samples[middle]).mean() < tolerance


def test_windows_are_cuts_of_the_whole_resampled_sound(make_sound: Make) -> None:
    samples = chirp(20)
    data = make_sound(int16(samples), "flac", codec="flac", form="s16")
    whole = resample(int16(samples)[0] / np.float32(32768), 44_100, 16_000)
    spans = [TimeSpan(k * 2.3, k * 2.3 + 5) for k in range(9)]
    windows = list(sound(data).windows(spans, rate=16_000))
    assert len(windows) == len(spans)
    for span, window in zip(spans, windows, strict=True):
        start = round(span.start * 16_000)
        assert len(window) == min(80_000, 320_000 - start)
        np.testing.assert_allclose(window, whole[start : start + len(window)], atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "codec", "form", "tolerance"),
    [
        ("flac", "flac", "s16", 0.0),
        ("wav", "pcm_s16le", "s16p", 0.0),
        ("m4a", "aac", "fltp", 1e-4),
        ("mp3", "libmp3lame", "fltp", 1e-4),
    ],
)
def test_jumps_land_on_the_very_sample(
    make_sound: Make, kind: str, codec: str, form: str, tolerance: float
) -> None:
    samples = chirp(70, 16_000) * 0.9
    given = samples[None] if form == "fltp" else int16(samples)
    reader = sound(make_sound(given, kind, codec=codec, form=form, rate=16_000))
    (whole,) = reader.windows(ALL, rate=16_000)
    spans = [TimeSpan(1, 2), TimeSpan(40, 41), TimeSpan(65.5, 66)]
    for span, window in zip(spans, reader.windows(spans, rate=16_000), strict=True):
        start = round(span.start * 16_000)
        np.testing.assert_allclose(window, whole[start : start + len(window)], atol=tolerance)


def test_the_same_bytes_give_the_same_samples_from_memory_and_from_disk(
    make_sound: Make, tmp_path: Path
) -> None:
    data = make_sound(chirp(5)[None], "mp3", codec="libmp3lame", form="fltp")
    path = tmp_path / "it.mp3"
    path.write_bytes(data)
    spans = [TimeSpan(0, 2), TimeSpan(1, 3), TimeSpan(4, 9)]
    for one, other in zip(
        sound(data).windows(spans, rate=8_000), sound(path).windows(spans, rate=8_000), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("codec", "form", "full"),
    [
        ("pcm_u8", "u8p", 255),
        ("pcm_s16le", "s16p", 32767),
        ("pcm_s24le", "s32p", 2**31 - 1),
        ("pcm_s32le", "s32p", 2**31 - 1),
        ("pcm_f32le", "fltp", 1.0),
        ("pcm_f64le", "dblp", 1.0),
    ],
)
def test_full_scale_is_one_and_silence_is_zero(
    make_sound: Make, codec: str, form: str, full: float
) -> None:
    kind = {"u8p": np.uint8, "s16p": np.int16, "s32p": np.int32, "fltp": np.float32}.get(
        form, np.float64
    )
    zero = 128 if form == "u8p" else 0
    samples = np.concatenate([np.full((1, 500), full), np.full((1, 500), zero)], 1).astype(kind)
    (whole,) = sound(make_sound(samples, codec=codec, form=form)).windows(ALL, rate=44_100)
    np.testing.assert_allclose(whole[:500], 1.0, atol=0.01)
    np.testing.assert_array_equal(whole[500:], 0.0)


def test_what_is_no_number_or_beyond_one_is_mended(make_sound: Make) -> None:
    samples = np.array([[np.nan, np.inf, -np.inf, 7.5, -7.5, 0.25]], np.float32)
    data = make_sound(samples, codec="pcm_f32le", form="fltp")
    (whole,) = sound(data).windows(ALL, rate=44_100)
    np.testing.assert_array_equal(whole, np.array([0, 0, 0, 1, -1, 0.25], np.float32))


@pytest.mark.parametrize(("layout", "count"), [("stereo", 2), ("5.1", 6), ("7.1", 8)])
def test_channels_become_their_mean_or_the_first(make_sound: Make, layout: str, count: int) -> None:
    levels = np.linspace(0.1, 0.8, count, dtype=np.float32)
    samples = int16(np.tile(levels[:, None], (1, 2_000)))
    reader = sound(make_sound(samples, form="s16", layout=layout))
    (mean,) = reader.windows(ALL, rate=44_100, downmix=Downmix.MEAN)
    (first,) = reader.windows(ALL, rate=44_100, downmix=Downmix.FIRST)
    np.testing.assert_allclose(mean, levels.mean(), atol=1e-4)
    np.testing.assert_allclose(first, levels[0], atol=1e-4)


def test_eight_planes_are_read_within_their_bounds(make_sound: Make) -> None:
    """PyAV's own way to them reads past the end and takes the process down."""
    samples = int16(np.tile(chirp(1), (8, 1)))
    data = make_sound(samples, "m4a", codec="aac", form="s16", layout="7.1")
    (whole,) = sound(data).windows(ALL, rate=44_100)
    assert whole.std() > 0.2


@pytest.mark.parametrize("rate", [8_000, 44_100, 96_000, 192_000])
def test_one_sample_is_a_sound(make_sound: Make, rate: int) -> None:
    reader = sound(make_sound(np.array([[16384]], np.int16), rate=rate))
    assert reader.duration == pytest.approx(1 / rate, rel=1e-3)
    (whole,) = reader.windows([TimeSpan(0.0, reader.duration)], rate=16_000)
    assert len(whole) == max(1, round(16_000 / rate))
    np.testing.assert_allclose(whole, 0.5, atol=1e-3)


def test_spans_past_the_end_have_no_window_and_none_is_empty(make_sound: Make) -> None:
    reader = sound(make_sound(int16(chirp(1))))
    spans = [TimeSpan(0, 0.5), TimeSpan(0.9, 5), TimeSpan(2, 3), TimeSpan(50, 60)]
    windows = list(reader.windows(spans, rate=16_000))
    assert [len(window) for window in windows] == [8_000, 1_600]


def test_a_sound_without_samples_is_corrupt(make_sound: Make) -> None:
    empty = make_sound(int16(chirp(0.1)))[:44]
    with pytest.raises(CorruptMedia):
        sound(empty)


@pytest.mark.parametrize("rate", [1, 99, 768_001])
def test_a_rate_that_cannot_be_is_refused(make_sound: Make, rate: int) -> None:
    data = bytearray(make_sound(int16(chirp(0.1))))
    data[24:28] = struct.pack("<I", rate)
    with pytest.raises(CorruptMedia, match="100 to 768,000 can be"):
        sound(bytes(data))


def test_a_header_that_promises_too_much_is_not_believed(make_sound: Make) -> None:
    data = bytearray(make_sound(int16(chirp(2))))
    at = data.index(b"data")
    data[at + 4 : at + 8] = struct.pack("<I", 2**31)
    assert sound(bytes(data)).duration == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize(
    ("kind", "codec", "form"), [("flac", "flac", "s16"), ("mp3", "mp3", "s16p")]
)
def test_a_broken_tail_ends_the_sound(make_sound: Make, kind: str, codec: str, form: str) -> None:
    data = make_sound(int16(chirp(10)), kind, codec=codec, form=form)
    reader = sound(data[: len(data) // 2])
    assert 2 < reader.duration < 8
    windows = list(reader.windows([TimeSpan(k, k + 1) for k in range(10)], rate=8_000))
    assert 2 <= len(windows) < 9
    assert all(window.size for window in windows)


def test_damage_in_the_middle_costs_no_more_than_the_middle(make_sound: Make) -> None:
    data = bytearray(make_sound(chirp(10)[None], "mp3", codec="libmp3lame", form="fltp"))
    middle = len(data) // 2
    data[middle : middle + 2_000] = bytes(2_000)
    windows = list(sound(bytes(data)).windows([TimeSpan(k, k + 1) for k in range(10)], rate=8_000))
    assert len(windows) == 10
    assert windows[9].std() > 0.2


def test_a_long_sound_is_never_held_whole(make_sound: Make) -> None:
    """Three hours at 8 kHz would be 345 MB; a window is 320 kB."""
    data = make_sound(
        np.zeros((1, 8_000 * 3 * 3_600), np.int16), "flac", codec="flac", form="s16", rate=8_000
    )
    reader = sound(data)
    assert reader.duration == pytest.approx(10_800)
    spans = [TimeSpan(k * 1_000.0, k * 1_000.0 + 10) for k in range(11)]
    assert [len(window) for window in reader.windows(spans, rate=8_000)] == [80_000] * 11
    lengths = [len(w) for w in islice(reader.windows([TimeSpan(0, 10)] * 9, rate=8_000), 5)]
    assert lengths == [80_000] * 5


def test_too_long_a_sound_is_refused(make_sound: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(track, "MAX_SECONDS", 1.0)
    with pytest.raises(TooLarge, match="lasts 2 seconds; at most 1 are read"):
        sound(make_sound(int16(chirp(2))))


def test_tags_are_text(make_sound: Make) -> None:
    tags = {"title": "Rooster", "artist": "A. Farmer", "comment": "at dawn", "encoder": "x"}
    data = make_sound(int16(chirp(1)), "flac", codec="flac", form="s16", tags=tags)
    found = opened(data)
    assert list(found) == [Modality.AUDIO, Modality.TEXT]
    assert found[Modality.TEXT](0).data == "Rooster\nArtist: A. Farmer\nat dawn"


@pytest.mark.parametrize(
    ("kind", "codec", "form"),
    [("mp3", "mp3", "s16p"), ("m4a", "alac", "s16p"), ("ogg", "flac", "s16")],
)
def test_tags_are_read_of_every_kind(make_sound: Make, kind: str, codec: str, form: str) -> None:
    data = make_sound(int16(chirp(1)), kind, codec=codec, form=form, tags={"title": "Ça ira"})
    assert opened(data)[Modality.TEXT](0).data == "Ça ira"


def test_no_tags_no_text(make_sound: Make) -> None:
    assert list(opened(make_sound(int16(chirp(1))))) == [Modality.AUDIO]


def test_an_unlisted_type_is_refused() -> None:
    with pytest.raises(UnsupportedMedia, match=r"it is audio/x-mod; .*audio/flac"):
        open_sound_or_film(b"x" * 100, media_type="audio/x-mod", called="it")


@pytest.mark.parametrize("kind", ["audio/wav", "audio/mpeg", "video/mp4", "video/mp2t"])
def test_noise_is_corrupt(kind: str) -> None:
    noise = np.random.default_rng(3).integers(0, 256, 9_000, np.uint8).tobytes()
    with pytest.raises(CorruptMedia):
        read_all(open_sound_or_film(noise, media_type=kind, called="it"))


@pytest.mark.parametrize(("duration", "seconds"), [(512, 512 / 22050), (0, 0), (2**32 - 192, 0)])
def test_a_packet_that_claims_hours_says_nothing(duration: int, seconds: float) -> None:
    """FFmpeg gives the last packet of some Vorbis files a negative duration as an unsigned one."""
    assert _credible(duration, 1 / 22050) == seconds
