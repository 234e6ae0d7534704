"""What is asked of a collection: one type for every search, by vector, by words or by both.

It knows neither media nor towers: whoever asks has embedded already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from embed.calibration import Curve
from embed.errors import InvalidQuery, InvalidVector, SpaceMismatch
from embed.types import Floats, Modality
from index.metadata.filters import Filter
from index.rows import wrong_dim
from index.types import CollectionInfo, Partition

MAX_DEPTH = 10_000  # items of a ranking that hits are chosen among, on whatever page


class Balance(NamedTuple):
    """How much vectors and words count where both rank."""

    dense: float = 1.0
    words: float = 1.0


EVEN = Balance()


class Pieces(NamedTuple):
    """What a query of several pieces consists of: `(P, D)` unit vectors, `(P,)` weights."""

    vectors: Floats
    weights: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Query:
    """One search.

    joint: `(D,)` unit, the space's own; None where only `words` ask. native: `(M,)` for modalities
    where the tower's own vectors answer instead. words: also ranked by BM25, as `balance` says.

    modalities: of the items looked for; None means all. filter: what must be true of them.
    exclude: items that are no answer. seen: fragments that pages before this one showed; it goes on
    where they end. offset: hits to pass over. min_score: a cosine below it is no answer.
    min_probability: the same of a calibrated one.
    curves: what a cosine of this query means, by partition; with one for each partition that
    answers, hits of several modalities are ranked by probability.

    group_by: best of each `record`, of each file (`uri`), or of each value of a field as filters
    name it. collapse: an item whose cosine with a better one is at least this is left out.
    diversity: 0 is likeness alone, 1 unlikeness to the hits before it alone.
    pieces: the best are ranked anew by them. moments: how many places of each item are told.
    """

    joint: Floats | None = None
    native: Mapping[Modality, Floats] = field(default_factory=dict)
    words: str | None = None
    balance: Balance = EVEN
    k: int = 10
    offset: int = 0
    modalities: frozenset[Modality] | None = None
    filter: Filter | None = None
    exclude: frozenset[str] = frozenset()
    seen: frozenset[int] = frozenset()
    min_score: float | None = None
    min_probability: float | None = None
    curves: Mapping[Partition, Curve] = field(default_factory=dict)
    group_by: str | None = None
    collapse: float | None = None
    diversity: float = 0.0
    pieces: Pieces | None = None
    moments: int = 1

    @property
    def wanted(self) -> frozenset[Modality]:
        return frozenset(Modality) if self.modalities is None else self.modalities

    @property
    def dense(self) -> Floats | None:
        """What vectors are asked with; None where words alone count."""
        return self.joint if self.balance.dense > 0 or self.words is None else None

    @property
    def reach(self) -> int:
        """How far down the ranking this page ends; one more tells whether there is another."""
        return len(self.seen) + self.offset + self.k + 1

    def check(self, info: CollectionInfo) -> None:
        """Raises InvalidQuery, InvalidVector, and SpaceMismatch for vectors of another space."""
        if self.k < 1:
            raise InvalidQuery(f"k is {self.k}; at least 1 is needed", param="k")
        if not 0 <= self.offset <= MAX_DEPTH or self.reach > MAX_DEPTH + 1:
            raise InvalidQuery(
                f"offset is {self.offset}; a search reaches {MAX_DEPTH:,} hits in all: narrow it "
                "with a filter",
                param="offset",
            )
        if not self.wanted:
            raise InvalidQuery("no modality is asked for; name one, or leave them out")
        if self.joint is None and self.words is None:
            raise InvalidQuery("nothing is asked: a vector or words are wanted", param="query")
        if self.group_by == "@text":
            raise InvalidQuery("texts make no groups; name another field", param="group_by")
        _check_balance(self.balance)
        _check_within("diversity", self.diversity, 0.0, 1.0)
        _check_within("collapse", self.collapse, 0.0, 1.0)
        _check_within("min_score", self.min_score, -1.0, 1.0)
        if self.joint is not None:
            _check_vector("the query", self.joint, info)
        if self.pieces is not None:
            for vector in self.pieces.vectors:
                _check_vector("a piece of the query", vector, info)


def _check_balance(balance: Balance) -> None:
    if min(balance) < 0 or max(balance) == 0 or not np.isfinite(balance).all():
        raise InvalidQuery(
            f"hybrid weights are {balance.dense:g} for vectors and {balance.words:g} for words; "
            "numbers from 0 are wanted, not both 0",
            param="hybrid",
        )


def _check_within(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise InvalidQuery(f"{name} is {value:g}; {low:g} to {high:g} is possible", param=name)


def _check_vector(name: str, vector: Floats, info: CollectionInfo) -> None:
    if vector.ndim != 1:
        raise InvalidVector(f"{name} has shape {vector.shape}; (D,) is wanted")
    if vector.shape != (info.space.dim,):
        raise SpaceMismatch(wrong_dim(len(vector), info))
    if not np.isfinite(vector).all():
        raise InvalidVector(f"{name} holds NaN or infinity; every number must be finite")
