"""Ranking and calibration metrics as pure array functions.

They know nothing of spaces, indexes or data sets: arrays in, numbers out. `relevance` is `(Q, N)`,
one row per query, its columns in ranked order, best first; a number greater than 0 is relevant.
`ranked` makes it of scores. Sources: Järvelin and Kekäläinen 2002 (nDCG); Manning, Raghavan,
Schütze 2008, ch. 8; Fawcett 2006 (AUROC); Brier 1950; El-Yaniv and Wiener 2010 (risk and
coverage); Naeini et al. 2015 (ECE), here in bins of equal mass; Radovanović et al. 2010 (hubs);
Liang et al. 2022 (modality gap).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Relevance = NDArray[np.float64]
Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]

ECE_BINS = 15


def matches(queries: NDArray[Any], items: NDArray[Any]) -> Flags:
    """`(Q, N)`: whose labels agree. With an image's number on each of its captions, this is the
    many-texts-to-one-image correspondence in both directions."""
    return np.asarray(queries[:, None] == items[None, :])


def ranked(scores: NDArray[Any], relevant: Flags) -> Relevance:
    """`(Q, N)` scores and flags to relevance in ranked order; equal scores in order of index."""
    if scores.shape != relevant.shape or scores.ndim != 2:
        raise ValueError(f"scores are {scores.shape} and flags {relevant.shape}; both are (Q, N)")
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(relevant, order, axis=1).astype(np.float64)


def first_rank(relevance: Relevance) -> NDArray[np.int64]:
    """`(Q,)`: the rank of the first relevant one, counted from 1; N + 1 where there is none."""
    _check(relevance, 1)
    found = (relevance > 0).any(axis=1)
    first = (relevance > 0).argmax(axis=1) + 1
    return np.asarray(np.where(found, first, relevance.shape[1] + 1), np.int64)


def reciprocal_rank(relevance: Relevance) -> Numbers:
    """`(Q,)`: 1 / rank of the first relevant one, 0 where there is none. Its mean is MRR."""
    found = (relevance > 0).any(axis=1)
    return np.asarray(found / first_rank(relevance), np.float64)


def precision_at_k(relevance: Relevance, k: int) -> NDArray[np.float64]:
    """`(Q,)`: the share of relevant ones among the first k. Fewer than k ranked count as misses."""
    _check(relevance, k)
    precision: NDArray[np.float64] = (relevance[:, :k] > 0).sum(axis=1) / k
    return precision


def ndcg_at_k(relevance: Relevance, k: int, totals: NDArray[np.int64]) -> NDArray[np.float64]:
    """`(Q,)`: DCG over the best DCG possible, binary relevance, discount 1/log2(rank + 1).

    totals: `(Q,)`, how many relevant ones the gallery holds; a query with none scores 0.
    """
    _check(relevance, k)
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    gains = relevance[:, :k] > 0
    dcg = gains.astype(np.float64) @ discounts[: gains.shape[1]]
    ideal = np.asarray(np.cumsum(discounts)[np.clip(totals, 1, k) - 1], np.float64)
    return np.asarray(dcg / ideal, np.float64)


def recall_at_k(relevance: Relevance, k: int) -> NDArray[np.float64]:
    """`(Q,)`: 1 where any of the first k is relevant (R@k as in cross-modal retrieval)."""
    _check(relevance, k)
    return np.asarray((relevance[:, :k] > 0).any(axis=1), np.float64)


def bootstrap_interval(
    values: NDArray[np.float64], *, seed: int = 0, rounds: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap of the mean over queries (Efron 1979), as (low, high)."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(values), (rounds, len(values)))
    tail = (1 - level) / 2
    low, high = np.quantile(values[draws].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)


def paired_bootstrap(
    ours: Numbers, theirs: Numbers, *, seed: int = 0, rounds: int = 2000, level: float = 0.95
) -> tuple[float, float, float]:
    """Mean of ours - theirs over the same queries, with its percentile interval (low, high)."""
    if ours.shape != theirs.shape:
        raise ValueError(f"pairs are wanted, not {ours.shape} beside {theirs.shape}")
    gains = ours - theirs
    return float(gains.mean()), *bootstrap_interval(gains, seed=seed, rounds=rounds, level=level)


# Scores and probabilities of single answers: `(N,)` numbers, and `(N,)` flags of what was relevant.


def auroc(scores: NDArray[Any], relevant: Flags) -> float:
    """P(a relevant one scores above another), ties counting half; NaN without both kinds."""
    positive, negative = np.sort(scores[relevant]), np.sort(scores[~relevant])
    if not len(positive) or not len(negative):
        return float("nan")
    below = np.searchsorted(negative, positive, side="left")
    up_to = np.searchsorted(negative, positive, side="right")
    return float((below + up_to).mean() / 2 / len(negative))


def brier(probabilities: Numbers, relevant: Flags) -> float:
    """Mean squared distance to what came true."""
    return float(((probabilities - relevant) ** 2).mean())


def ece(probabilities: Numbers, relevant: Flags, bins: int = ECE_BINS) -> float:
    """Mean |claimed - true| over bins that hold equally many answers."""
    _same_length(probabilities, relevant)
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [abs(probabilities[part].mean() - relevant[part].mean()) * len(part) for part in parts]
    return float(sum(gaps) / len(order))


def risk_coverage(confidence: Numbers, correct: Flags) -> tuple[Numbers, Numbers]:
    """(coverage, risk), each `(N,)`: the share of wrong ones among the n surest answers."""
    _same_length(confidence, correct)
    order = np.argsort(-confidence, kind="stable")
    answered = np.arange(1, len(order) + 1)
    return answered / len(order), np.cumsum(~correct[order]) / answered


def aurc(confidence: Numbers, correct: Flags) -> float:
    """The area under risk over coverage: 0 is best."""
    return float(risk_coverage(confidence, correct)[1].mean())


# The shape of a space.


def k_occurrence(scores: NDArray[Any], k: int = 10) -> NDArray[np.int64]:
    """`(N,)`: how many of Q queries each of N items is among the k best of."""
    count = scores.shape[1]
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.asarray(np.bincount(best.ravel(), minlength=count), np.int64)


def skewness(values: NDArray[Any]) -> float:
    """The third standardised moment; of `k_occurrence`, hubness. 0 where all are equal."""
    apart = values - values.mean()
    spread = float(np.sqrt((apart**2).mean()))
    return float((apart**3).mean() / spread**3) if spread > 0 else 0.0


def modality_gap(a: NDArray[Any], b: NDArray[Any]) -> float:
    """The distance between the means of `(N, D)` and `(M, D)` unit vectors, in [0, 2]."""
    return float(np.linalg.norm(a.mean(axis=0) - b.mean(axis=0)))


def _same_length(numbers: Numbers, flags: Flags) -> None:
    if numbers.ndim != 1 or numbers.shape != flags.shape or not len(numbers):
        raise ValueError(f"numbers and flags are (N,) both, not {numbers.shape} and {flags.shape}")


def _check(relevance: Relevance, k: int) -> None:
    if relevance.ndim != 2 or k < 1:
        raise ValueError(f"relevance is (Q, N) and k at least 1, not {relevance.shape} and {k}")
