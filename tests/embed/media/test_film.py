from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from embed.errors import CorruptMedia, TooLarge
from embed.media.av_open import open_sound_or_film
from embed.media.sniff import media_type
from embed.types import Film, Media, Modality, TimeSpan

Make = Callable[..., bytes]
Picture = NDArray[np.uint8]


def opened(source: bytes | Path) -> Mapping[Modality, Callable[[int], Media]]:
    data = source if isinstance(source, bytes) else source.read_bytes()
    return open_sound_or_film(source, media_type=media_type(data[:4096]), called="it")


def film(source: bytes | Path) -> Film:
    return opened(source)[Modality.VIDEO](0).data  # type: ignore[return-value]


def plain(colour: tuple[int, int, int], height: int = 48, width: int = 64) -> Picture:
    return np.full((height, width, 3), colour, np.uint8)


def counted(count: int, height: int = 48, width: int = 64) -> list[Picture]:
    """Frame k is grey 10 + 3 k, so that a frame says which it is."""
    return [plain((10 + 3 * k,) * 3, height, width) for k in range(count)]


def numbers(frames: Picture) -> list[int]:
    return [round((float(frame.mean()) - 10) / 3) for frame in frames]


def quarters() -> Picture:
    """Wider than high: red, green / blue, white."""
    picture = plain((255, 255, 255))
    picture[:24, :32], picture[:24, 32:], picture[24:, :32] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    return picture


def corners(picture: Picture) -> list[str]:
    names = {(1, 0, 0): "red", (0, 1, 0): "green", (0, 0, 1): "blue", (1, 1, 1): "white"}
    height, width = picture.shape[:2]
    at = [(y, x) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return [names[tuple(int(value > 127) for value in picture[y, x])] for y, x in at]


def shots(reader: Film, seconds: float = 10, per_second: float = 1, min_side: int = 32):
    return list(reader.shots(seconds=seconds, per_second=per_second, min_side=min_side))


@pytest.mark.parametrize(
    ("kind", "codec"),
    [("mp4", "mpeg4"), ("mkv", "mpeg4"), ("mov", "mjpeg"), ("avi", "mpeg4"), ("mkv", "ffv1")],
)
def test_frames_are_those_shown_on_the_grid(make_film: Make, kind: str, codec: str) -> None:
    form = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    reader = film(make_film(counted(40), kind, codec=codec, form=form))
    assert reader.duration == pytest.approx(4.0, abs=0.11)
    found = shots(reader, seconds=10, per_second=2)
    assert len(found) == 1
    span, frames = found[0]
    assert span == TimeSpan(0.0, pytest.approx(4.0, abs=0.11))
    assert frames.dtype == np.uint8
    assert frames.shape[1:] == (48, 64, 3)
    assert numbers(frames)[:8] == [0, 5, 10, 15, 20, 25, 30, 35]


def test_windows_are_no_longer_than_asked_and_cover_the_film(make_film: Make) -> None:
    found = shots(film(make_film(counted(45))), seconds=2, per_second=4)
    assert [span for span, _ in found] == [TimeSpan(0, 2), TimeSpan(2, 4), TimeSpan(4, 4.5)]
    assert [len(frames) for _, frames in found] == [8, 8, 2]
    assert numbers(found[1][1])[0] == 20


def test_a_cut_ends_a_window(make_film: Make) -> None:
    rng = np.random.default_rng(5)
    scenes = [plain((200, 60, 40)), plain((30, 90, 200)), plain((40, 200, 60))]
    frames = [
        scene + rng.integers(0, 9, scene.shape, np.uint8) for scene in scenes for _ in range(30)
    ]
    found = shots(film(make_film(frames)), seconds=60, per_second=2)
    assert [span for span, _ in found] == [TimeSpan(0, 3), TimeSpan(3, 6), TimeSpan(6, 9)]


def test_motion_is_no_cut(make_film: Make) -> None:
    rng = np.random.default_rng(6)
    scene = np.kron(rng.integers(0, 256, (12, 60, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    pan = [scene[:, 4 * k : 4 * k + 128] for k in range(60)]
    ball = [plain((90, 120, 90), 96, 128) for _ in range(60)]
    for k, picture in enumerate(ball):
        picture[30:60, 2 * k : 2 * k + 30] = (230, 40, 40)
    for frames in (pan, ball):
        assert len(shots(film(make_film(frames)), seconds=60, per_second=1)) == 1


def test_variable_frame_rates_go_by_the_clock(make_film: Make) -> None:
    stamps = [0, 1, 2, 25, 26, 50]
    reader = film(make_film(counted(6), "mkv", codec="ffv1", stamps=stamps))
    ((_, frames),) = shots(reader, per_second=2)
    assert numbers(frames)[:10] == [0, 2, 2, 2, 2, 3, 4, 4, 4, 4]
    assert numbers(reader.frames([0.0, 0.1, 2.49, 2.5, 4.9, 99.0], min_side=32)) == [
        0,
        1,
        2,
        3,
        4,
        5,
    ]


@pytest.mark.parametrize(
    ("rotation", "upright"),
    [
        (90, ["green", "white", "red", "blue"]),
        (180, ["white", "blue", "green", "red"]),
        (270, ["blue", "red", "white", "green"]),
    ],
)
def test_rotation_is_undone(make_film: Make, rotation: int, upright: list[str]) -> None:
    reader = film(make_film([quarters()] * 3, rotation=rotation))
    (picture,) = reader.frames([0.0], min_side=32)
    assert picture.shape == ((48, 64, 3) if rotation == 180 else (64, 48, 3))
    assert corners(picture) == upright


def test_pixels_that_are_not_square_are_made_so(make_film: Make) -> None:
    reader = film(make_film([quarters()] * 3, "mkv", aspect=Fraction(2)))
    (picture,) = reader.frames([0.0], min_side=32)
    assert picture.shape == (48, 128, 3)


@pytest.mark.parametrize(("min_side", "side"), [(48, 240), (100, 120), (120, 120), (1_000, 240)])
def test_frames_are_shrunk_but_never_below_the_floor(
    make_film: Make, min_side: int, side: int
) -> None:
    (picture,) = film(make_film(counted(2, 240, 320))).frames([0.0], min_side=min_side)
    shorter = {48: 48, 100: 120}.get(min_side, side)
    assert picture.shape == (shorter, shorter * 4 // 3, 3)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (7, 13), (3, 500), (135, 241)])
def test_odd_sizes(make_film: Make, height: int, width: int) -> None:
    frames = counted(3, height, width)
    data = make_film(frames, "mkv", codec="ffv1", form="bgr0")
    result = film(data).frames([0.0, 0.2], min_side=500)
    np.testing.assert_array_equal(result, np.stack([frames[0], frames[2]]))


@pytest.mark.parametrize(
    ("codec", "form"),
    [
        ("ffv1", "yuv420p10le"),
        ("ffv1", "yuv444p16le"),
        ("ffv1", "gray"),
        ("ffv1", "gbrp10le"),
        ("ffv1", "yuva420p"),
        ("mjpeg", "yuvj444p"),
        ("rawvideo", "yuyv422"),
        ("rawvideo", "bgr24"),
    ],
)
def test_every_pixel_format_keeps_its_levels(make_film: Make, codec: str, form: str) -> None:
    levels = [plain((v,) * 3) for v in (0, 128, 255)]
    result = film(
        make_film(levels, "mkv" if codec != "rawvideo" else "avi", codec=codec, form=form)
    )
    means = result.frames([0.0, 0.1, 0.2], min_side=32).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(means, [0, 128, 255], atol=4)


def test_far_times_are_jumped_to(make_film: Make) -> None:
    frames = [plain((k % 50 * 3 + 10,) * 3, 32, 32) for k in range(600)]
    reader = film(make_film(frames, options={"g": "12"}))
    times = [0.05, 14.35, 14.45, 31.0, 59.9]
    assert numbers(reader.frames(times, min_side=32)) == [
        round(time * 10 - 0.49) % 50 for time in times
    ]


def test_from_disk_as_from_memory_and_again(make_film: Make, tmp_path: Path) -> None:
    data = make_film(counted(30))
    path = tmp_path / "it.mp4"
    path.write_bytes(data)
    readers = [film(data), film(path), film(path)]
    first, second, third = (shots(reader, per_second=5) for reader in readers)
    for (a, x), (b, y), (c, z) in zip(first, second, third, strict=True):
        assert a == b == c
        np.testing.assert_array_equal(x, y)
        np.testing.assert_array_equal(y, z)


def test_a_film_is_its_pictures_its_sound_and_its_tags(make_film: Make) -> None:
    sound = np.zeros(32_000, np.int16)
    found = opened(make_film(counted(20), sound=sound, tags={"title": "Waves"}))
    assert list(found) == [Modality.VIDEO, Modality.AUDIO, Modality.TEXT]
    assert found[Modality.AUDIO](0).data.duration == pytest.approx(2, abs=0.1)  # type: ignore[union-attr]
    assert list(opened(make_film(counted(20)))) == [Modality.VIDEO]


def test_a_broken_tail_ends_the_film(make_film: Make) -> None:
    rng = np.random.default_rng(8)
    frames = [rng.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(100)]
    data = make_film(frames, "mkv")
    reader = film(data[: len(data) // 2])
    assert 2 < reader.duration < 8
    found = shots(reader, seconds=60, per_second=2)
    assert 2 < found[-1][0].end < 8


def test_a_film_without_frames_is_corrupt(make_film: Make) -> None:
    data = bytearray(make_film(counted(10)))
    start = data.index(b"mdat") + 4
    size = struct.unpack(">I", data[start - 8 : start - 4])[0] - 8
    data[start : start + size] = bytes(size)
    reader = film(bytes(data))
    with pytest.raises(CorruptMedia, match="no frame can be decoded"):
        shots(reader)
    with pytest.raises(CorruptMedia, match="no frame can be decoded"):
        reader.frames([0.0], min_side=32)


def test_a_huge_frame_is_refused_before_it_is_drawn(make_film: Make) -> None:
    data = bytearray(make_film(counted(3), "mkv", codec="rawvideo"))
    at = data.index(b"\xb0\x81\x40")  # PixelWidth, one byte: 64
    data[at : at + 3] = b"\xb0\x81\xff"
    with pytest.raises((TooLarge, CorruptMedia)):
        shots(film(bytes(data).replace(b"\xba\x81\x30", b"\xba\x81\xff")))


def test_an_index_of_more_packets_than_bytes_is_not_searched(make_film: Make) -> None:
    data = bytearray(make_film([plain((0, 0, 0))] * 10))
    sizes, chunks, times = (data.index(name) for name in (b"stsz", b"stsc", b"stts"))
    struct.pack_into(">II", data, sizes + 8, 10, 1_000_000)
    struct.pack_into(">I", data, chunks + 16, 1_000_000)
    struct.pack_into(">I", data, times + 12, 1_000_000)
    with pytest.raises(CorruptMedia, match="claims 1,000,000 packets"):
        film(bytes(data))
