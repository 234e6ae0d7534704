"""From fragments with scores to items in order, over one ranking or several. Pure functions.

Cosines of different modality pairs do not compare. Where each has a curve that says how probable a
cosine makes a match (`embed.calibration`), rankings are merged by probability; else by reciprocal
rank fusion (Cormack, Clarke, Büttcher, SIGIR 2009).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from embed.calibration import Curve

RRF_K = 60  # the constant of the paper: how little the very first ranks stand out


class Scored(NamedTuple):
    """A fragment that was found. rank_score: what it is sorted by."""

    fragment: int
    score: float
    rank_score: float
    probability: float | None = None


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
    fused = likely if len(likely) == len(fused) else fused
    fused.sort(key=lambda scored: (-scored.rank_score, -scored.score, scored.fragment))
    return fused[:k]


def judged(ranking: Sequence[Scored], curve: Curve | None) -> list[Scored]:
    """The same ranking with probabilities, where there is a curve to tell them."""
    if curve is None:
        return list(ranking)
    return [scored._replace(probability=curve(scored.score)) for scored in ranking]


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
        best[owner] = Scored(fragment, score, score)
        if len(best) == k:
            break
    return list(best.values())
