"""Where what a record lacks may be borrowed from.

A record that has modalities A and lacks m asks in two ways: for each a of A its neighbours within a
whose records hold an observed m, and for each a of A across into m. All are asked in one go. Only
what was observed is a candidate, and nothing of the record itself.
It judges nothing: how much a candidate is worth is `consensus.py` and `fit.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np

from embed.calibration import Curve
from embed.types import Floats, Item, Modality, Origin, normalise
from index.metadata.filters import And, Filter, Has, Op, Predicate
from index.search.query import Query
from index.search.selection import Look, without_twins
from index.search.stored import StoredPieces
from index.search.survey import ALIKE
from index.types import Partition, Results, VectorKind
from rag.completion.likeness import normal
from rag.library import Asked, Library

_OBSERVED = Predicate("@origin", Op.EQ, Origin.OBSERVED.value)


class Route(NamedTuple):
    """A way to a candidate: what was asked with, among what, compared in which vectors."""

    asked: Modality
    among: Modality
    kind: VectorKind

    def __str__(self) -> str:
        return f"{self.asked}-{self.among}-{self.kind}"


@dataclass(frozen=True, slots=True, eq=False)
class Holder:
    """What lacks a modality: the vectors of what it has, one query a modality.

    record: its id, None for media from outside. own: its items, which are no candidates.
    """

    record: str | None
    has: Mapping[Modality, Asked]
    own: frozenset[str] = frozenset()

    def without(self, modality: Modality) -> Holder:
        """As if it lacked that."""
        has = {one: asked for one, asked in self.has.items() if one is not modality}
        return Holder(self.record, has, self.own)


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """An observed item of the missing modality. found: the item whose likeness led to it.

    cosine: of that one with what asked.
    """

    item: Item
    found: str
    route: Route
    cosine: float


def holders_of(library: Library, records: Sequence[str]) -> list[Holder]:
    """Records by the vectors that are kept of their observed items; one that is gone has none."""
    items = library.collection.items_of_records(records)
    evidence = {record: observed(some) for record, some in items.items()}
    ids = [item.id for some in evidence.values() for item in some]
    kept = {kind: library.collection.pieces_of(ids, kind) for kind in VectorKind}
    return [
        Holder(
            record,
            _asked(evidence.get(record, []), kept),
            frozenset(item.id for item in items.get(record, [])),
        )
        for record in records
    ]


class Wanted(NamedTuple):
    """A holder, and a modality that it is to be given. routes: the ways to ask; None means all."""

    holder: Holder
    missing: Modality
    routes: frozenset[Route] | None = None


def gather(library: Library, wanted: Sequence[Wanted], k: int) -> list[list[Candidate]]:
    """What each holder may borrow, from `k` neighbours a way, all in one search. What is all but
    the same counts once: pictures alike in native vectors, words met twice on one way."""
    asked = [
        (number, route, query)
        for number, one in enumerate(wanted)
        for route, query in _queries(one.holder, one.missing, k)
        if one.routes is None or route in one.routes
    ]
    found, looks = _uncrowded(library, [query for _, _, query in asked])
    records = {hit.item.record for results in found for hit in results.hits}
    items = library.collection.items_of_records(records)
    gathered: list[list[Candidate]] = [[] for _ in wanted]
    for (number, route, _), results in zip(asked, found, strict=True):
        missing = wanted[number].missing
        for hit in results.hits:
            pairs = [hit.item] if route.among is missing else items.get(hit.item.record, [])
            gathered[number] += [
                Candidate(item, hit.item.id, route, hit.score or 0.0)
                for item in observed(pairs, missing)
            ]
    return [_apart(candidates, looks) for candidates in gathered]


def observed(items: Iterable[Item], modality: Modality | None = None) -> list[Item]:
    """Those that are evidence, of one modality or of any."""
    return [
        item
        for item in items
        if item.origin is Origin.OBSERVED and modality in (None, item.modality)
    ]


def _asked(
    items: Sequence[Item], kept: Mapping[VectorKind, Mapping[str, StoredPieces]]
) -> dict[Modality, Asked]:
    """All items of a modality are one query: where all of their pieces point together."""
    by_modality: dict[Modality, list[str]] = {}
    for item in items:
        if item.id in kept[VectorKind.JOINT]:
            by_modality.setdefault(item.modality, []).append(item.id)
    asked = {}
    for modality, ids in by_modality.items():
        joint = middle([kept[VectorKind.JOINT][one].vectors for one in ids])
        native = [
            kept[VectorKind.NATIVE][one].vectors for one in ids if one in kept[VectorKind.NATIVE]
        ]
        asked[modality] = Asked(modality, joint, {modality: middle(native)} if native else {})
    return asked


def middle(vectors: Sequence[Floats]) -> Floats:
    """`(D,)`: where the rows of one or more `(F, D)` arrays point together."""
    rows = vectors[0] if len(vectors) == 1 else np.concatenate(vectors)
    unit: Floats = rows[0] if len(rows) == 1 else normalise(rows.mean(0, keepdims=True))[0]
    return unit


def middles(
    library: Library, items: Iterable[str], kind: VectorKind = VectorKind.JOINT
) -> dict[str, Floats]:
    """`(D,)` by item: where its pieces point together. Those without a vector are left out."""
    pieces = library.collection.pieces_of(sorted(set(items)), kind)
    return {one: middle([some.vectors]) for one, some in pieces.items()}


def curve_within(library: Library, modality: Modality) -> Curve | None:
    """What a joint cosine of two of one modality means."""
    return library.curves(modality).get(Partition(modality, VectorKind.JOINT))


def _queries(holder: Holder, missing: Modality, k: int) -> Iterator[tuple[Route, Query]]:
    for modality, asked in holder.has.items():
        kinds = [VectorKind.JOINT, *([VectorKind.NATIVE] if modality in asked.native else [])]
        for kind in kinds:
            yield (
                Route(modality, modality, kind),
                Query(
                    joint=asked.joint,
                    native=asked.native if kind is VectorKind.NATIVE else {},
                    k=k,
                    modalities=frozenset({modality}),
                    filter=_holding(missing),
                    exclude=holder.own,
                ),
            )
        yield (
            Route(modality, missing, VectorKind.JOINT),
            Query(
                joint=asked.joint,
                k=k,
                modalities=frozenset({missing}),
                filter=_OBSERVED,
                exclude=holder.own,
            ),
        )


@cache
def _holding(missing: Modality) -> Filter:
    """The same object each time: what it means is worked out once a search."""
    return And((Has(missing), _OBSERVED))


def _looks(library: Library, found: Iterable[Results]) -> dict[str, Floats]:
    """Native vectors of what was found, where there are any."""
    return middles(library, (hit.item.id for one in found for hit in one.hits), VectorKind.NATIVE)


def _uncrowded(
    library: Library, queries: Sequence[Query]
) -> tuple[list[Results], dict[str, Floats]]:
    """What is found, and how it looks. Where things that are there many times crowd out all others,
    once more without them."""
    found = library.search(queries)
    looks = _looks(library, found)
    crowded = [
        n
        for n, results in enumerate(found)
        if results.more and 2 * len(_seen_apart(results, looks)) < len(results.hits)
    ]
    if crowded:
        again = library.search([replace(queries[n], collapse=ALIKE) for n in crowded])
        for n, results in zip(crowded, again, strict=True):
            found[n] = results
        looks |= _looks(library, again)
    return found, looks


def _seen_apart(results: Results, looks: Mapping[str, Floats]) -> list[int]:
    seen = [Look(0, looks[hit.item.id]) for hit in results.hits if hit.item.id in looks]
    return without_twins(seen, ALIKE, len(seen), 0) if seen else list(range(len(results.hits)))


def _apart(candidates: Sequence[Candidate], looks: Mapping[str, Floats]) -> list[Candidate]:
    """Without those that one way leads to twice: of what is all but the same the nearest stays.

    looks: native vectors of what led to them, where it has any.
    """
    near = sorted(candidates, key=lambda one: -one.cosine)
    kept = [*_unlike([one for one in near if one.found in looks], looks)]
    kept += [one for one in near if one.found not in looks]
    said: dict[object, Candidate] = {}
    for one in kept:
        direct = one.found == one.item.id and one.item.text is not None
        said.setdefault((one.route, normal(one.item.text or "")) if direct else one, one)
    return list(said.values())


def _unlike(candidates: Sequence[Candidate], looks: Mapping[str, Floats]) -> list[Candidate]:
    ways = list(dict.fromkeys(one.route for one in candidates))
    seen = [Look(ways.index(one.route), looks[one.found]) for one in candidates]
    return [candidates[n] for n in without_twins(seen, ALIKE, len(seen), 0)]
