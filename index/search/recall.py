"""How well two collections of the same items find what belongs together: recall, before and after.

The collection's own records are the judge: an item of one modality asks, and the items of its
record in another are what should come first. Only stored vectors are needed, so a space that can no
longer be loaded is measured as well. Intervals are of the paired difference, by bootstrap over
records (Efron 1979): both spaces answer the same questions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embed.errors import NotFound
from embed.types import Floats, Item, Modality, normalise
from index.collection import Collection
from index.search.query import Query

CUTS = (1, 10)
SAMPLE = 500  # records
DRAWS = 2000
AT_ONCE = 64  # questions


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """Recall at 1 and 10 of one kind of question, in two spaces.

    found: modality of what is looked for; None where every modality answers at once. questions: one
    a record. interval: of after - before, 95 %.
    """

    asked: Modality
    found: Modality | None
    questions: int
    before: dict[int, float]
    after: dict[int, float]
    interval: dict[int, tuple[float, float]]

    def to_json(self) -> dict[str, Any]:
        return {
            "asked": self.asked.value,
            "found": "any" if self.found is None else self.found.value,
            "questions": self.questions,
            **{
                f"recall@{k}": {
                    "before": round(self.before[k], 4),
                    "after": round(self.after[k], 4),
                    "difference_95": [round(bound, 4) for bound in self.interval[k]],
                }
                for k in CUTS
            },
        }


class _Question(NamedTuple):
    """An item that asks, and the ids of its record that would be right answers, by modality."""

    item: str
    right: frozenset[str]


def compare(old: Collection, new: Collection, *, seed: int = 0) -> list[Recall]:
    """Recall in both, over a sample of at most `SAMPLE` records that have several modalities.

    Kinds of question that the new one cannot be asked are left out.
    """
    rng = np.random.default_rng(seed)
    kinds = _questions(old, _sample(old.paired_records(), rng), readable=new.counts().keys())
    recalls = []
    for (asked, found), questions in sorted(kinds.items(), key=lambda kind: str(kind[0])):
        ranks = [_ranks(collection, questions, found) for collection in (old, new)]
        known = (ranks[0] >= 0) & (ranks[1] >= 0)  # one of them may have changed meanwhile
        if known.any():
            recalls.append(_recall(asked, found, ranks[0][known], ranks[1][known], rng))
    return recalls


def _sample(records: Sequence[str], rng: np.random.Generator) -> list[str]:
    chosen = rng.permutation(len(records))[:SAMPLE]
    return [records[number] for number in sorted(chosen)]


def _questions(
    collection: Collection, records: Sequence[str], *, readable: Set[Modality]
) -> dict[tuple[Modality, Modality | None], list[_Question]]:
    kinds: dict[tuple[Modality, Modality | None], list[_Question]] = {}
    for record in records:
        items, _ = collection.items(record=record, limit=1000)
        by_modality: dict[Modality, list[Item]] = {}
        for item in (item for item in items if item.modality in readable):
            by_modality.setdefault(item.modality, []).append(item)
        for asked, asking in by_modality.items():
            asks = asking[0].id
            others = {m: frozenset(i.id for i in found) for m, found in by_modality.items()}
            del others[asked]
            if not others:
                continue
            for found, right in [*others.items(), (None, frozenset().union(*others.values()))]:
                kinds.setdefault((asked, found), []).append(_Question(asks, right))
    return kinds


def _ranks(
    collection: Collection, questions: Sequence[_Question], found: Modality | None
) -> NDArray[np.int64]:
    """`(Q,)`: where the first right answer stands, from 0; beyond the last cut `max(CUTS)`.

    -1 where the item that asks has no vector.
    """
    ranks = np.full(len(questions), -1, dtype=np.int64)
    vectors = [_vector(collection, question.item) for question in questions]
    known = [number for number, vector in enumerate(vectors) if vector is not None]
    wanted = None if found is None else frozenset([found])
    for some in _batches(known):
        asked = [Query(joint=vectors[n], k=max(CUTS) + 1, modalities=wanted) for n in some]
        answers = collection.search_batch(asked)
        for number, answer in zip(some, answers, strict=True):
            item, right = questions[number]
            ids = [hit.item.id for hit in answer.hits if hit.item.id != item][: max(CUTS)]
            hits = [rank for rank, hit in enumerate(ids) if hit in right]
            ranks[number] = hits[0] if hits else max(CUTS)
    return ranks


def _vector(collection: Collection, item: str) -> Floats | None:
    """`(D,)`: the direction of all pieces of an item together."""
    try:
        pieces = collection.vectors_of(item)
    except NotFound:
        return None
    if not len(pieces):
        return None
    vector: Floats = normalise(pieces.mean(axis=0, keepdims=True))[0]
    return vector


def _batches(numbers: Sequence[int]) -> Iterator[list[int]]:
    rest = iter(numbers)
    while some := list(islice(rest, AT_ONCE)):
        yield some


def _recall(
    asked: Modality,
    found: Modality | None,
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    rng: np.random.Generator,
) -> Recall:
    draws = rng.integers(len(before), size=(DRAWS, len(before)))
    interval = {}
    for k in CUTS:
        gained = (after < k).astype(np.float64) - (before < k)
        low, high = np.quantile(gained[draws].mean(axis=1), [0.025, 0.975])
        interval[k] = (float(low), float(high))
    return Recall(
        asked=asked,
        found=found,
        questions=len(before),
        before={k: float((before < k).mean()) for k in CUTS},
        after={k: float((after < k).mean()) for k in CUTS},
        interval=interval,
    )
