"""Clips whose motion is known, and what is learnt from them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from embed.backends.builtin.film import Motions
from embed.backends.builtin.flow import motion
from embed.training.motion import clips
from embed.training.motion.__main__ import learnt
from embed.training.motion.directions import phrases
from embed.types import Pixels
from embed.weights import store

COUNT = 8 * len(clips.MOTIONS)


@pytest.fixture(scope="module")
def photos() -> list[Pixels]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (12, 20, 20, 3), dtype=np.uint8)
    return list(coarse.repeat(8, axis=1).repeat(8, axis=2))


def test_clips_come_again_and_show_every_motion(photos: list[Pixels]) -> None:
    first, again = (list(clips.photographed(photos, COUNT, 3)) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.frames, other.frames)
        assert one.frames.shape[1:] == (clips.SIDE, clips.SIDE, 3)
        assert one.rate in (4.0, 8.0)
    assert Counter(clip.motion for clip in first) == dict.fromkeys(clips.MOTIONS, 8)
    still = [clip.frames.astype(int) for clip in first if clip.motion == "still"]
    assert max(np.abs(np.diff(frames, axis=0)).max() for frames in still) <= 8  # the noise


def test_a_little_training_tells_ways_apart(photos: list[Pixels]) -> None:
    softmax = learnt([*clips.photographed(photos, COUNT, 1), *clips.scenes(60, 1)])
    asked = [*clips.photographed(photos[::-1], COUNT, 2), *clips.scenes(60, 2, held_out=True)]
    measured = np.array([motion(clip.frames, clip.rate) for clip in asked], np.float32)
    found = np.array(softmax.names)[softmax.posterior(measured).argmax(axis=1)]
    truth = np.array([clip.motion for clip in asked])
    assert (found[:COUNT] == truth[:COUNT]).mean() >= 0.75
    assert (found[COUNT:] == truth[COUNT:]).mean() >= 0.75


def test_the_shipped_motions_are_whole() -> None:
    motions = Motions(store.find("film-motions"))
    assert sorted(motions.names) == sorted(clips.MOTIONS)
    assert all(len(phrases(name)) >= 6 for name in motions.names)
    np.testing.assert_array_equal(motions(None), np.zeros(384))
    for clip in clips.scenes(20, 5):
        measured = motion(clip.frames, clip.rate)
        assert measured is not None
        posterior = motions.posterior(measured)
        assert posterior.sum() == pytest.approx(1, abs=1e-5)
        assert np.linalg.norm(motions(measured)) < 0.6
