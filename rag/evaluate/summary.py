"""Columns to figures: means and statistics, each with its 95 % bootstrap interval over questions
(Efron 1979).

Two configurations that were asked the same questions are compared by the bootstrap of the
difference, on the same draws of questions for both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.training.metrics import (
    Flags,
    Numbers,
    aurc,
    auroc,
    bootstrap_interval,
    brier,
    ece,
    paired_bootstrap,
    risk_coverage,
)
from rag.evaluate.scores import AMONG, MEASURED, Columns

ROUNDS = 1000
FOUND = ("recall", *(f"recall@{k}" for k in AMONG), "item recall")
MEANS = (
    *("right", "exact match", "acc+"),
    *("citation recall", "citation precision", "faithfulness"),
    *("completed", "completion accuracy", "injection"),
)

Statistic = Callable[[Columns], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number and its 95 % interval. of: questions behind it."""

    value: float
    low: float
    high: float
    of: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _abstention(of: Columns) -> tuple[float, float, float]:
    """Precision, recall and F1 of abstaining where nothing answers."""
    judged = ~np.isnan(of["unanswerable"])
    abstained, nothing = of["answered"][judged] == 0, of["unanswerable"][judged] == 1
    hits = float((abstained & nothing).sum())
    return (
        _ratio(hits, float(abstained.sum())),
        _ratio(hits, float(nothing.sum())),
        _ratio(2 * hits, float(abstained.sum() + nothing.sum())),
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def sure(of: Columns) -> tuple[Numbers, Flags]:
    """Confidence, and whether an answer was right, of those of which both are known."""
    known = ~np.isnan(of["true"]) & ~np.isnan(of["confidence"])
    return of["confidence"][known], of["true"][known] == 1


def _of_confidence(measure: Callable[[Numbers, Flags], float]) -> Statistic:
    def told(of: Columns) -> float:
        confidence, right = sure(of)
        return measure(confidence, right) if len(right) else math.nan

    return told


STATISTICS: Mapping[str, tuple[Statistic, tuple[str, ...]]] = {
    "abstention precision": (lambda of: _abstention(of)[0], ("answered", "unanswerable")),
    "abstention recall": (lambda of: _abstention(of)[1], ("answered", "unanswerable")),
    "abstention F1": (lambda of: _abstention(of)[2], ("answered", "unanswerable")),
    **{
        name: (_of_confidence(measure), ("confidence", "true"))
        for name, measure in (("ECE", ece), ("AUROC", auroc), ("Brier", brier), ("AURC", aurc))
    },
}
"""Name to what reckons it, and the columns it needs."""


def figures(of: Columns, *, seed: int = 0) -> dict[str, Figure]:
    """Every figure that can be told of these columns."""
    told = {name: _mean(of[name], seed) for name in _means(of)}
    for name, (statistic, needs) in STATISTICS.items():
        if set(needs) <= set(of):
            told[name] = _resampled(statistic, {n: of[n] for n in needs}, seed)
    return _known(told)


def times(of: Columns, *, seed: int = 0) -> dict[str, tuple[Figure, float]]:
    """By stage the median of its milliseconds, and the 95th percentile. Without those of the first
    question, which waits until everything is loaded."""
    told = {}
    stages = [name.removeprefix(MEASURED) for name in of if name.startswith(MEASURED)]
    for stage in sorted(stages, key="total".__eq__):
        values = of[MEASURED + stage]
        later = values[1:] if len(values) > 1 else values
        known = later[~np.isnan(later)]
        if len(known):
            median = _resampled(_median, {MEASURED: known}, seed)
            told[stage] = (median, float(np.percentile(known, 95)))
    return told


def _median(of: Columns) -> float:
    return float(np.median(of[MEASURED]))


def differences(ours: Columns, theirs: Columns, *, seed: int = 0) -> dict[str, Figure]:
    """Ours minus theirs over the questions of which both are known."""
    told = {}
    for name in filter(theirs.__contains__, _means(ours)):
        both = ~np.isnan(ours[name]) & ~np.isnan(theirs[name])
        if both.any():
            gain = paired_bootstrap(ours[name][both], theirs[name][both], seed=seed)
            told[name] = Figure(value=gain[0], low=gain[1], high=gain[2], of=int(both.sum()))
    for name, (statistic, needs) in STATISTICS.items():
        if set(needs) <= set(ours) & set(theirs):
            told[name] = _gained(statistic, needs, ours, theirs, seed)
    return _known(told)


def risk(of: Columns) -> list[tuple[float, float]]:
    """(coverage, risk): the share of wrong ones among the surest answers, at each tenth."""
    if not {"confidence", "true"} <= set(of):
        return []
    confidence, right = sure(of)
    if not len(right):
        return []
    coverage, wrong = risk_coverage(confidence, right)
    places = sorted({math.ceil(len(wrong) * tenth / 10) - 1 for tenth in range(1, 11)})
    return [(round(float(coverage[n]), 4), round(float(wrong[n]), 4)) for n in places]


def _means(of: Columns) -> list[str]:
    """Names of the columns whose mean is a figure, in the order in which they are told."""
    by_modality = sorted(name for name in of if name.startswith("recall of "))
    return [name for name in (*FOUND, *by_modality, *MEANS) if name in of]


def _known(told: Mapping[str, Figure]) -> dict[str, Figure]:
    """Without those that cannot be told: an AUROC where all are right."""
    return {name: figure for name, figure in told.items() if math.isfinite(figure.value)}


def _mean(values: Numbers, seed: int) -> Figure:
    known = values[~np.isnan(values)]
    low, high = bootstrap_interval(known, seed=seed)
    return Figure(value=float(known.mean()), low=low, high=high, of=len(known))


def _resampled(statistic: Statistic, of: Columns, seed: int) -> Figure:
    return _gained(statistic, tuple(of), of, None, seed)


def _gained(
    statistic: Statistic, needs: Sequence[str], ours: Columns, theirs: Columns | None, seed: int
) -> Figure:
    """A statistic, or how much more it is than theirs, on the same draws of questions."""
    mine = {name: ours[name] for name in needs}
    other = None if theirs is None else {name: theirs[name] for name in needs}
    count = len(mine[needs[0]])

    def at(rows: NDArray[np.int64]) -> float:
        told = statistic({name: values[rows] for name, values in mine.items()})
        if other is None:
            return told
        return told - statistic({name: values[rows] for name, values in other.items()})

    draws = np.random.default_rng(seed).integers(0, count, (ROUNDS, count))
    told = np.array([at(rows) for rows in draws])
    known = told[~np.isnan(told)]
    low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (math.nan, math.nan)
    return Figure(
        value=at(np.arange(count)),
        low=float(low),
        high=float(high),
        of=int((~np.isnan(np.stack(list(mine.values())))).all(axis=0).sum()),
    )
