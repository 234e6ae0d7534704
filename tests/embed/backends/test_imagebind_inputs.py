"""What ImageBind is fed: against torchvision, torch and the paper's recipe in plain steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from embed.backends.imagebind.encoders import FilmsEncoder
from embed.backends.imagebind.inputs import (
    PICTURE,
    clip_starts,
    film,
    frame_rows,
    frame_times,
    spectrogram,
    spectrograms,
    squares,
)
from embed.errors import BadInput
from embed.media.fbank import fbank
from embed.types import Media, Modality, Pixels, TimeSpan


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.5, 0.5, round(seconds * 16_000)).astype(np.float32)


# Pictures.


def test_pictures_are_torchvisions(photos: dict[str, Pixels]) -> None:
    transform = v2.Compose(
        [
            v2.Resize(224, interpolation=v2.InterpolationMode.BICUBIC),
            v2.CenterCrop(224),
        ]
    )
    from PIL import Image

    for name, pixels in photos.items():
        theirs = np.asarray(transform(Image.fromarray(pixels))).astype(int)
        gaps = np.abs(PICTURE.prepare(pixels) - theirs)
        assert gaps.max() <= 1, name
        assert (gaps > 0).mean() < 0.01, name


# Sounds.


def test_clips_are_uniform() -> None:
    assert clip_starts(10.0, 3) == [0.0, 4.0, 8.0]
    assert clip_starts(5.0, 5) == [k * 0.75 for k in range(5)]
    assert clip_starts(2.0, 3) == clip_starts(0.5, 3) == [0.0] * 3


def test_a_sound_is_its_three_clips() -> None:
    samples = noise(7.0)
    found = spectrograms(samples)
    assert found.shape == (3, 1, 128, 204)
    assert found.dtype == np.float32
    for k, start in enumerate([0, 40_000, 80_000]):
        np.testing.assert_array_equal(found[k], spectrogram(samples[start : start + 32_000]))


def test_a_spectrogram_is_padded_before_it_is_standardised() -> None:
    clip = noise(2.0) + np.float32(0.3)
    found = spectrogram(clip)[0]
    levels = fbank(clip - clip.mean(), rate=16_000, bins=128)
    assert levels.shape == (198, 128)
    np.testing.assert_allclose(found[:, :198], (levels.T + 4.268) / 9.138, atol=1e-5)
    np.testing.assert_allclose(found[:, 198:], 4.268 / 9.138, atol=1e-6)


def test_a_long_clip_is_cut_and_a_short_one_followed_by_silence() -> None:
    assert spectrogram(noise(3.0)).shape == (1, 128, 204)
    np.testing.assert_array_equal(spectrogram(noise(3.0)), spectrogram(noise(3.0)))
    one = spectrograms(np.array([0.5], np.float32))
    assert np.isfinite(one).all()
    np.testing.assert_array_equal(one[0], one[2])


# Films.


def test_squares_are_torchs_bilinear_and_three_crops() -> None:
    rng = np.random.default_rng(0)
    for height, width in [(240, 427), (427, 240), (300, 300), (100, 160), (224, 301)]:
        frames = rng.integers(0, 256, (2, height, width, 3), np.uint8)
        tall = 224 if height <= width else math.floor(height / width * 224)
        wide = 224 if width < height else math.floor(width / height * 224)
        channels_first = torch.from_numpy(frames).permute(0, 3, 1, 2).double()
        whole = torch.nn.functional.interpolate(
            channels_first, size=(tall, wide), mode="bilinear", align_corners=False
        )
        whole = whole.permute(0, 2, 3, 1).numpy()
        y, x = math.ceil((tall - 224) / 2), math.ceil((wide - 224) / 2)
        places = (
            [(0, x), (y, x), (tall - 224, x)] if tall > wide else [(y, 0), (y, x), (y, wide - 224)]
        )
        theirs = np.stack([whole[:, y : y + 224, x : x + 224] for y, x in places], axis=1)
        found = squares(frames)
        assert found.shape == (2, 3, 224, 224, 3)
        assert np.abs(found - theirs).max() <= 0.5 + 1e-3


def test_a_very_wide_frame_costs_no_more() -> None:
    frames = np.zeros((1, 2, 200_000, 3), np.uint8)
    frames[:, :, -1] = 255
    found = squares(frames)
    assert found[0, 2, :, -1].min() == 255
    assert found[0, :2].max() == 0


def test_clips_hold_the_same_crop_of_both_their_frames() -> None:
    cuts = np.zeros((10, 3, 224, 224, 3), np.uint8)
    cuts[:] = (np.arange(10)[:, None] * 10 + np.arange(3))[:, :, None, None, None]
    found = film(cuts)
    assert found.shape == (15, 2, 224, 224, 3)
    assert found[:, :, 0, 0, 0].tolist() == [
        [20 * clip + crop, 20 * clip + 10 + crop] for clip in range(5) for crop in range(3)
    ]


def test_first_and_last_frame_of_each_clip() -> None:
    """Frames whose timestamps lie in [start, end), as the authors' reader has it."""
    for count, per_second in [
        (250, 25.0),
        (300, 29.97),
        (297, 30.0),
        (30, 24.0),
        (3, 1.0),
        (1, 10.0),
    ]:
        stamps = np.arange(count) / per_second
        wanted = []
        for start in map(float, clip_starts(count / per_second, 5)):
            inside = np.flatnonzero((stamps >= start - 1e-9) & (stamps < start + 2.0 - 1e-9))
            wanted += [inside[0], inside[-1]]
        assert frame_rows(count, per_second) == wanted
    assert frame_rows(3, 0.3) == [0, 0, 1, 1, 2, 2, 2, 2, 2, 2]
    assert frame_times(10.0)[:4] == pytest.approx([0.0, 1.999, 2.0, 3.999])
    assert frame_times(0.0) == [0.0] * 10


class FakeFilm:
    """Shows at second t a frame whose colour is t * 10."""

    def __init__(self, duration: float) -> None:
        self.duration = duration
        self.asked: list[list[float]] = []

    def frames(self, times: Sequence[float], *, min_side: int) -> Pixels:
        assert list(times) == sorted(times)
        self.asked.append(list(times))
        colours = np.round(np.array(times) * 10).astype(np.uint8)
        return np.broadcast_to(colours[:, None, None, None], (len(times), 240, 320, 3)).copy()


def no_core(*_: np.ndarray) -> tuple[np.ndarray, ...]:
    raise AssertionError("the network has no part in this")


def test_a_long_film_is_cut_into_pieces_of_ten_seconds() -> None:
    reader = FakeFilm(25.0)
    encoder = FilmsEncoder(no_core)
    pieces = list(encoder.pieces(Media(Modality.VIDEO, reader)))
    assert [span for span, _ in pieces] == [TimeSpan(t, t + 10.0) for t in (0.0, 7.5, 15.0)]
    prepared = encoder.prepare(pieces[1][1])
    assert prepared.shape == (15, 2, 224, 224, 3)
    assert prepared[::3, :, 0, 0, 0].tolist() == [[75 + 20 * k, 95 + 20 * k] for k in range(5)]


def test_a_short_films_clips_overlap() -> None:
    reader = FakeFilm(4.0)
    encoder = FilmsEncoder(no_core)
    ((span, piece),) = encoder.pieces(Media(Modality.VIDEO, reader))
    assert span == TimeSpan(0.0, 4.0)
    shown = encoder.prepare(piece)[::3, :, 0, 0, 0]
    assert shown.tolist() == [[5 * k, 5 * k + 20] for k in range(5)]


def test_frames_that_have_a_rate_are_a_whole_film() -> None:
    frames = np.zeros((40, 240, 320, 3), np.uint8)
    frames[:] = np.arange(40)[:, None, None, None]
    encoder = FilmsEncoder(no_core)
    ((span, piece),) = encoder.pieces(Media(Modality.VIDEO, frames, rate=4.0))
    assert span is None
    shown = encoder.prepare(piece)[::3, :, 0, 0, 0]
    assert shown.tolist() == [[8 * k, 8 * k + 7] for k in range(5)]
    with pytest.raises(BadInput, match="frames per second"):
        encoder.prepare(Media(Modality.VIDEO, frames))
