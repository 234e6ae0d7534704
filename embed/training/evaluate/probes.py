"""What a space's words cannot tell apart: word order, negation, a word that distracts.

Each probe is a sentence, another way to say it, and one that shares its words and means something
else. The space is right where the sentence is nearer to the former. Guessing is right half of the
time, and bags of words are right less often than that, for the wrong one shares more words. Texts
alone are judged, a dozen of a kind: enough to see a blindness, too few to rank two good spaces.
After the manner of Winoground (Thrush et al., 2022) and ARO (Yuksekgonul et al., 2023); the
sentences are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from embed.batcher import Batcher
from embed.errors import UnsupportedModality
from embed.training.metrics import bootstrap_interval
from embed.types import Media, Modality


class Probe(NamedTuple):
    """`same` means what `said` means, `other` does not."""

    said: str
    same: str
    other: str


_SENTENCES = {
    "word order": """
        a dog chases a cat | a cat is being chased by a dog | a cat chases a dog
        a child feeds a goat | a goat gets food from a child | a goat feeds a child
        the cup is on the book | the book is under the cup | the book is on the cup
        a ball moves left to right | a ball goes to the right | a ball moves right to left
        a woman paints a man | a man has his portrait done by a woman | a man paints a woman
        the car follows the bus | the bus is ahead of the car | the bus follows the car
        red circle and blue square | the square is blue, the circle red | blue circle and red square
        a bird above a boat | a boat below a bird | a boat above a bird
        a big dog and a small cat | the cat is little, the dog large | a small dog and a big cat
        thunder, then rain | rain comes after thunder | rain, then thunder
        a man teaches a boy | a boy learns from a man | a boy teaches a man
        a glass in front of a bottle | a bottle behind a glass | a bottle in front of a glass
    """,
    "negation": """
        a street without cars | an empty street | a street with cars
        a room with no people | an empty room | a room with people
        the shop is not open | the shop is closed | the shop is open
        a man who is not smiling | a man with a serious face | a man who is smiling
        a tree without leaves | a bare tree | a tree with leaves
        the glass is not full | the glass is half empty | the glass is full
        a dog that does not bark | a quiet dog | a dog that does bark
        a sky without clouds | a clear blue sky | a sky with clouds
        the lamp is not on | the lamp is switched off | the lamp is on
        a meal with no meat | a vegetarian meal | a meal with meat
        the road is not dry | the road is wet | the road is dry
        a song without words | an instrumental song | a song with words
    """,
    "distractor": """
        a red car | a vehicle painted crimson | a red apple
        a photo of a dog on grass | a puppy in a meadow | a photo of a cat on grass
        someone plays the guitar | a guitarist makes music | someone plays tennis
        a wooden table | furniture made of oak | a wooden boat
        the sound of rain | water drops patter on a roof | the sound of bells
        a black cat asleep | a dark kitten takes a nap | a black cab at night
        a plane in the sky | an aircraft up in the air | a kite in the sky
        a bank by the river | the shore of a stream | a bank with a vault
        a bat hangs in a cave | a small winged mammal | a bat lies on a pitch
        a hot dog with mustard | a sausage in a bun | a hot dog in the sun
        two people at a table | a pair sits and eats | ten people at a table
        a crane lifts a beam | heavy machinery at a building site | a crane eats a fish
    """,
}

PROBES: Mapping[str, tuple[Probe, ...]] = {
    kind: tuple(Probe(*line.strip().split(" | ")) for line in lines.strip().splitlines())
    for kind, lines in _SENTENCES.items()
}


@dataclass(frozen=True, slots=True)
class Probed:
    """accuracy: share of probes told right; interval: 95 %. confused: mean cosine of a sentence and
    the one that means something else. wrong: the probes it fell for."""

    accuracy: float
    interval: tuple[float, float]
    confused: float
    wrong: Sequence[Probe]

    def to_json(self) -> dict[str, Any]:
        return {
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "confused": self.confused,
            "wrong": [probe._asdict() for probe in self.wrong],
        }


def probe(batcher: Batcher) -> dict[str, Probed]:
    """By kind. Raises UnsupportedModality for a space without words."""
    if Modality.TEXT not in batcher.embedder.modalities:
        raise UnsupportedModality(
            f"the space {batcher.embedder.space.name!r} reads no words, and probes are words"
        )
    return {kind: _probed(batcher, probes) for kind, probes in PROBES.items()}


def _probed(batcher: Batcher, probes: Sequence[Probe]) -> Probed:
    said = [Media(Modality.TEXT, text) for one in probes for text in one]
    vectors = np.stack([found.joint for found in batcher.embed(said)]).reshape(len(probes), 3, -1)
    cosines = np.einsum("pd,pod->po", vectors[:, 0], vectors[:, 1:])
    right = (cosines[:, 0] > cosines[:, 1]).astype(np.float64)
    return Probed(
        accuracy=float(right.mean()),
        interval=bootstrap_interval(right),
        confused=float(cosines[:, 1].mean()),
        wrong=[one for one, told in zip(probes, right, strict=True) if not told],
    )
