"""From fragments with scores to items in order, over one ranking or several. Pure functions.

Cosines of different modality pairs do not compare. Where each has a curve that says how probable a
cosine makes a match (`embed.calibration`), rankings are merged by probability; else by reciprocal
rank fusion (Cormack, Clarke, Büttcher, SIGIR 2009). Words and vectors are always merged by rank:
BM25 has no scale of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from embed.calibration import Curve
from index.search.query import Balance

RRF_K = 60  # the constant of the paper: how little the very first ranks stand out

VECTOR, WORDS = "vector", "words"


class Scored(NamedTuple):
    """A fragment that was found, and the public id of its item.

    score: cosine; None where only words found it. rank_score: what it is sorted by. found_by: which
    kinds of ranking it stands in.
    """

    fragment: int
    score: float | None
    rank_score: float
    probability: float | None = None
    item: str = ""
    found_by: tuple[str, ...] = (VECTOR,)


def fuse(rankings: Sequence[Sequence[Scored]], k: int) -> list[Scored]:
    """The k best of several rankings, by probability where all have one, else by Σ 1/(60 + rank).

    A ranking that stands alone stays.
    """
    filled = [ranking for ranking in rankings if ranking]
    if len(filled) == 1:
        return list(filled[0][:k])
    fused = [
        scored._replace(rank_score=1.0 / (RRF_K + rank))
        for ranking in filled
        for rank, scored in enumerate(ranking, 1)
    ]
    likely = [
        scored._replace(rank_score=scored.probability)
        for scored in fused
        if scored.probability is not None
    ]
    return in_order(likely if len(likely) == len(fused) else fused)[:k]


def blend(
    dense: Sequence[Scored], words: Sequence[Scored], balance: Balance, k: int
) -> list[Scored]:
    """The k best items by Σ weight/(60 + rank) over both rankings.

    An item that both found keeps the fragment, score and probability that its vector gave it.
    """
    merged = {
        scored.item: scored._replace(rank_score=balance.dense / (RRF_K + rank))
        for rank, scored in enumerate(dense, 1)
    }
    for rank, scored in enumerate(words, 1):
        share = balance.words / (RRF_K + rank)
        both = merged.get(scored.item)
        merged[scored.item] = (
            scored._replace(rank_score=share)
            if both is None
            else both._replace(rank_score=both.rank_score + share, found_by=(VECTOR, WORDS))
        )
    return in_order(merged.values())[:k]


def in_order(found: Iterable[Scored]) -> list[Scored]:
    """Best first; equals by cosine, then in the order of their coming."""
    return sorted(found, key=lambda s: (-s.rank_score, -(s.score or 0.0), s.fragment))


def judged(ranking: Sequence[Scored], curve: Curve | None) -> list[Scored]:
    """The same ranking with probabilities, where there is a curve to tell them."""
    if curve is None:
        return list(ranking)
    return [
        scored if scored.score is None else scored._replace(probability=curve(scored.score))
        for scored in ranking
    ]


def best_per_item(
    ids: Sequence[int],
    scores: Sequence[float],
    owners: Mapping[int, str],
    k: int,
    exclude: frozenset[str],
) -> list[Scored]:
    """From fragments in order; those without an owner were deleted since."""
    best: dict[str, Scored] = {}
    for fragment, score in zip(ids, scores, strict=True):
        owner = owners.get(fragment)
        if owner is None or owner in exclude or owner in best:
            continue
        best[owner] = Scored(fragment, score, score, item=owner)
        if len(best) == k:
            break
    return list(best.values())
