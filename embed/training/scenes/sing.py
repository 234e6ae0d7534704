"""Scenes to sound: one phrase of a pitched voice, by the law's code, over a little noise.

Additive synthesis: partials at whole multiples of a gliding pitch. It knows no pixels and no words.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.random import Generator

from embed.training.scenes.law import ACROSS, MOTIONS, UP, Scene
from embed.types import Floats

RATE = 8000
SECONDS = 1.0

_LOWEST = 130.8
"""Hz (C3): of large things at the bottom; the highest partial of all is then below RATE / 2."""
_STEP = 0.07
"""Seconds of one of the eight steps of a rhythm."""
_LATER = 0.18
"""Seconds by which what is one place further to the right begins later."""
_GLIDE = 1.6
"""Semitones from the middle of a glide to its end; two places of one octave are four apart."""
_SWELL = 12.0
"""Decibels from the softest to the loudest of what moves sideways."""


def sound(scene: Scene, rng: Generator) -> Floats:
    """`(8000,)` in [-1, 1] at `RATE`."""
    off_pitch, off_time, off_gain = rng.uniform(-1, 1, 3)
    samples = 0.003 * rng.standard_normal(round(SECONDS * RATE), dtype=np.float32)
    right, up = MOTIONS[scene.motion]
    beats = _envelope(scene.rhythm)
    across = np.linspace(-1, 1, beats.size, dtype=np.float32)
    semitones = 4 * UP.index(scene.up) + 0.25 * off_pitch + _GLIDE * up * across
    pitch = _LOWEST * 2 ** (scene.octave + semitones / 12)
    phase = np.cumsum(2 * np.pi / RATE * pitch) + rng.uniform(0, 2 * np.pi)
    voice = np.add.reduce([np.sin(k * phase) for k in scene.partials])
    gain = (
        0.25
        / len(scene.partials) ** 0.5
        * 10 ** ((2 * off_gain + _SWELL / 2 * right * across) / 20)
    )
    start = round(RATE * (0.03 + _LATER * ACROSS.index(scene.across) + 0.02 * off_time))
    samples[start : start + beats.size] += voice * gain * beats
    clipped: Floats = np.clip(samples, -1, 1).astype(np.float32)
    return clipped


@lru_cache
def _envelope(rhythm: str) -> Floats:
    """Loudness over a phrase: each note begins at once, fades, and ends before the next."""
    step = round(_STEP * RATE)
    envelope = np.zeros(step * len(rhythm), np.float32)
    for at, mark in enumerate(rhythm):
        if mark != "x":
            continue
        held = len(rhythm[at + 1 :]) - len(rhythm[at + 1 :].lstrip("-")) + 1
        time = np.arange(step * held) / RATE
        attack, release = time / 0.004, (time[-1] - time) / 0.015
        note = np.exp(-time / 0.8) * np.clip(np.minimum(attack, release), 0, 1)
        envelope[at * step : at * step + note.size] = note
    envelope.flags.writeable = False
    return envelope
