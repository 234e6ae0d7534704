"""The exact engine, in NumPy: every row is scored, so nothing is ever missed.

Scores are inner products by matrix multiplication (BLAS), a block of rows at a time, and a block
only matters where it beats the worst of the best so far. Memory beside the vectors stays within
`BLOCK_BYTES` of scores, whatever the number of rows and queries.
"""

from __future__ import annotations

import numpy as np

from embed.types import Floats
from index.dense import BLOCK_BYTES, DenseIndex
from index.types import Ids

_QUERIES = 256  # scored at once; beyond that BLAS gains nothing


class ExactIndex(DenseIndex):
    """The k nearest by inner product, certainly; ties by id."""

    def _nearest(self, queries: Floats, vectors: Floats, k: int, skip: Ids) -> tuple[Floats, Ids]:
        best = np.full((len(queries), k), -np.inf, np.float32)
        found = np.full((len(queries), k), -1, np.int64)
        for start in range(0, len(queries), _QUERIES):
            some = slice(start, start + _QUERIES)
            _score(queries[some], vectors, skip, best[some], found[some])
        return best, found


def _score(queries: Floats, vectors: Floats, skip: Ids, best: Floats, found: Ids) -> None:
    """Fills `best` and `found`, both `(Q, k)`."""
    block = max(1, BLOCK_BYTES // (4 * len(queries)))
    for start in range(0, len(vectors), block):
        rows = vectors[start : start + block]
        scores = queries @ rows.T
        first, last = np.searchsorted(skip, [start, start + len(rows)])
        scores[:, skip[first:last] - start] = -np.inf
        # Positions ascend from block to block, so a tie is no reason to change anything.
        better = scores > best[:, -1:]
        for query in np.flatnonzero(better.any(axis=1)):
            positions = np.flatnonzero(better[query])
            _keep_best(scores[query, positions], positions + start, best[query], found[query])


def _keep_best(scores: Floats, positions: Ids, best: Floats, found: Ids) -> None:
    """Merges candidates of ascending positions into the `(k,)` best, in place."""
    k = len(best)
    if len(scores) > k:
        worst = np.partition(scores, len(scores) - k)[len(scores) - k]
        enough = scores >= worst
        scores, positions = scores[enough], positions[enough]
    scores = np.concatenate([best, scores])
    positions = np.concatenate([found, positions])
    order = np.argsort(-scores, kind="stable")[:k]
    best[:], found[:] = scores[order], positions[order]
