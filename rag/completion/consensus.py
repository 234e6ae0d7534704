"""What several sources say together: who is heard, what they agree on, and how far.

Sources that say the same of different things agree, and what most of the weight agrees on is the
answer: for words that repeat (names, labels) the vote of equals, for others the one that is nearest
to all, a weighted medoid; the mean of k is MissRAG's. Weights come from outside.
Pure functions: nothing here knows a collection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embed.types import Floats, Item, normalise
from rag.completion.candidates import Candidate
from rag.completion.likeness import Alike, normal

_AGREES = 0.5  # what agrees with a value at least so far is a source of it
_NONE = 1.0  # odds that none of the sources is right
_LABELS = 0.5  # of the values that were met so many differ at most where words are labels


class Voice(NamedTuple):
    """A source that is heard, and how much it counts: the odds that it is right."""

    item: Item
    weight: float


class Verdict(NamedTuple):
    """What voices come to. value: the one that says it. share: of all weight, what agrees with it;
    that none of them is right weighs 1, even odds.

    vector: `(D,)` joint. sources: voices that it rests on, the weightiest first.
    """

    value: Voice
    share: float
    vector: Floats
    sources: Sequence[Voice]


def share_of(agree: NDArray[np.float64], voices: Sequence[Voice]) -> float:
    """Of the weight of all, and of none, what `(N,)` of agreement with them holds."""
    weights = np.array([voice.weight for voice in voices])
    return float(agree @ weights / (weights.sum() + _NONE))


def heard(candidates: Sequence[Candidate], weigh: Callable[[Candidate], float]) -> list[Voice]:
    """Each source once, the weightiest first; those of no weight are not."""
    weights: dict[str, float] = {}
    items: dict[str, Item] = {}
    for candidate in candidates:
        weight = weigh(candidate)
        if weight > 0:
            items[candidate.item.id] = candidate.item
            weights[candidate.item.id] = weights.get(candidate.item.id, 0.0) + weight
    voices = [Voice(items[one], weight) for one, weight in weights.items()]
    return sorted(voices, key=lambda voice: (-voice.weight, voice.item.id))


def best(voices: Sequence[Voice], vectors: Floats, alike: Alike) -> Verdict:
    """What most of the weight agrees on, of words; of media the weightiest. vectors: `(N, D)`."""
    weights = np.array([voice.weight for voice in voices])
    agree = agreement(voices, vectors, alike)
    support = agree @ weights
    of_words = voices[0].item.text is not None
    at = int(np.argmax(support)) if of_words else 0
    sources = [
        voice for voice, with_it in zip(voices, agree[at], strict=True) if with_it >= _AGREES
    ]
    return Verdict(voices[at], share_of(agree[at], voices), vectors[at], sources)


def mean(voices: Sequence[Voice], vectors: Floats, alike: Alike) -> Verdict:
    """The direction of all, by weight, and the source that is nearest to it."""
    weights = np.array([voice.weight for voice in voices])
    parts = (weights / weights.max())[:, None]  # odds can be so small that no direction is left
    middle: Floats = normalise((parts * vectors).sum(0, keepdims=True))[0]
    at = int(np.argmax(vectors @ middle))
    agree = agreement(voices, vectors, alike)[at]
    return Verdict(voices[at], share_of(agree, voices), middle, voices)


def agreement(voices: Sequence[Voice], vectors: Floats, alike: Alike) -> NDArray[np.float64]:
    """`(N, N)` in [0, 1]: 1 where two say the same; where words repeat, 0 else."""
    said = np.array([normal(voice.item.text or "") for voice in voices])
    same: NDArray[np.bool_] = (said[:, None] == said[None]) & (said != "")[:, None]
    if (said != "").any() and len(set(said)) <= max(1.0, _LABELS * len(said)):
        return np.asarray(same, np.float64)
    near = alike(np.asarray(vectors @ vectors.T, np.float64))
    np.fill_diagonal(near, 1.0)
    agree: NDArray[np.float64] = np.maximum(near, same)
    return agree
