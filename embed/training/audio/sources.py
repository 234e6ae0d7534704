"""The sounds that the tower learns from, as spectrograms, made once and kept in a cache folder."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from embed.backends.builtin.audio import RECIPE
from embed.training.audio import esc, midi, speech, tones, vocabulary
from embed.training.audio.features import read_clip, spectrograms
from embed.types import Floats

SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
VERSION = "1"  # raise it when a renderer makes other sounds

log = logging.getLogger(__name__)


class Sounds(NamedTuple):
    """N sounds of one source.

    clips: `(N, T, 64)` decibels, float16. concepts: `(N,)`, as `vocabulary` numbers them.
    folds: `(N,)`, 0 where there are none. free: `(N,)` bool, may train what ships.
    """

    clips: Tensor
    concepts: Tensor
    folds: Tensor
    free: Tensor

    def where(self, chosen: Tensor) -> Sounds:
        return Sounds(*(column[chosen] for column in self))


def recorded(folder: Path, cache: Path) -> Sounds:
    """ESC-10. Raises NotFound, and what reading a sound raises."""
    clips = esc.clips(folder)
    listed = "\n".join(f"{clip.path.name},{clip.fold},{clip.label}" for clip in clips)
    heard = _kept(cache, "esc10", listed, (read_clip(clip.path) for clip in clips))
    concepts = vocabulary.numbers([clip.label for clip in clips])
    folds = torch.tensor([clip.fold for clip in clips])
    return Sounds(
        heard, concepts, folds, torch.tensor([clip.licence in esc.FREE for clip in clips])
    )


def rendered(cache: Path, seed: int = 0, scale: float = 1.0) -> Sounds:
    """Instruments, drums, effects, tones and speech. scale: for fewer or more of each."""
    parts = []
    for name in vocabulary.rendered_names():
        count = max(1, round(_count(name) * scale))
        clips = _kept(cache, name, f"{count} {seed}", _sounds(name, count, seed))
        concepts = vocabulary.numbers([name] * len(clips))
        free = torch.ones_like(concepts, dtype=torch.bool)
        parts.append(Sounds(clips, concepts, torch.zeros_like(concepts), free))
    return Sounds(*map(torch.cat, zip(*parts, strict=True)))


def _count(name: str) -> int:
    many = {*speech.WORDS, *speech.SPEAKERS, *tones.IMITATIONS}
    return 24 if name in many else 12


def _sounds(name: str, count: int, seed: int) -> Iterable[Floats]:
    if name in midi.PROGRAMS or name in midi.DRUMS:
        return midi.render(name, count, SOUNDFONT, seed)
    if name in tones.TONES or name in tones.IMITATIONS:
        return tones.render(name, count, seed)
    said: Callable[[str, int, int], Iterable[Floats]] = (
        speech.words if name in speech.WORDS else speech.sentences
    )
    return said(name, count, seed)


def _kept(cache: Path, name: str, what: str, sounds: Iterable[Floats]) -> Tensor:
    """The spectrograms of `sounds`, from the cache where they were made before."""
    key = hashlib.sha256(f"{VERSION}\0{RECIPE}\0{name}\0{what}".encode()).hexdigest()[:12]
    path = cache / f"{name.replace(' ', '-')}-{key}.pt"
    if not path.is_file():
        log.info("making the sounds of %s", name)
        cache.mkdir(parents=True, exist_ok=True)
        torch.save(spectrograms(sounds), path)
    kept: Tensor = torch.load(path, weights_only=True)
    return kept
