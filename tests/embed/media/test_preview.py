from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embed.errors import CorruptMedia, UnsupportedModality
from embed.media.preview import preview
from embed.types import Modality, PageSpan, Pixels

Make = Callable[..., bytes]


def seen(data: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(data))
    assert picture.format == "JPEG"
    return np.asarray(picture)


def bars(picture: np.ndarray) -> np.ndarray:
    """How many pixels stand out from the ground, by column."""
    return (np.abs(picture.astype(int) - picture[0, 0]).sum(axis=2) > 90).sum(axis=0)


def tone(loudness: np.ndarray) -> np.ndarray:
    return (np.sin(np.arange(loudness.size) / 9) * loudness * 32_000).astype(np.int16)[None]


def test_a_picture_is_its_thumbnail() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (400, 200), (200, 40, 40)).save(buffer, "PNG")
    picture = seen(preview(buffer.getvalue(), Modality.IMAGE, side=100))
    assert picture.shape == (50, 100, 3)
    np.testing.assert_allclose(picture.mean(axis=(0, 1)), [200, 40, 40], atol=3)


def test_a_film_shows_the_first_frame_that_shows_something(make_film: Make) -> None:
    rng = np.random.default_rng(1)
    scene = np.kron(rng.integers(90, 256, (3, 4, 3)), np.ones((32, 32, 1))).astype(np.uint8)
    frames = [np.zeros_like(scene)] * 15 + [np.full_like(scene, 200)] * 10 + [scene] * 25
    picture = seen(preview(make_film(frames), Modality.VIDEO, side=64))
    assert picture.shape == (48, 64, 3)
    np.testing.assert_allclose(picture[8, 8], scene[8, 8], atol=25)


def test_a_film_that_shows_nothing_still_has_a_poster(make_film: Make) -> None:
    black = [np.zeros((48, 64, 3), np.uint8)] * 10
    assert seen(preview(make_film(black), Modality.VIDEO, side=64)).max() < 20


def test_a_sound_is_drawn_as_loud_as_it_is(make_sound: Make) -> None:
    loudness = np.repeat([1.0, 0.0, 0.3], 44_100)
    picture = seen(preview(make_sound(tone(loudness)), Modality.AUDIO, side=300))
    assert picture.shape == (150, 300, 3)
    loud, silent, soft = (
        int(bars(picture)[part].max()) for part in (slice(20, 90), slice(115, 185), slice(215, 280))
    )
    assert loud > 110
    assert 0 < silent < 12
    assert 30 < soft < 80


def test_silence_and_one_sample_are_drawn_too(make_sound: Make) -> None:
    for samples in (np.zeros((1, 9_000), np.int16), np.full((1, 1), 9_000, np.int16)):
        assert seen(preview(make_sound(samples), Modality.AUDIO, side=80)).shape == (40, 80, 3)


def test_a_long_sound_is_drawn_to_its_end(make_sound: Make) -> None:
    loudness = np.zeros(8_000 * 1_500)
    loudness[-8_000 * 125 :] = 0.8
    data = make_sound(tone(loudness), "flac", codec="flac", form="s16", rate=8_000)
    columns = bars(seen(preview(data, Modality.AUDIO, side=300)))
    assert columns[20:250].max() < 12
    assert columns[272:290].max() > 100


def test_the_same_every_time_from_memory_and_from_disk(make_sound: Make, tmp_path: Path) -> None:
    data = make_sound(tone(np.linspace(0, 1, 44_100)))
    path = tmp_path / "it.wav"
    path.write_bytes(data)
    first = preview(data, Modality.AUDIO, side=120)
    assert (
        first == preview(data, Modality.AUDIO, side=120) == preview(path, Modality.AUDIO, side=120)
    )


def test_a_document_is_its_first_page() -> None:
    class Two:
        def pictures(self) -> Iterator[tuple[PageSpan, Pixels]]:
            yield PageSpan(1), np.full((200, 100, 3), 250, np.uint8)
            raise AssertionError("the second page is not drawn")

    assert seen(preview(Two(), Modality.IMAGE, side=50)).shape == (50, 25, 3)


def test_a_document_without_pages_is_corrupt() -> None:
    class Empty:
        def pictures(self) -> Iterator[tuple[PageSpan, Pixels]]:
            return iter(())

    with pytest.raises(CorruptMedia, match="no page"):
        preview(Empty(), Modality.IMAGE, side=50)


def test_words_have_no_preview_and_a_sound_no_poster(make_sound: Make) -> None:
    with pytest.raises(UnsupportedModality, match="image, video and audio"):
        preview(b"some words", Modality.TEXT, side=50)
    with pytest.raises(UnsupportedModality, match="holds no video, but audio"):
        preview(make_sound(tone(np.ones(900))), Modality.VIDEO, side=50)
