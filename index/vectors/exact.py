"""The exact engine: every row is scored, so nothing is ever missed.

Few rows are scored in float32 by matrix multiplication (BLAS), a block of rows at a time, where a
block only matters where it beats the worst of the best so far. Many rows are looked at as bytes
first, a quarter of the memory to read, see `scan.py`; they are made when such a search comes for
the second time. Memory: 4 bytes a number and 8 a row, with those 5 and 20; beside it, what a search
needs stays within `BLOCK_BYTES` for each thread, whatever the number of rows and queries.
"""

from __future__ import annotations

import numpy as np

from embed.types import Floats
from index.types import Ids
from index.vectors import kernels
from index.vectors.codebook import CodeBook
from index.vectors.dense import BLOCK_BYTES, DenseIndex, State
from index.vectors.int8 import Coder
from index.vectors.scan import Rows, nearest, worth
from index.vectors.workers import Workers

_QUERIES = 256  # scored at once; beyond that nothing is gained
_NUMBERS = 2**15  # of queries looked at as bytes at once: half of a core's first cache
_ALONE = 3  # so many queries are quicker one by one
_MANY = 2**21  # numbers; with fewer, BLAS is as quick
_WIDE = 64  # numbers of a row; the bytes of a shorter one are not worth their overhead
_FEW = 1 / 64  # of the rows; so few wanted ones are quicker to copy
_FEW_FOR_MANY = 1 / 32  # the same for several queries, which share the copy
_CANDIDATES = 8  # for each of the k, about, where vectors are spread evenly


class ExactIndex(DenseIndex):
    """The k nearest by inner product, certainly; ties by id."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self._workers = Workers()
        self._coder = Coder(dim)
        self._book = CodeBook(self._coder, self._workers)

    @property
    def workers(self) -> Workers:
        """Threads for what is searched beside these rows too."""
        return self._workers

    def close(self) -> None:
        self._workers.close()

    def _scan(
        self, queries: Floats, state: State, k: int, wanted: Ids | None
    ) -> tuple[Floats, Ids]:
        at_once = 1 if len(queries) <= _ALONE else min(max(16, _NUMBERS // self.dim), _QUERIES)
        large = self._is_large(state, at_once, k, wanted)
        codes = self._book.of(state.matrix, state.vectors) if large else None
        if codes is None:
            return self._scan_floats(queries, state, k, wanted)
        rows = Rows(ids=state.ids, vectors=state.vectors, codes=codes, skip=state.dead, only=wanted)
        scores = np.empty((len(queries), k), np.float32)
        found = np.empty((len(queries), k), np.int64)
        coded = self._coder.queries(queries, codes.centre)
        for start in range(0, len(queries), at_once):
            some = slice(start, start + at_once)
            scores[some], found[some], unsure = nearest(
                rows, queries[some], coded.part(some), k, self._workers
            )
            if len(unsure):
                unsure += start
                again = self._scan_floats(queries[unsure], state, k, wanted)
                scores[unsure], found[unsure] = again
        return scores, found

    def _scan_floats(
        self, queries: Floats, state: State, k: int, wanted: Ids | None
    ) -> tuple[Floats, Ids]:
        if state.order is None:
            return super()._scan(queries, state, k, wanted)
        some = state.alive() if wanted is None else wanted[np.argsort(state.ids[wanted])]
        return self._gather(queries, state.vectors, k, some)

    def _is_large(self, state: State, queries: int, k: int, wanted: Ids | None) -> bool:
        """Whether bytes are quicker."""
        few = _FEW if queries == 1 else _FEW_FOR_MANY
        return (
            kernels.BYTES
            and self.dim >= _WIDE
            and state.vectors.size >= _MANY
            and k * _CANDIDATES <= worth(len(state.ids), queries)
            and (wanted is None or len(wanted) > few * len(state.ids))
        )

    def _nearest(self, queries: Floats, vectors: Floats, k: int, skip: Ids) -> tuple[Floats, Ids]:
        best = np.full((len(queries), k), -np.inf, np.float32)
        found = np.full((len(queries), k), -1, np.int64)
        for start in range(0, len(queries), _QUERIES):
            some = slice(start, start + _QUERIES)
            _score(queries[some], vectors, skip, best[some], found[some])
        return best, found


def _score(queries: Floats, vectors: Floats, skip: Ids, best: Floats, found: Ids) -> None:
    """Fills `best` and `found`, both `(Q, k)`."""
    alone = len(queries) == 1
    block = max(1, BLOCK_BYTES // (4 * len(queries)))
    for start in range(0, len(vectors), block):
        rows = vectors[start : start + block]
        scores = kernels.of_floats(rows, queries[0])[None] if alone else queries @ rows.T
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
