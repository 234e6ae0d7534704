"""Records completed as if they lacked what they have, and whether that came out right.

What else a record has is masked too, down to what those have that truly lack the modality, so that
an album of bare photos is judged by bare photos.

Words are right when they are those that were masked or, beyond labels, mean the same. A medium is
right when its record says what the masked one's says; without words, when it is as like the masked
one as what is looked for with it, or where nothing tells that, among its nearest neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embed.types import Floats, Item, Modality
from index.search.query import Query
from index.types import Partition, VectorKind
from rag.completion.candidates import (
    Candidate,
    Holder,
    Route,
    Wanted,
    curve_within,
    gather,
    holders_of,
    middles,
    observed,
)
from rag.completion.consensus import Verdict, Voice, heard
from rag.completion.likeness import Alike, likeness, normal
from rag.library import Library

_SAME = 0.9  # cosine of words that mean the same, where no curve tells
_LIKELY = 0.5
_ALIKE = 50  # at most
_NEAREST = 5
_LABEL = 3  # words at most, of what means itself alone


class Outcome(NamedTuple):
    """`(N,)` scores, and `(N,)` whether what had them was right."""

    scores: NDArray[np.float64]
    right: NDArray[np.bool_]


class Masked:
    """Records without their items of one modality, and all that they may borrow instead."""

    def __init__(
        self, library: Library, records: Sequence[str], missing: Modality, k: int, seed: int
    ) -> None:
        whole = [one for one in holders_of(library, records) if missing in one.has]
        holders = [one for one in (holder.without(missing) for holder in whole) if one.has]
        self._missing = missing
        self._holders = holders
        self._gathered = gather(library, [Wanted(one, missing) for one in holders], k)
        sources = {one.item.record for some in self._gathered for one in some}
        own = {holder.record for holder in holders if holder.record is not None}
        items = library.collection.items_of_records(sources | own)
        self._said = {record: observed(items[record], Modality.TEXT) for record in items}
        self._held = {record: observed(items[record], missing) for record in own & items.keys()}
        self._vectors = middles(library, self._met())
        self._near = {} if missing is Modality.TEXT else _neighbours(library, whole, missing)
        self._asking = _asking(library, holders, missing, seed)
        self._alike = likeness(curve_within(library, missing))
        self._meant = curve_within(library, Modality.TEXT)
        self._judged: dict[tuple[str, str], bool] = {}

    def __len__(self) -> int:
        return len(self._holders)

    def seen(self) -> dict[Route, Outcome]:
        """By way: cosines of candidates, and whether those were right."""
        found: dict[Route, tuple[list[float], list[bool]]] = {}
        for holder, candidates in zip(self._holders, self._gathered, strict=True):
            for one in candidates:
                cosines, right = found.setdefault(one.route, ([], []))
                cosines.append(one.cosine)
                right.append(self._right(holder, one.item))
        return {route: _outcome(*some) for route, some in found.items()}

    def outcome(
        self,
        judge: Callable[[Sequence[Voice], Floats, Alike], Verdict],
        weigh: Callable[[Candidate], float],
        *,
        as_lacking: bool = False,
    ) -> Outcome:
        """Of those that can be completed at all: the share of each verdict, and whether right.

        as_lacking: by what records have that truly lack the modality, not by all that these have.
        """
        shares, right = [], []
        for holder, asking, candidates in zip(
            self._holders, self._asking, self._gathered, strict=True
        ):
            some = [one for one in candidates if not as_lacking or one.route.asked in asking]
            voices = [v for v in heard(some, weigh) if v.item.id in self._vectors]
            if voices:
                rows = np.stack([self._vectors[v.item.id] for v in voices])
                verdict = judge(voices, rows, self._alike)
                shares.append(verdict.share)
                right.append(self._right(holder, verdict.value.item))
        return _outcome(shares, right)

    def _met(self) -> set[str]:
        """Items whose vectors tell what is the same."""
        met = {one.item.id for some in self._gathered for one in some}
        for held in (self._said, self._held):
            met |= {item.id for items in held.values() for item in items}
        return met

    def _right(self, holder: Holder, item: Item) -> bool:
        assert holder.record is not None
        pair = (holder.record, item.id)
        if pair not in self._judged:
            self._judged[pair] = self._judge(holder.record, item)
        return self._judged[pair]

    def _judge(self, record: str, item: Item) -> bool:
        if self._missing is Modality.TEXT:
            return any(self._same(truth, item) for truth in self._held.get(record, []))
        mine, theirs = self._said.get(record, []), self._said.get(item.record, [])
        if mine and theirs:
            return any(self._same(own, other) for own in mine for other in theirs)
        return item.id in self._near.get(record, ())

    def _same(self, one: Item, other: Item) -> bool:
        said = normal(one.text or "")
        if said == normal(other.text or ""):
            return said != ""
        if len(said.split()) <= _LABEL or not {one.id, other.id} <= self._vectors.keys():
            return False
        cosine = float(self._vectors[one.id] @ self._vectors[other.id])
        return cosine >= _SAME if self._meant is None else self._meant(cosine) >= _LIKELY


def _asking(
    library: Library, holders: Sequence[Holder], missing: Modality, seed: int
) -> list[frozenset[Modality]]:
    """For each holder what it asks with: what one that truly lacks the modality has, drawn at
    random, as far as this one has it; all where they share nothing, or nothing lacks it."""
    lacking = library.collection.gaps.lacking(missing)
    held = library.collection.items_of_records(lacking.values()).values()
    have = [frozenset(item.modality for item in observed(items)) for items in held]
    drawn = np.random.default_rng(seed).integers(max(len(have), 1), size=len(holders))
    return [
        (holder.has.keys() & have[n] if have else frozenset()) or frozenset(holder.has)
        for holder, n in zip(holders, drawn.tolist(), strict=True)
    ]


def _neighbours(
    library: Library, holders: Sequence[Holder], missing: Modality
) -> Mapping[str, frozenset[str]]:
    """By record: what its own medium finds of its kind, as far as that is likely; the nearest
    where nothing is known of that."""
    curve = curve_within(library, missing)
    tells = curve is not None and curve(1.0) >= _LIKELY
    curves = {Partition(missing, VectorKind.JOINT): curve} if curve is not None and tells else {}
    asked = [(str(one.record), one.has[missing], one.own) for one in holders]
    found = library.search(
        [
            Query(
                joint=medium.joint,
                native={} if tells else medium.native,
                k=_ALIKE if tells else _NEAREST,
                modalities=frozenset({missing}),
                exclude=own,
                curves=curves,
                min_probability=_LIKELY if tells else None,
            )
            for _, medium, own in asked
        ]
    )
    return {
        record: frozenset(hit.item.id for hit in results.hits)
        for (record, _, _), results in zip(asked, found, strict=True)
    }


def _outcome(scores: Sequence[float], right: Sequence[bool]) -> Outcome:
    return Outcome(np.array(scores, np.float64), np.array(right, bool))
