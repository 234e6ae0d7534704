"""The recipe of the audio tower, its numbers included: rendered sounds teach, recordings are kept.

    python -m embed.training.audio --esc10 FOLDER --cache CACHE

Networks learn from what can be rendered, but for what would be a class of ESC-10; they describe
sounds. Recordings and some rendered sounds are then remembered by their descriptions, and one of
the networks is tuned on them. It knows no file.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from embed.training.audio import esc, tones, vocabulary
from embed.training.audio.learn import Schedule, train
from embed.training.audio.memory import OPINION, Binding, Describer, Tower
from embed.training.audio.network import Ear
from embed.training.audio.sources import Sounds
from embed.training.audio.vocabulary import Prototypes


class Tuning(NamedTuple):
    """How a describing network is tuned on recordings, and what its opinion then counts."""

    schedule: Schedule
    opinion: float


SEEDS = (1, 2)
LISTENING = Schedule()
TUNING = Tuning(Schedule(steps=250, rate=2e-3, mixed=0.3), OPINION)
SPEECH = Tuning(Schedule(steps=500, rate=2e-3, mixed=0.3, frames=128), 2.0)
"""Of short words: what sounds alike is often a voice, so that the network counts for more."""
RECORDED = 0.8  # of what is heard while tuning
REMEMBERED = 4  # of so many rendered sounds one is kept: recordings shall weigh more


def listener(rendered: Sounds) -> Describer:
    """What describes sounds; it has heard none of ESC-10, nor any of its classes."""
    others = without(rendered, vocabulary.numbers(list(esc.TRAINED)))
    ears = [train(others.clips, others.concepts, _count(), LISTENING, seed) for seed in SEEDS]
    return Describer(ears, others.clips)


def made(
    describer: Describer,
    recorded: Sounds,
    rendered: Sounds,
    words: Prototypes,
    tuning: Tuning = TUNING,
) -> Tower:
    """A tower that has heard, and remembers, these recordings and what is rendered."""
    named = without(rendered, vocabulary.numbers(list(tones.IMITATIONS)))
    kept = named.where(torch.arange(len(named.clips)) % REMEMBERED == 0)
    known = describer.of(torch.cat([recorded.clips, kept.clips]))
    concepts = torch.cat([recorded.concepts, kept.concepts])
    binding = Binding(known, concepts, words, tuning.opinion)
    return Tower(describer, _tuned(describer, recorded, named, tuning.schedule), binding)


def _tuned(describer: Describer, recorded: Sounds, named: Sounds, schedule: Schedule) -> Ear:
    """The first of the describing networks after it has heard recordings."""
    share = RECORDED / (1 - RECORDED)
    times = max(1, round(share * len(named.clips) / len(recorded.clips)))
    rows = torch.arange(len(recorded.clips)).repeat(times)
    clips = torch.cat([recorded.clips[rows], named.clips])
    concepts = torch.cat([recorded.concepts[rows], named.concepts])
    start = describer.ears[0]
    assert isinstance(start, Ear)
    return train(clips, concepts, _count(), schedule, SEEDS[0] + 10, start)


def without(sounds: Sounds, concepts: torch.Tensor) -> Sounds:
    """Those of no such concept."""
    return sounds.where(~torch.isin(sounds.concepts, concepts))


def _count() -> int:
    return len(vocabulary.captions()) + len(tones.IMITATIONS)
