"""Reports on a collection: what is there twice, what belongs together, what stands out, and where.

The maths is `curation.py`'s. An item of several pieces stands where all of them point together.
Duplicates are told by the tower's own vectors where it has some, all else by the joint ones, which
know better what a thing is: among 120 photos of ten kinds of clothes the five nearest are of one's
own kind in .69 of all cases by these, in .55 by those.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isqrt

import numpy as np

from embed.errors import InvalidQuery
from embed.types import Floats, Item, Modality
from index.contents import Contents
from index.factory import open_index
from index.search.curation import clusters, joined, links, middles, neighbours, plane, strangeness
from index.search.stored import Stored
from index.types import Ids, Partition, VectorIndex, VectorKind

ALIKE = 0.98  # cosine of what is there twice
NEIGHBOURS = 10
ON_A_MAP = 5_000  # items; of more, so many are drawn
MOST_CLUSTERS = 200
_EXAMPLES = 6  # items told of a cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Twins:
    """Items that are all but the same, oldest first. cosine: of the least alike that bind them."""

    items: Sequence[Item]
    cosine: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """size: of items; examples: those nearest its centre; cosine: mean of all with the centre."""

    size: int
    examples: Sequence[Item]
    cosine: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlier:
    """distance: mean 1 - cosine to the nearest others."""

    item: Item
    distance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Where an item is on the map, in [0, 1], and the cluster it belongs to."""

    item: Item
    x: float
    y: float
    cluster: int


class Survey:
    """Looks over one collection, an item kind at a time. Takes minutes for hundred thousands."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._stored = Stored(contents)

    def duplicates(self, modality: Modality | None = None, *, least: float = ALIKE) -> list[Twins]:
        """Groups of items bound by cosines of at least `least`, the largest first.

        Raises InvalidQuery for a modality that has no items, or a bound that is no cosine.
        """
        if not 0 < least <= 1:
            raise InvalidQuery(f"least is {least:g}; above 0 up to 1 is possible", param="least")
        ids, vectors = self._things(modality, VectorKind.NATIVE)
        with _exactly(ids, vectors) as engine:
            found = list(links(ids, vectors, engine, least))
        groups = joined([(link.one, link.other) for link in found])
        weakest: dict[int, float] = {}
        place = {member: n for n, group in enumerate(groups) for member in group}
        for link in found:
            n = place[link.one]
            weakest[n] = min(weakest.get(n, 1.0), link.cosine)
        items = self._stored.items(place)
        return [
            Twins(items=[items[one] for one in group if one in items], cosine=weakest[n])
            for n, group in enumerate(groups)
        ]

    def clusters(
        self, modality: Modality | None = None, *, count: int | None = None, seed: int = 0
    ) -> list[Cluster]:
        """The largest first. count: at most; None is √(N/2), which reads well."""
        ids, vectors = self._things(modality)
        found = clusters(vectors, _count(count, len(ids)), seed=seed)
        members = [np.flatnonzero(found.labels == one) for one in range(len(found.centres))]
        nearest = [
            some[np.argsort(-found.cosines[some], kind="stable")[:_EXAMPLES]] for some in members
        ]
        items = self._stored.items(ids[np.concatenate(nearest)].tolist())
        return [
            Cluster(
                size=len(some),
                examples=[items[one] for one in ids[best].tolist() if one in items],
                cosine=float(found.cosines[some].mean()),
            )
            for some, best in zip(members, nearest, strict=True)
        ]

    def outliers(self, modality: Modality | None = None, *, count: int = 20) -> list[Outlier]:
        """The `count` items that are least like their nearest others, the strangest first."""
        ids, vectors = self._things(modality)
        with _exactly(ids, vectors) as engine:
            _, cosines = neighbours(ids, vectors, engine, NEIGHBOURS)
        strange = strangeness(cosines)
        most = np.argsort(-strange, kind="stable")[:count]
        items = self._stored.items(ids[most].tolist())
        return [
            Outlier(item=items[one], distance=float(distance))
            for one, distance in zip(ids[most].tolist(), strange[most], strict=True)
            if one in items
        ]

    def map(self, modality: Modality | None = None, *, seed: int = 0) -> list[Spot]:
        """Where items lie, the like near each other; of very many, `ON_A_MAP` drawn at random."""
        ids, vectors = self._things(modality)
        if len(ids) > ON_A_MAP:
            drawn = np.sort(np.random.default_rng(seed).permutation(len(ids))[:ON_A_MAP])
            ids, vectors = ids[drawn], vectors[drawn]
        with _exactly(ids, vectors) as engine:
            near, _ = neighbours(ids, vectors, engine, NEIGHBOURS)
        places = plane(vectors, near, seed=seed)
        labels = clusters(vectors, _count(None, len(ids)), seed=seed).labels
        items = self._stored.items(ids.tolist())
        return [
            Spot(item=items[one], x=float(x), y=float(y), cluster=int(label))
            for one, (x, y), label in zip(ids.tolist(), places, labels, strict=True)
            if one in items
        ]

    def _things(
        self, modality: Modality | None, kind: VectorKind = VectorKind.JOINT
    ) -> tuple[Ids, Floats]:
        """`(N,)` the catalog's own ids of items ascending, `(N, dim)` where they point."""
        states = {state.partition: state for state in self._contents.partitions()}
        counts = self._contents.counts()
        if modality is None:
            modality = max(counts, key=lambda one: counts[one], default=Modality.IMAGE)
        joint, wanted = Partition(modality, VectorKind.JOINT), Partition(modality, kind)
        state = states.get(wanted) or states.get(joint)
        if state is None or not counts.get(modality):
            raise InvalidQuery(
                f"collection {self._contents.info.name!r} has no {modality.value} items to look "
                f"over; it holds {', '.join(sorted(counts)) or 'nothing'}",
                param="modality",
            )
        owned = self._stored.partition(state)
        return middles(owned.owners, owned.vectors)


@contextmanager
def _exactly(ids: Ids, vectors: Floats) -> Iterator[VectorIndex]:
    """What finds the like among these."""
    engine = open_index("exact", vectors.shape[1])
    try:
        engine.upsert(ids, vectors)
        yield engine
    finally:
        engine.close()


def _count(count: int | None, items: int) -> int:
    if count is None:
        return max(1, min(MOST_CLUSTERS, isqrt(items // 2)))
    if not 1 <= count <= MOST_CLUSTERS:
        raise InvalidQuery(
            f"count is {count}; 1 to {MOST_CLUSTERS} clusters are possible", param="count"
        )
    return count
