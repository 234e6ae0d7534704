"""The retrieval matrix: how well each modality finds each other, alone and in one mixed gallery.

In the mixed gallery a query has one kind of right answer, items of one modality, among those of all
modalities that ever answer it; what else its own record holds is left out. So its figures compare
with those of that modality alone: what they lose, they lose to others. It is ranked in three ways:
by raw cosine, by reciprocal rank (what a search without a calibration does, see
`index.search.fusion`), and by calibrated probability. It knows no tower and no index.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from embed.calibration import Calibration, Curve, Pair
from embed.errors import BadInput
from embed.training.evaluate.library import (
    NOTHING_BELONGS,
    Ids,
    Library,
    Progress,
    Question,
    Table,
    in_parts,
    no_progress,
)
from embed.training.metrics import (
    Numbers,
    Relevance,
    bootstrap_interval,
    first_rank,
    modality_gap,
    ndcg_at_k,
    ranked,
    recall_at_k,
    reciprocal_rank,
    skewness,
)
from embed.types import Floats, Modality

MAX_QUERIES = 1000
RRF_K = 60
RECALLS = (1, 5, 10)

Key = Callable[[Floats], Numbers]
Trained = Collection[frozenset[Modality]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Means over queries and their 95 % bootstrap intervals: R@1, R@5, R@10, MRR, nDCG@10.

    median_rank: of the first right answer.
    """

    queries: int
    means: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    median_rank: float

    def to_json(self) -> dict[str, Any]:
        return {
            "queries": self.queries,
            **self.means,
            "median_rank": self.median_rank,
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One pair. mixed: its figures in the mixed gallery, by way of ranking.

    gallery: items looked through. hubness: skewness of how often each item is among the first 10.
    gap: between the mean vectors of the two; None within one modality. emergent: never trained
    together; None where that is not known.
    """

    pair: Pair
    gallery: int
    alone: Figures
    mixed: Mapping[str, Figures]
    hubness: float
    gap: float | None
    emergent: bool | None

    def to_json(self) -> dict[str, Any]:
        return {
            "query": self.pair.query.value,
            "item": self.pair.item.value,
            "native": self.pair.native,
            "gallery": self.gallery,
            **self.alone.to_json(),
            "mixed": {way: figures.to_json() for way, figures in self.mixed.items()},
            "hubness": self.hubness,
            "modality_gap": self.gap,
            "emergent": self.emergent,
        }


@dataclass(slots=True)
class _Tally:
    """Relevance in ranked order, part by part, to figures."""

    values: dict[str, list[Numbers]] = field(default_factory=dict)
    ranks: list[Ids] = field(default_factory=list)

    def add(self, relevance: Relevance) -> None:
        totals = (relevance > 0).sum(axis=1).astype(np.int64)
        found = {f"R@{k}": recall_at_k(relevance, k) for k in RECALLS}
        found |= {"MRR": reciprocal_rank(relevance), "nDCG@10": ndcg_at_k(relevance, 10, totals)}
        for name, values in found.items():
            self.values.setdefault(name, []).append(values)
        self.ranks.append(first_rank(relevance))

    def figures(self) -> Figures:
        whole = {name: np.concatenate(parts) for name, parts in self.values.items()}
        ranks = np.concatenate(self.ranks)
        return Figures(
            queries=len(ranks),
            means={name: float(values.mean()) for name, values in whole.items()},
            intervals={name: bootstrap_interval(values) for name, values in whole.items()},
            median_rank=float(np.median(ranks)),
        )


def matrix(
    library: Library,
    *,
    calibration: Calibration | None = None,
    trained: Trained | None = None,
    progress: Progress = no_progress,
) -> list[Cell]:
    """A cell for each pair in which something is relevant.

    trained: the pairs that the space was trained on, where that is known. Raises BadInput when
    nothing belongs together.
    """
    questions = library.questions()
    if not questions:
        raise BadInput(NOTHING_BELONGS)
    cells = []
    for number, question in enumerate(questions):
        progress("pairs", number, len(questions))
        rivals = [other for other in questions if other.pair.query == question.pair.query]
        cells.append(_cell(library, question, rivals, calibration, trained))
    progress("pairs", len(questions), len(questions))
    return cells


def _cell(
    library: Library,
    question: Question,
    rivals: list[Question],
    calibration: Calibration | None,
    trained: Trained | None,
) -> Cell:
    pair = question.pair
    rows = question.rows(MAX_QUERIES)
    ways = _ways(rivals, calibration) if len(rivals) > 1 else {}
    alone, mixed = _Tally(), {way: _Tally() for way in ways}
    often = np.zeros(len(question.found), np.int64)
    for part in in_parts(rows):
        table = question.table(part)
        alone.add(ranked(table.cosines, table.relevant))
        best = np.argsort(-table.cosines, axis=1, kind="stable")[:, :10]
        often += np.bincount(best.ravel(), minlength=len(often))
        tables = [_rival(table, question, rival, part) for rival in rivals] if ways else []
        for way, keys in ways.items():
            mixed[way].add(_merged(tables, keys))
    joint = library.joint
    across = pair.query != pair.item
    return Cell(
        pair=pair,
        gallery=len(question.found),
        alone=alone.figures(),
        mixed={way: tally.figures() for way, tally in mixed.items()},
        hubness=skewness(often),
        gap=modality_gap(joint[pair.query].vectors, joint[pair.item].vectors) if across else None,
        emergent=None if trained is None else frozenset({pair.query, pair.item}) not in trained,
    )


def _rival(table: Table, question: Question, rival: Question, rows: Ids) -> Table:
    """Another part of the gallery, without what would be right there."""
    if rival.pair == question.pair:
        return table
    cosines, relevant = rival.table(rows)
    return Table(np.where(relevant, -np.inf, cosines), np.zeros_like(relevant))


def _ways(rivals: list[Question], calibration: Calibration | None) -> dict[str, list[Key]]:
    """How each part of a mixed gallery is brought to one scale, by way of ranking."""
    ways: dict[str, list[Key]] = {
        "cosine": [_cosine for _ in rivals],
        "reciprocal rank": [_reciprocal for _ in rivals],
    }
    curves = [calibration.curve(rival.pair) for rival in rivals] if calibration else [None]
    known = [_Probability(curve) for curve in curves if curve is not None]
    if len(known) == len(rivals):
        ways["probability"] = list(known)
    return ways


def _cosine(cosines: Floats) -> Numbers:
    return cosines.astype(np.float64)


def _reciprocal(cosines: Floats) -> Numbers:
    order = np.argsort(-cosines, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, cosines.shape[1] + 1)[None], axis=1)
    return np.asarray(np.where(np.isfinite(cosines), 1 / (RRF_K + ranks), -np.inf))


class _Probability:
    """The height of the logistic, whose order is that of the probability, and which never rounds
    to 1."""

    def __init__(self, curve: Curve) -> None:
        self._curve = curve

    def __call__(self, cosines: Floats) -> Numbers:
        return self._curve.slope * cosines.astype(np.float64) + self._curve.intercept


def _merged(tables: list[Table], keys: list[Key]) -> Relevance:
    """`(Q, N)` relevance in ranked order; equal keys in order of their cosines, as in a search."""
    cosines = np.concatenate([table.cosines for table in tables], axis=1)
    relevant = np.concatenate([table.relevant for table in tables], axis=1)
    scale = np.concatenate(
        [key(table.cosines) for key, table in zip(keys, tables, strict=True)], axis=1
    )
    order = np.lexsort((-cosines, -scale), axis=1)
    return np.take_along_axis(relevant, order, axis=1).astype(np.float64)
