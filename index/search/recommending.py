"""Items like some examples and unlike others, each example by itself rather than their mean.

    score = best⁺ where best⁺ > best⁻, else -(best⁻)²

where best⁺ and best⁻ are the cosines with the nearest positive and negative example. So tastes that
point in several directions all have their say, and what lies nearer to a bad example comes last.
The mean of the examples is a plain query (`query.py`) and needs nothing of this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    depth = min(query.k + query.offset + 1, MAX_DEPTH)
    while True:
        asked = [replace(query, joint=vector, native={}, k=depth, offset=0) for vector in positives]
        answers = collection.search_batch(asked)
        hits = _merged(answer.hits for answer in answers)
        if len(negatives):
            pieces = collection.pieces_of([hit.item.id for hit in hits])
            hits = [_judged(hit, pieces, negatives) for hit in hits]
        hits.sort(key=lambda hit: (-hit.rank_score, hit.fragment))
        good = sum(hit.rank_score > 0 for hit in hits)
        ended = not any(answer.more for answer in answers)
        if good >= query.k + query.offset + 1 or ended or depth == MAX_DEPTH:
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
