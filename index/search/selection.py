"""From a ranking to the hits worth showing: one of a group, no near-duplicates, some variety.

Pure functions over candidates in order. Diversity is maximal marginal relevance (Carbonell and
Goldstein, SIGIR 1998, eq. 1); ranking by pieces is MaxSim (Khattab and Zaharia, SIGIR 2020, eq. 3),
as a mean, so that it stays a cosine.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embed.types import Floats, GeoPoint, Item, Modality
from index.metadata.filters import And, Filter, Op, Predicate, values_of
from index.search.query import Pieces
from index.types import part_uri


def group_of(item: Item, field: str) -> Hashable | None:
    """What an item is grouped by; None where it lacks the field or that holds a place, and the item
    is a group by itself.

    `record`; `uri`: of the file, whatever part of it the item is; any field as filters name it.
    """
    if field == "uri":
        return None if item.uri is None else item.uri.partition("#")[0]
    found = values_of(item, "@record" if field == "record" else field)
    if any(isinstance(value, GeoPoint) for value in found):
        return None
    return tuple((isinstance(value, bool), value) for value in found) or None


def like_it(item: Item, field: str) -> Filter:
    """What is true of the items of its group; of itself alone where it is a group by itself."""
    if field == "uri" and item.uri is not None:
        file = item.uri.partition("#")[0]
        uris = (file, *(part_uri(file, modality) for modality in Modality))
        return Predicate("@uri", Op.IN, uris)
    name = {"record": "@record", "uri": "@uri"}.get(field, field)
    values = values_of(item, name)
    if not values or any(isinstance(value, GeoPoint) for value in values):
        return Predicate("@id", Op.EQ, item.id)
    return And(tuple(Predicate(name, Op.EQ, value) for value in values))


def first_of_each(groups: Sequence[Hashable | None], taken: Iterable[Hashable | None]) -> list[int]:
    """Positions whose group is in no earlier one and not in `taken`."""
    known = {group for group in taken if group is not None}
    kept = []
    for position, group in enumerate(groups):
        if group is None or group not in known:
            kept.append(position)
            known.add(group)
    return kept


class Look(NamedTuple):
    """What an item looks like: a unit vector, to be compared with others of its `sort` alone."""

    sort: int
    vector: Floats


def without_twins(looks: Sequence[Look], least: float, count: int, taken: int) -> list[int]:
    """At most `count` positions, none with a cosine >= `least` to one that was kept before it.

    The first `taken` are kept unasked and not told.
    """
    kept: dict[int, list[Floats]] = {}
    chosen: list[int] = []
    for position, (sort, vector) in enumerate(looks):
        if len(chosen) == count:
            break
        others = kept.setdefault(sort, [])
        if position < taken:
            others.append(vector)
        elif not others or float((np.stack(others) @ vector).max()) < least:
            others.append(vector)
            chosen.append(position)
    return chosen


def diverse(
    relevance: NDArray[np.float64], vectors: Floats, diversity: float, count: int, taken: int
) -> list[int]:
    """At most `count` positions, each the best of
    (1 - diversity) · relevance - diversity · max cosine to those before it; ties by position.

    relevance: `(N,)` in [0, 1]. The first `taken` stand before all others and are not told.
    """
    gain = (1 - diversity) * relevance
    nearest = np.full(len(vectors), 0.0 if not taken else -1.0)
    for position in range(taken):
        nearest = np.maximum(nearest, vectors @ vectors[position])
    free = np.arange(len(vectors)) >= taken
    chosen: list[int] = []
    for _ in range(min(count, int(free.sum()))):
        best = int(np.argmax(np.where(free, gain - diversity * nearest, -np.inf)))
        likeness = vectors @ vectors[best]
        nearest = np.maximum(nearest, likeness) if chosen or taken else likeness
        free[best] = False
        chosen.append(best)
    return chosen


def scaled(scores: Sequence[float]) -> NDArray[np.float64]:
    """`(N,)` to [0, 1], the worst to the best; all 1 where they are equal."""
    values = np.asarray(scores, np.float64)
    low, high = (values.min(), values.max()) if len(values) else (0.0, 0.0)
    return np.ones(len(values)) if low == high else (values - low) / (high - low)


def max_sim(query: Pieces, vectors: Floats) -> float:
    """Σ weight · max over `(F, D)` fragments of the cosine, over Σ |weight|."""
    best = (query.vectors @ vectors.T).max(axis=1)
    return float(query.weights @ best / np.abs(query.weights).sum())
