"""Ranking metrics as pure array functions.

They know nothing of spaces, indexes or data sets: relevance in, numbers out. `relevance` is
`(Q, N)`, one row per query, its columns in ranked order, best first; a number greater than 0 is
relevant. Source: Järvelin and Kekäläinen 2002 (nDCG); Manning, Raghavan, Schütze 2008, ch. 8.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Relevance = NDArray[np.float64]


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


def _check(relevance: Relevance, k: int) -> None:
    if relevance.ndim != 2 or k < 1:
        raise ValueError(f"relevance is (Q, N) and k at least 1, not {relevance.shape} and {k}")
