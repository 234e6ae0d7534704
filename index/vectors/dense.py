"""Vectors in memory, one row each: what the engines that look at every row share.

Rows lie in the order in which they came, which is that of their ids but for those that came late:
a new id below others, or a new vector under a known id, whose old row is then removed. A state,
once published, never changes: rows are added behind it, removed ones are marked in a new list of
marks, and when those are many the rest moves to a new matrix. So a search takes whatever state it
finds, without a lock, and sees all of it or nothing.

It knows no way of scoring; an engine writes that one method.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from embed.types import Floats
from index.types import Found, Ids, Where
from index.vectors.arrays import checked_queries, checked_rows

BLOCK_BYTES = 32 * 2**20
_DEAD_SHARE = 0.2  # of the rows; above it they are cleared away
_MOST = 0.125  # of the rows; to look for so many ids, a table of all is quicker than bisection
_SPARSE = 16  # times the rows; of ids further apart a table is too long
_GATHER_SHARE = 0.25  # of the rows; below it, copying the wanted ones is cheaper than passing all


class State(NamedTuple):
    """ids: `(N,)`; vectors: `(N, dim)`; dead: ascending positions of removed rows.

    order: positions by id, of equal ids the live one last; None where ids ascend anyway.
    matrix: counts the matrices; within one, a row stays where it is.
    """

    ids: Ids
    vectors: Floats
    dead: Ids
    order: Ids | None
    matrix: int

    def positions(self, ids: Ids) -> Ids:
        """Where these ids are, ascending, once each; those that are unknown or dead left out."""
        if not len(self.ids):
            return np.empty(0, np.int64)
        if len(ids) > _MOST * len(self.ids) and np.ptp(ids) < _SPARSE * len(self.ids):
            return without(np.flatnonzero(np.isin(self.ids, ids, kind="table")), self.dead)
        at = np.searchsorted(self.ids, ids, side="right", sorter=self.order) - 1
        if self.order is not None:
            at = self.order[at]
        known: Ids = at[self.ids[at] == ids]
        if not np.all(known[1:] > known[:-1]):
            known = np.unique(known)
        return without(known, self.dead)

    def alive(self) -> Ids:
        """Positions of the rows that are not removed, in the order of their ids."""
        if self.order is None:
            return without(np.arange(len(self.ids)), self.dead)
        alive: Ids = self.order[~np.isin(self.order, self.dead)]
        return alive


def without(positions: Ids, dead: Ids) -> Ids:
    """Both ascending, once each."""
    if not len(dead):
        return positions
    at = np.minimum(np.searchsorted(dead, positions), len(dead) - 1)
    alive: Ids = positions[dead[at] != positions]
    return alive


class DenseIndex(ABC):
    """Implements `index.types.VectorIndex` over an exact scan."""

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._seq = 0
        self._lock = threading.Lock()
        self._id_buffer: Ids
        self._vector_buffer: Floats
        self._state: State
        self._matrices = 0
        self._replace(np.empty(0, np.int64), np.empty((0, dim), np.float32))

    @property
    def dim(self) -> int:
        return self._dim

    @property
    def seq(self) -> int:
        return self._seq

    def __len__(self) -> int:
        state = self._state
        return len(state.ids) - len(state.dead)

    @abstractmethod
    def _nearest(self, queries: Floats, vectors: Floats, k: int, skip: Ids) -> tuple[Floats, Ids]:
        """The k best rows of `vectors` for each query: scores `(Q, k)`, positions `(Q, k)`.

        skip: ascending positions to pass over; at least k rows are left. Best first, equal scores
        by position.
        """

    def upsert(self, ids: Ids, vectors: Floats) -> None:
        """Adds `(N, dim)` unit vectors under `(N,)` ids; an id already there is replaced.

        Of an id given twice the last counts. Raises InvalidVector, BadInput for a negative id.
        """
        ids, vectors = checked_rows(ids, vectors, self._dim)
        if not len(ids):
            return
        with self._lock:
            replaced = self._state.positions(ids)
            self._append(ids, vectors, np.union1d(self._state.dead, replaced))
            self._clear()

    def remove(self, ids: Ids) -> None:
        """Forgets ids; unknown ones are ignored."""
        with self._lock:
            removed = self._state.positions(np.asarray(ids, dtype=np.int64))
            self._state = self._state._replace(dead=np.union1d(self._state.dead, removed))
            self._clear()

    def commit(self, seq: int, probes: Callable[[], Floats]) -> None:  # noqa: ARG002 - nothing to tune
        """Remembers how far it was told. Nothing is kept: the rows load from the catalog."""
        self._seq = seq

    def close(self) -> None:  # noqa: B027 - a default, and enough here
        """Nothing to let go of."""

    def search(self, queries: Floats, k: int, where: Where | None = None) -> Found:
        """The k nearest of each of `(Q, dim)` queries, among the rows in `where` when given.

        Raises InvalidVector for a query of another shape or with NaN, InvalidQuery for k < 1.
        """
        queries = checked_queries(queries, k, self._dim)
        state = self._state
        ids = np.full((len(queries), k), -1, np.int64)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        wanted = None if where is None else state.positions(where.ids)
        size = len(state.ids) - len(state.dead) if wanted is None else len(wanted)
        width = min(k, size)
        if width and len(queries):
            scores[:, :width], positions = self._scan(queries, state, width, wanted)
            ids[:, :width] = state.ids[positions]
        if state.order is not None:
            by_score = np.lexsort((ids, -scores), axis=1)
            ids = np.take_along_axis(ids, by_score, axis=1)
            scores = np.take_along_axis(scores, by_score, axis=1)
        return Found(ids=ids, scores=scores)

    def _scan(
        self, queries: Floats, state: State, k: int, wanted: Ids | None
    ) -> tuple[Floats, Ids]:
        if wanted is None:
            return self._nearest(queries, state.vectors, k, state.dead)
        if len(wanted) < _GATHER_SHARE * len(state.ids):
            return self._gather(queries, state.vectors, k, wanted)
        skip = np.delete(np.arange(len(state.ids)), wanted)
        return self._nearest(queries, state.vectors, k, skip)

    def _gather(self, queries: Floats, vectors: Floats, k: int, wanted: Ids) -> tuple[Floats, Ids]:
        """Equal scores in the order of `wanted`."""
        nothing = np.empty(0, np.int64)
        scores, positions = [], []
        block = max(1, BLOCK_BYTES // (4 * self._dim))
        for start in range(0, len(wanted), block):
            some = wanted[start : start + block]
            best, at = self._nearest(queries, vectors[some], min(k, len(some)), nothing)
            scores.append(best)
            positions.append(some[at])
        if len(scores) == 1:
            return scores[0], positions[0]
        every, found = np.concatenate(scores, axis=1), np.concatenate(positions, axis=1)
        order = np.argsort(-every, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(every, order, axis=1), np.take_along_axis(found, order, axis=1)

    def _append(self, ids: Ids, vectors: Floats, dead: Ids) -> None:
        state = self._state
        start, end = len(state.ids), len(state.ids) + len(ids)
        if end > len(self._id_buffer):
            capacity = max(end, 2 * len(self._id_buffer))
            self._id_buffer = np.empty(capacity, np.int64)
            self._id_buffer[:start] = state.ids
            self._vector_buffer = np.empty((capacity, self._dim), np.float32)
            self._vector_buffer[:start] = state.vectors
        self._id_buffer[start:end] = ids
        self._vector_buffer[start:end] = vectors
        late = state.order is not None or (start > 0 and ids[0] <= state.ids[-1])
        every = self._id_buffer[:end]
        order = np.argsort(every, kind="stable") if late else None
        self._state = State(every, self._vector_buffer[:end], dead, order, state.matrix)

    def _clear(self) -> None:
        """Moves what is left to a new matrix, in the order of ids, when enough was removed."""
        state = self._state
        if len(state.dead) <= _DEAD_SHARE * len(state.ids):
            return
        alive = state.alive()
        self._replace(state.ids[alive], state.vectors[alive])

    def _replace(self, ids: Ids, vectors: Floats) -> None:
        self._id_buffer, self._vector_buffer = ids, vectors
        self._state = State(ids, vectors, np.empty(0, np.int64), None, self._matrices)
        self._matrices += 1
