"""Items like some examples and unlike others, each example by itself rather than their mean.

By the best score:

    score = best⁺ where best⁺ > best⁻, else -(best⁻)²

where best⁺ and best⁻ are the cosines with the nearest positive and negative example. So tastes that
point in several directions all have their say, and what lies nearer to a bad example comes last.
By context: examples in pairs, each of which says on which side of it to look.
The mean of the examples is a plain query (`query.py`) and needs nothing of this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from embed.types import Floats
from index.collection import Collection
from index.search.query import MAX_DEPTH, Query
from index.search.stored import StoredPieces
from index.types import Hit, Results

_DEEPER = 4  # times, where too little was left


def by_best_score(
    collection: Collection, positives: Floats, negatives: Floats, query: Query
) -> Results:
    """positives `(P, D)`, P >= 1, negatives `(N, D)`: unit. query: what else narrows the search;
    `joint` of it is not read, and hits come one an item, by score alone.

    Raises what `Collection.search` does.
    """

    def judged(hits: list[Hit]) -> list[Hit]:
        if not len(negatives):
            return hits
        pieces = collection.pieces_of([hit.item.id for hit in hits])
        return [_judged(hit, pieces, negatives) for hit in hits]

    return _searched(collection, positives, query, judged, lambda hit: hit.rank_score > 0)


def by_context(
    collection: Collection, positives: Floats, negatives: Floats, query: Query
) -> Results:
    """As `by_best_score`, with P negatives: the n-th of either are a pair.

    score = Σ min(0, cos⁺ - cos⁻) over the pairs

    so that whoever is on the good side of each pair has 0, as many as there are, the nearest to a
    positive example first. (Qdrant calls this context search.)
    """

    def judged(hits: list[Hit]) -> list[Hit]:
        pieces = collection.pieces_of([hit.item.id for hit in hits])
        return [
            replace(hit, rank_score=_on_good_side(pieces[hit.item.id], positives, negatives))
            for hit in hits
            if hit.item.id in pieces
        ]

    return _searched(collection, positives, query, judged, lambda hit: hit.rank_score == 0)


def _searched(
    collection: Collection,
    examples: Floats,
    query: Query,
    judged: Callable[[list[Hit]], list[Hit]],
    good: Callable[[Hit], bool],
) -> Results:
    """What lies near any of `examples`, judged, as deep as it takes to fill the page with good."""
    depth = min(query.k + query.offset + 1, MAX_DEPTH)
    while True:
        asked = [replace(query, joint=vector, native={}, k=depth, offset=0) for vector in examples]
        answers = collection.search_batch(asked)
        hits = judged(_merged(answer.hits for answer in answers))
        hits.sort(key=lambda hit: (-hit.rank_score, -(hit.score or 0.0), hit.fragment))
        # what no example has shown yet may lie as near as the last that the nearest one did
        unseen = max((_last(answer) for answer in answers if answer.more), default=-1.0)
        sure = sum(good(hit) and (hit.score or 0.0) >= unseen for hit in hits)
        if sure > query.k + query.offset or unseen == -1.0 or depth == MAX_DEPTH:
            return _page(hits, answers, query)
        depth = min(_DEEPER * depth, MAX_DEPTH)


def _merged(rows: Iterable[Sequence[Hit]]) -> list[Hit]:
    """Each item once, as the nearest example found it."""
    best: dict[str, Hit] = {}
    for hit in (hit for row in rows for hit in row):
        known = best.get(hit.item.id)
        if known is None or (hit.score or 0.0) > (known.score or 0.0):
            best[hit.item.id] = replace(hit, rank_score=hit.score or 0.0, probability=None)
    return list(best.values())


def _judged(hit: Hit, pieces: Mapping[str, StoredPieces], negatives: Floats) -> Hit:
    held = pieces.get(hit.item.id)
    worst = -1.0 if held is None else float((held.vectors @ negatives.T).max())
    return hit if hit.rank_score > worst else replace(hit, rank_score=-(worst**2))


def _last(answer: Results) -> float:
    return min((hit.score or 0.0 for hit in answer.hits), default=0.0)


def _on_good_side(held: StoredPieces, positives: Floats, negatives: Floats) -> float:
    """0, or by how much it is on the bad side of pairs, below 0; of its best fragment."""
    apart = held.vectors @ positives.T - held.vectors @ negatives.T
    return float(np.minimum(apart, 0.0).sum(axis=1).max())


def _page(hits: Sequence[Hit], answers: Sequence[Results], query: Query) -> Results:
    estimates = [answer.recall_estimate for answer in answers]
    known = [estimate for estimate in estimates if estimate is not None]
    shown = hits[: query.offset + query.k]
    return Results(
        hits=list(shown[query.offset :]),
        exact=all(answer.exact for answer in answers),
        recall_estimate=float(np.min(known)) if len(known) == len(estimates) else None,
        passed=tuple(hit.fragment for hit in shown),
        more=len(hits) > query.offset + query.k,
    )
