"""Kaldi's filter bank against its definition, step by step."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from embed.media.fbank import fbank
from embed.media.read import open_media
from embed.types import Modality, Sound, TimeSpan

RATE = 16_000
LENGTH = 1100


def by_definition(samples: np.ndarray, bins: int) -> np.ndarray:
    """One frame, one band, one sum at a time, in double precision."""
    rows = []
    window = [0.5 - 0.5 * math.cos(2 * math.pi * n / 399) for n in range(400)]
    turns = np.exp(-2j * np.pi * np.outer(np.arange(256), np.arange(512)) / 512)

    def mel(hertz: float) -> float:
        return 1127.0 * math.log(1.0 + hertz / 700.0)

    spacing = (mel(8000.0) - mel(20.0)) / (bins + 1)
    start = 0
    while start + 400 <= len(samples):
        x = samples[start : start + 400].astype(np.float64)
        x = x - x.mean()
        emphasised = [x[0] - 0.97 * x[0], *(x[n] - 0.97 * x[n - 1] for n in range(1, 400))]
        padded = np.zeros(512)
        padded[:400] = np.array(emphasised) * window
        power = np.abs(turns @ padded) ** 2
        row = []
        for band in range(bins):
            left = mel(20.0) + band * spacing
            energy = 0.0
            for f in range(256):
                at = (mel(f * RATE / 512) - left) / spacing
                energy += power[f] * max(0.0, 1.0 - abs(at - 1.0))
            row.append(math.log(max(energy, 2.0**-23)))
        rows.append(row)
        start += 160
    return np.array(rows)


def sounds() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    t = np.arange(LENGTH) / RATE
    return {
        "noise": rng.uniform(-1, 1, LENGTH),
        "faint noise": rng.normal(0, 1e-4, LENGTH),
        "tones": 0.5 * np.sin(2 * np.pi * 440 * t) + 0.1 * np.sin(2 * np.pi * 6100 * t),
        "an offset": np.full(LENGTH, 0.7),
        "a click": (np.arange(LENGTH) == 900).astype(float),
    }


@pytest.mark.parametrize("name", sounds())
def test_it_is_the_definition(name: str) -> None:
    samples = sounds()[name].astype(np.float32)
    found = fbank(samples, rate=RATE, bins=128)
    assert found.shape == (1 + (LENGTH - 400) // 160, 128)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_definition(samples, 128), atol=1e-4, rtol=0)


def test_silence_is_the_floor() -> None:
    found = fbank(np.zeros(400, np.float32), rate=RATE, bins=23)
    assert found.shape == (1, 23)
    np.testing.assert_allclose(found, math.log(2.0**-23))


def test_a_tone_is_loudest_in_its_band() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(400) / RATE).astype(np.float32)
    feet = np.linspace(1127 * np.log1p(20 / 700), 1127 * np.log1p(8000 / 700), 42)
    band = int(np.abs(feet[1:-1] - 1127 * np.log1p(1000 / 700)).argmin())
    assert fbank(tone, rate=RATE, bins=40)[0].argmax() == band


def test_only_whole_frames_count() -> None:
    noise = np.random.default_rng(1).uniform(-1, 1, 32_000).astype(np.float32)
    assert fbank(noise[:399], rate=RATE, bins=128).shape == (0, 128)
    assert fbank(noise, rate=RATE, bins=128).shape == (198, 128)
    np.testing.assert_array_equal(
        fbank(noise, rate=RATE, bins=16)[:10], fbank(noise[:1840], rate=RATE, bins=16)
    )


def test_it_is_what_torchaudio_computes() -> None:
    try:
        from torchaudio.compliance import kaldi
    except (ImportError, OSError, RuntimeError) as error:  # built for another torch
        pytest.skip(f"torchaudio cannot be imported: {error}")
    import torch

    noise = np.random.default_rng(2).uniform(-1, 1, 32_000).astype(np.float32)
    theirs = kaldi.fbank(
        torch.from_numpy(noise)[None],
        htk_compat=True,
        sample_frequency=RATE,
        use_energy=False,
        window_type="hanning",
        num_mel_bins=128,
        dither=0.0,
        frame_length=25,
        frame_shift=10,
    )
    np.testing.assert_allclose(fbank(noise, rate=RATE, bins=128), theirs, atol=1e-3)


@pytest.mark.data
def test_real_clips_are_the_definition() -> None:
    path = Path(os.environ.get("CROSSBIND_DATA", ""), "esc10-folds1-4.zip")
    if not path.is_file():
        pytest.skip("CROSSBIND_DATA names no folder with esc10-folds1-4.zip")
    with zipfile.ZipFile(path) as archive:
        names = [name for name in sorted(archive.namelist()) if name.endswith(".ogg")]
        clips = [archive.read(name) for name in names[::64]]
    assert len(clips) == 5
    for clip in clips:
        media = open_media(clip, accepts=frozenset({Modality.AUDIO})).decode(
            Modality.AUDIO, image_side=1
        )
        assert isinstance(media.data, Sound)
        [sound] = media.data.windows([TimeSpan(0.0, media.data.duration)], rate=RATE)
        loudest = int(np.abs(sound).argmax())
        piece = sound[max(0, loudest - 4000) :][:3600]
        found = fbank(piece, rate=RATE, bins=128)
        assert len(found) > 10
        np.testing.assert_allclose(found, by_definition(piece, 128), atol=1e-4, rtol=0)
