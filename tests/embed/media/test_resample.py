from __future__ import annotations

import numpy as np
import pytest

from embed.media.resample import padding, resample

RATES = [(44_100, 16_000), (8_000, 48_000), (96_000, 16_000), (44_100, 16_001), (11_025, 16_000)]


def tone(hertz: float, rate: int, seconds: float = 1.0) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate).astype(np.float32)


@pytest.mark.parametrize(("low", "high"), RATES)
def test_a_tone_stays_what_and_where_it_is(low: int, high: int) -> None:
    result = resample(tone(440, low), low, high)
    assert result.dtype == np.float32
    assert len(result) == high
    inner = slice(high // 20, -high // 20)
    np.testing.assert_allclose(result[inner], tone(440, high)[inner], atol=1e-4)


@pytest.mark.parametrize(("low", "high"), RATES)
def test_a_constant_stays_one_to_its_ends(low: int, high: int) -> None:
    np.testing.assert_allclose(resample(np.full(5_000, 0.5, np.float32), low, high), 0.5, atol=1e-3)


def test_what_the_lower_rate_cannot_carry_is_filtered_out() -> None:
    assert np.abs(resample(tone(12_000, 44_100), 44_100, 16_000)[1_000:-1_000]).max() < 1e-3


@pytest.mark.parametrize("count", [1, 2, 3, 17, 100])
@pytest.mark.parametrize(("low", "high"), [*RATES, (192_000, 8_000), (16_000, 16_000)])
def test_short_sounds_have_the_length_promised(count: int, low: int, high: int) -> None:
    result = resample(np.ones(count, np.float32), low, high)
    assert len(result) == max(1, round(count * high / low))
    np.testing.assert_allclose(result, 1.0, atol=2e-3)


def test_the_same_every_time_and_the_argument_is_left_alone() -> None:
    samples = np.random.default_rng(1).uniform(-1, 1, 9_999).astype(np.float32)
    before = samples.copy()
    np.testing.assert_array_equal(
        resample(samples, 44_100, 16_000), resample(samples, 44_100, 16_000)
    )
    np.testing.assert_array_equal(samples, before)


def test_a_cut_does_not_show_beyond_the_padding() -> None:
    samples = np.random.default_rng(2).uniform(-1, 1, 44_100).astype(np.float32)
    spare = padding(44_100, 16_000)
    start = spare * 20
    whole = resample(samples, 44_100, 16_000)
    part = resample(samples[start:], 44_100, 16_000)
    skip = spare * 160 // 441
    np.testing.assert_allclose(part[skip:], whole[start * 160 // 441 + skip :], atol=1e-6)


@pytest.mark.parametrize(("count", "low", "high"), [(0, 8_000, 16_000), (5, 0, 8_000)])
def test_nothing_and_no_rate_are_refused(count: int, low: int, high: int) -> None:
    with pytest.raises(ValueError, match="cannot take"):
        resample(np.zeros(count, np.float32), low, high)
