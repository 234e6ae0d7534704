"""Searching one collection: rank, choose among what was ranked, read what was chosen.

A ranking is as deep as the choice needs: a choice that leaves too few asks again, deeper, down to
the best `MAX_DEPTH` items.
It knows no SQL and no engine; how items are ranked is `ranking.py`, how they are chosen
`selection.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from embed.types import Fragment, Item
from index.contents import Contents
from index.metadata.columns import Columns
from index.metadata.facets import count
from index.metadata.filters import And, Op, Predicate
from index.metadata.words import Words
from index.rows import passage
from index.search.fusion import Scored, in_order
from index.search.query import MAX_DEPTH, Pieces, Query
from index.search.ranking import Ranker, Ranking
from index.search.selection import (
    diverse,
    first_of_each,
    group_of,
    like_it,
    max_sim,
    scaled,
    without_twins,
)
from index.search.stored import Stored, StoredPieces
from index.types import Hit, Moment, Results, VectorKind

# A fragment that was found may be replaced before its item is read: then the search starts again.
_ATTEMPTS = 3
_POOL = 100  # items that are ranked at least where the order may still change
_DEEPER = 4  # times, where a choice left too few


class Searcher:
    """Answers the queries of one collection. Safe to use from several threads."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._ranker = Ranker(contents)
        self.stored = Stored(contents)

    def search(self, queries: Sequence[Query]) -> list[Results]:
        """One answer a query.

        Raises what `Query.check` does; NotFound when the collection is gone.
        """
        for query in queries:
            query.check(self._contents.info)
        for _ in range(_ATTEMPTS):
            results, whole = self._attempt(queries)
            if whole:
                break
        return results

    @property
    def columns(self) -> Columns:
        """What is said about the items, in memory."""
        return self._ranker.columns

    @property
    def words(self) -> Words:
        """The titles and texts."""
        return self._ranker.words

    def settle(self) -> None:
        """Waits until every engine has built what it builds in the background."""
        self._ranker.settle()

    def close(self) -> None:
        """Lets go of what the engines hold."""
        self._ranker.close()

    def _attempt(self, queries: Sequence[Query]) -> tuple[list[Results], bool]:
        rankings = [Ranking() for _ in queries]
        chosen: list[list[Scored]] = [[] for _ in queries]
        pending = {number: _depth(query) for number, query in enumerate(queries)}
        while pending:
            ranked = self._ranker.rank([queries[n] for n in pending], list(pending.values()))
            for number, ranking in zip(list(pending), ranked, strict=True):
                query, rankings[number] = queries[number], ranking
                chosen[number] = self._choose(query, ranking.items)
                enough = len(chosen[number]) > query.offset + query.k
                if enough or ranking.complete or pending[number] >= MAX_DEPTH:
                    del pending[number]
                else:
                    pending[number] = min(_DEEPER * pending[number], MAX_DEPTH)
        return self._read(queries, rankings, chosen)

    # Choosing

    def _choose(self, query: Query, items: list[Scored]) -> list[Scored]:
        """What is worth showing, from the top, and one more where there is one."""
        if query.pieces is not None:
            items = self._by_pieces(query.pieces, items)
        if (least := query.min_probability) is not None:
            items = [s for s in items if _likely(s, least)]
        seen = self._contents.owners(query.seen) if query.seen else {}
        gone_by = set(seen.values())
        fresh = [scored for scored in items if scored.item not in gone_by]
        most = query.offset + query.k + 1
        if query.group_by is not None:
            fresh = self._of_groups(query.group_by, fresh, seen)
        if query.collapse is not None:
            every = query.diversity > 0
            fresh = self._unlike(fresh, query.collapse, len(fresh) if every else most, list(seen))
        if query.diversity > 0:
            relevance = dict(
                zip([s.item for s in items], scaled([s.rank_score for s in items]), strict=True)
            )
            fresh = self._diverse(fresh, relevance, query.diversity, most, list(seen))
        return fresh[:most]

    def _by_pieces(self, pieces: Pieces, items: Sequence[Scored]) -> list[Scored]:
        stored = self.stored.pieces([scored.item for scored in items])
        return in_order(
            scored._replace(rank_score=max_sim(pieces, stored[scored.item].vectors))
            for scored in items
            if scored.item in stored
        )

    def _of_groups(self, field: str, items: Sequence[Scored], seen: Iterable[int]) -> list[Scored]:
        fragments = self._contents.hydrate([*(scored.fragment for scored in items), *seen])
        there = [scored for scored in items if scored.fragment in fragments]
        groups = [group_of(fragments[scored.fragment].item, field) for scored in there]
        taken = [group_of(fragments[one].item, field) for one in seen if one in fragments]
        return [there[position] for position in first_of_each(groups, taken)]

    def _unlike(
        self, items: Sequence[Scored], least: float, count: int, seen: Sequence[int]
    ) -> list[Scored]:
        found = self.stored.looks([*seen, *(scored.fragment for scored in items)])
        before = [found[one] for one in seen if one in found]
        there = [scored for scored in items if scored.fragment in found]
        looks = [*before, *(found[scored.fragment] for scored in there)]
        kept = without_twins(looks, least, count, len(before))
        return [there[position - len(before)] for position in kept]

    def _diverse(
        self,
        items: Sequence[Scored],
        relevance: Mapping[str, float],
        diversity: float,
        count: int,
        seen: Sequence[int],
    ) -> list[Scored]:
        found = self.stored.vectors([*seen, *(scored.fragment for scored in items)])
        before = [found[one] for one in seen if one in found]
        there = [scored for scored in items if scored.fragment in found]
        if not there:
            return []
        vectors = np.stack([*before, *(found[scored.fragment] for scored in there)])
        gains = np.array([*(0.0 for _ in before), *(relevance[scored.item] for scored in there)])
        kept = diverse(gains, vectors, diversity, count, len(before))
        return [there[position - len(before)] for position in kept]

    # Reading

    def _read(
        self,
        queries: Sequence[Query],
        rankings: Sequence[Ranking],
        chosen: Sequence[Sequence[Scored]],
    ) -> tuple[list[Results], bool]:
        pages = [
            row[query.offset : query.offset + query.k]
            for query, row in zip(queries, chosen, strict=True)
        ]
        wanted = {scored.fragment for page in pages for scored in page}
        fragments = self._contents.hydrate(wanted)
        whole = len(fragments) == len(wanted) and all(ranking.whole for ranking in rankings)
        results = [
            Results(
                hits=self._hits(query, page, fragments),
                exact=ranking.exact,
                recall_estimate=ranking.recall_estimate,
                passed=tuple(scored.fragment for scored in row[: query.offset + query.k]),
                more=len(row) > query.offset + query.k,
            )
            for query, page, row, ranking in zip(queries, pages, chosen, rankings, strict=True)
        ]
        return results, whole

    def _hits(
        self, query: Query, page: Sequence[Scored], fragments: Mapping[int, Fragment]
    ) -> list[Hit]:
        name = self._contents.info.name
        there = [scored for scored in page if scored.fragment in fragments]
        hits = [_hit(fragments[scored.fragment], scored, name) for scored in there]
        if query.group_by is not None:
            hits = [replace(hit, group_size=self._size(query, hit.item)) for hit in hits]
        if query.moments > 1 and query.dense is not None:
            hits = self._with_moments(query, hits)
        return hits

    def _size(self, query: Query, item: Item) -> int:
        """How many items the query may answer with are in the group of this one."""
        assert query.group_by is not None
        kinds = tuple(sorted(modality.value for modality in query.wanted))
        alike = And((Predicate("@modality", Op.IN, kinds), like_it(item, query.group_by)))
        among = alike if query.filter is None else And((alike, query.filter))
        return count(self.columns, among)

    def _with_moments(self, query: Query, hits: Sequence[Hit]) -> list[Hit]:
        items = [hit.item.id for hit in hits]
        joint = self.stored.pieces(items)
        native = self.stored.pieces(items, VectorKind.NATIVE) if query.native else {}
        found = []
        for hit in hits:
            own = query.native.get(hit.item.modality)
            if own is not None and hit.item.id in native:
                found.append(_moments(own, native[hit.item.id], query.moments))
            elif query.joint is not None and hit.item.id in joint:
                found.append(_moments(query.joint, joint[hit.item.id], query.moments))
            else:
                found.append(())
        return [replace(hit, moments=moments) for hit, moments in zip(hits, found, strict=True)]


def _depth(query: Query) -> int:
    if query.group_by is not None or query.collapse is not None:
        return max(_POOL if query.diversity or query.words else 0, _DEEPER * query.reach)
    if query.diversity:
        return max(_POOL, _DEEPER * query.reach)
    return max(_POOL, query.reach) if query.words is not None or query.pieces else query.reach


def _likely(scored: Scored, least: float) -> bool:
    """What has a cosine and no probability stays, for whoever asked to be told of it."""
    if scored.probability is None:
        return scored.score is not None
    return scored.probability >= least


def _hit(fragment: Fragment, scored: Scored, collection: str) -> Hit:
    return Hit(
        item=fragment.item,
        fragment=fragment.id,
        span=fragment.span,
        score=scored.score,
        probability=scored.probability,
        rank_score=scored.rank_score,
        collection=collection,
        text=passage(fragment),
        found_by=scored.found_by,
    )


def _moments(query: np.ndarray, pieces: StoredPieces, count: int) -> tuple[Moment, ...]:
    """The best places of an item, best first; equals in their order."""
    scores = pieces.vectors @ query
    best = np.lexsort((pieces.ids, -scores))[:count]
    return tuple(Moment(int(pieces.ids[n]), pieces.spans[n], float(scores[n])) for n in best)
