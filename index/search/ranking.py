"""Queries to rankings of items: engines are asked, their fragments become items, all are fused.

Queries that ask the same engine under the same filter are asked in one call. It knows neither what
comes after the ranking (`selection.py`) nor any engine by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from embed.errors import SpaceMismatch
from embed.types import Floats, Modality
from index.contents import Contents, PartitionState
from index.engines import Engines
from index.metadata.columns import Columns
from index.metadata.words import Words
from index.search.fusion import WORDS, Scored, best_per_item, blend, fuse, judged
from index.search.query import Query
from index.types import Found, Ids, Partition, VectorIndex, VectorKind, Where


@dataclass(slots=True)
class Ranking:
    """What one query found: items best first. complete: there are no others.

    whole: nothing that was found had gone when its item was looked up. exact, estimates: what the
    engines said of their answers.
    """

    items: list[Scored] = field(default_factory=list)
    complete: bool = True
    whole: bool = True
    exact: bool = True
    estimates: list[float | None] = field(default_factory=list)

    @property
    def recall_estimate(self) -> float | None:
        """The worst of all; None where one does not know its own."""
        known = [estimate for estimate in self.estimates if estimate is not None]
        return min(known, default=1.0) if len(known) == len(self.estimates) else None

    def add(self, found: Found, *, whole: bool) -> None:
        self.exact &= found.exact
        self.whole &= whole
        self.estimates.append(found.recall_estimate)


class _Asked(NamedTuple):
    """Queries that one engine answers at once: which of all they are, `(Q, dim)`, among what."""

    partition: Partition
    engine: VectorIndex
    numbers: Sequence[int]
    vectors: Floats
    where: Where | None


class Ranker:
    """Ranks the items of one collection. Safe to use from several threads."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._engines = Engines(contents)
        self.words = Words(contents)
        self.columns = Columns(contents)

    def rank(self, queries: Sequence[Query], depths: Sequence[int]) -> list[Ranking]:
        """The `depth` best items of each query, fewer where there are no more."""
        rankings = [Ranking() for _ in queries]
        found: list[list[list[Scored]]] = [[] for _ in queries]
        for asked in self._asked(queries):
            ranked = self._ask(asked, queries, depths, rankings)
            for number, items in zip(asked.numbers, ranked, strict=True):
                found[number].append(items)
        for query, depth, ranking, each in zip(queries, depths, rankings, found, strict=True):
            ranking.items = fuse(each, depth + 1)
            ranking.complete = all(len(items) < depth for items in each)
            if query.words is not None:
                self._blend(ranking, query, query.words, depth)
            ranking.complete &= len(ranking.items) <= depth
            ranking.items = ranking.items[:depth]
        return rankings

    def settle(self) -> None:
        """Waits until every engine has built what it builds in the background."""
        self._engines.settle()

    def close(self) -> None:
        """Lets go of what the engines hold."""
        self._engines.close()

    def _blend(self, ranking: Ranking, query: Query, words: str, depth: int) -> None:
        """Words have their say in the order."""
        items = None if query.filter is None else self.columns.items(query.filter)
        most = depth + len(query.exclude)
        said = self.words.search(words, most, query.wanted, items)
        owners = self._contents.owners([one.fragment for one in said])
        ranking.whole &= len(owners) == len(said)
        found = [
            Scored(one.fragment, None, one.score, item=owners[one.fragment], found_by=(WORDS,))
            for one in said
            if one.fragment in owners and owners[one.fragment] not in query.exclude
        ]
        ranking.items = blend(ranking.items, found, query.balance, depth + 1)
        ranking.complete &= len(said) < most

    def _asked(self, queries: Sequence[Query]) -> list[_Asked]:
        """What to ask of which engine, every engine up to date."""
        states = {state.partition: state for state in self._contents.partitions()}
        groups: dict[tuple[Partition, str], list[int]] = {}  # by how a filter reads: 1 is not true
        for number, query in enumerate(queries):
            for modality in sorted(query.wanted if query.dense is not None else ()):
                partition = _answering(query, modality, states)
                if partition is not None:
                    groups.setdefault((partition, repr(query.filter)), []).append(number)
        return [
            self._asking(states[partition], [queries[n] for n in numbers], numbers)
            for (partition, _), numbers in groups.items()
        ]

    def _asking(
        self, state: PartitionState, queries: Sequence[Query], numbers: Sequence[int]
    ) -> _Asked:
        filter_ = queries[0].filter
        where = (
            None
            if filter_ is None
            else Where(partial(self.columns.select, filter_, state), filter_)
        )
        vectors = np.stack([self._vector(query, state) for query in queries])
        return _Asked(state.partition, self._engines.of(state), numbers, vectors, where)

    def _vector(self, query: Query, state: PartitionState) -> Floats:
        modality, kind = state.partition
        if kind is VectorKind.JOINT:
            assert query.joint is not None
            return query.joint
        vector = query.native[modality]
        if vector.shape != (state.dim,):
            info = self._contents.info
            raise SpaceMismatch(
                f"a native {modality.value} query has shape {vector.shape}; collection "
                f"{info.name!r} wants ({state.dim},): embed with {info.space.id}"
            )
        return vector

    def _ask(
        self,
        asked: _Asked,
        queries: Sequence[Query],
        depths: Sequence[int],
        rankings: Sequence[Ranking],
    ) -> list[list[Scored]]:
        """For each query the best fragment of each of its best items.

        An item may have many fragments, so the search widens until enough items were met.
        """
        ranked: list[list[Scored]] = [[] for _ in asked.numbers]
        pending = list(range(len(ranked)))
        size = len(asked.engine)
        width = max(2 * (depths[n] + len(queries[n].exclude)) for n in asked.numbers)
        while pending and size:
            found = asked.engine.search(asked.vectors[pending], min(width, size), asked.where)
            fragments = np.unique(found.ids[found.ids >= 0]).tolist()
            owners = self._contents.owners(fragments)
            wider = []
            for position, ids, scores in zip(pending, found.ids, found.scores, strict=True):
                number = asked.numbers[position]
                rankings[number].add(found, whole=len(owners) == len(fragments))
                query, depth = queries[number], depths[number]
                ranked[position], ended = _ranked(query, depth, ids, scores, owners)
                if len(ranked[position]) < depth and not ended and width < size:
                    wider.append(position)
            pending, width = wider, 4 * width
        curves = [queries[number].curves.get(asked.partition) for number in asked.numbers]
        return [judged(items, curve) for items, curve in zip(ranked, curves, strict=True)]


def _answering(
    query: Query, modality: Modality, states: Mapping[Partition, PartitionState]
) -> Partition | None:
    """The tower's own vectors where the query has one for them, else the joint ones."""
    native, joint = (Partition(modality, kind) for kind in (VectorKind.NATIVE, VectorKind.JOINT))
    if modality in query.native and native in states:
        return native
    return joint if joint in states else None


def _ranked(
    query: Query, depth: int, ids: Ids, scores: Floats, owners: Mapping[int, str]
) -> tuple[list[Scored], bool]:
    """Items of an engine's row, and whether what it would tell next is no answer anyway."""
    low = -np.inf if query.min_score is None else query.min_score
    good = int(np.count_nonzero((ids >= 0) & (scores >= low)))
    best = best_per_item(ids[:good].tolist(), scores[:good].tolist(), owners, depth, query.exclude)
    return best, good < len(ids)
