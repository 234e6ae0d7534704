"""Rows that no sealed index holds yet: few, exactly searched, and scored as all others are.

The other exact answers of an approximate engine come from here too: among a few rows of a sealed
base, and the truth that its approximate ones are measured by.
"""

from __future__ import annotations

import copy

import numpy as np

from embed.types import Floats
from index.types import Ids
from index.vectors.exact import ExactIndex
from index.vectors.kernels import of_floats

_FETCHED_AT_ONCE = 512  # rows; they stay in the cache until they are scored


class Tail(ExactIndex):
    """An exact index that can be looked at as it is now, whatever is written later."""

    def __enter__(self) -> Tail:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def frozen(self) -> Tail:
        """The same rows for good. A state never changes once published, so that nothing is copied.

        Only the tail it came from needs closing.
        """
        return copy.copy(self)

    def rows(self) -> tuple[Ids, Floats]:
        """`(N,)` ascending ids and `(N, dim)` vectors."""
        state = self._state
        alive = state.alive()
        return state.ids[alive], state.vectors[alive]

    def among(self, queries: Floats, vectors: Floats, k: int, rows: Ids) -> tuple[Floats, Ids]:
        """Scores and positions, both `(Q, k)`, of the k best of these `rows` of `vectors`.

        rows: ascending, at least k; equal scores come in their order.
        """
        if len(queries) > 1:
            return self._gather(queries, vectors, k, rows)
        scores = np.empty(len(rows), np.float32)
        # Into one small buffer, again and again: a large one of its own costs more than the rows.
        buffer = np.empty((min(len(rows), _FETCHED_AT_ONCE), self.dim), np.float32)
        for start in range(0, len(rows), _FETCHED_AT_ONCE):
            some = slice(start, start + _FETCHED_AT_ONCE)
            fetched = buffer[: len(rows[some])]
            np.take(vectors, rows[some], axis=0, out=fetched, mode="clip")
            scores[some] = of_floats(fetched, queries[0])
        if len(rows) > 2 * k:
            worst = np.partition(scores, len(scores) - k)[len(scores) - k]
            enough = np.flatnonzero(scores >= worst)
            scores, rows = scores[enough], rows[enough]
        return best_first(scores[None], rows[None], k)


def rescored(queries: Floats, vectors: Floats, positions: Ids, k: int) -> tuple[Floats, Ids]:
    """Of `(Q, depth)` positions, -1 for none, the k best by their true inner products.

    Equal scores in the order of positions; both results `(Q, k)`.
    """
    scores = np.empty(positions.shape, np.float32)
    # Query by query: for one, which most searches are, that is half of what arrays of all cost.
    for query, some, into in zip(queries, positions, scores, strict=True):
        into[:] = of_floats(vectors.take(some, axis=0), query)
    scores[positions < 0] = -np.inf
    return best_first(scores, positions, k)


def best_first(scores: Floats, numbers: Ids, k: int) -> tuple[Floats, Ids]:
    """Of `(Q, N)` scores and numbers the k of the best, equal scores by their numbers."""
    if len(scores) == 1:
        best = np.lexsort((numbers[0], -scores[0]))[:k]
        return scores.take(best, axis=1), numbers.take(best, axis=1)
    order = np.lexsort((numbers, -scores), axis=1)[:, :k]
    query = np.arange(len(scores))[:, None]
    return scores[query, order], numbers[query, order]
