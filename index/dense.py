"""Vectors in memory, one row each: what the engines that look at every row share.

Rows lie in the order of their ids, so that an id is found by bisection and equal scores fall in the
order of ids by themselves. A state, once published, never changes: rows are added behind it,
removed ones are marked in a new list of marks, and anything else makes a new matrix. So a search
takes whatever state it finds, without a lock, and sees all of it or nothing.

It knows no way of scoring; an engine writes that one method.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embed.errors import BadInput, InvalidQuery, InvalidVector
from embed.types import Floats, check_unit
from index.types import Found, Ids

BLOCK_BYTES = 32 * 2**20
_DEAD_SHARE = 0.2  # of the rows; above it they are cleared away
_GATHER_SHARE = 0.25  # of the rows; below it, copying the wanted ones is cheaper than passing all


class _State(NamedTuple):
    """ids: `(N,)` ascending; vectors: `(N, dim)`; dead: ascending positions of removed rows."""

    ids: Ids
    vectors: Floats
    dead: Ids

    def positions(self, ids: Ids) -> Ids:
        """Where these ids are, ascending, once each; those that are unknown or dead left out."""
        if not len(self.ids):
            return np.empty(0, np.int64)
        at = np.searchsorted(self.ids, ids)
        known = at[self.ids[np.minimum(at, len(self.ids) - 1)] == ids]
        positions: Ids = np.setdiff1d(known, self.dead)
        return positions


class DenseIndex(ABC):
    """Implements `index.types.VectorIndex` over an exact scan."""

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._lock = threading.Lock()
        self._id_buffer: Ids
        self._vector_buffer: Floats
        self._state: _State
        self._replace(np.empty(0, np.int64), np.empty((0, dim), np.float32))

    @property
    def dim(self) -> int:
        return self._dim

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
        ids, vectors = self._check_rows(ids, vectors)
        if not len(ids):
            return
        with self._lock:
            state = self._state
            if not len(state.ids) or ids[0] > state.ids[-1]:
                self._append(ids, vectors)
            else:
                self._merge(ids, vectors)

    def remove(self, ids: Ids) -> None:
        """Forgets ids; unknown ones are ignored."""
        with self._lock:
            state = self._state
            dead = np.union1d(state.dead, state.positions(np.asarray(ids, dtype=np.int64)))
            if len(dead) > _DEAD_SHARE * len(state.ids):
                self._replace(*_without(state, dead))
            else:
                self._state = state._replace(dead=dead)

    def search(self, queries: Floats, k: int, where: Ids | None = None) -> Found:
        """The k nearest of each of `(Q, dim)` queries, among the ids in `where` when given.

        Raises InvalidVector for a query of another shape or with NaN, InvalidQuery for k < 1.
        """
        queries = self._check_queries(queries)
        if k < 1:
            raise InvalidQuery(f"k is {k}; at least 1 is needed", param="k")
        state = self._state
        ids = np.full((len(queries), k), -1, np.int64)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        wanted = None if where is None else state.positions(np.asarray(where, dtype=np.int64))
        size = len(state.ids) - len(state.dead) if wanted is None else len(wanted)
        width = min(k, size)
        if width and len(queries):
            scores[:, :width], positions = self._scan(queries, state, width, wanted)
            ids[:, :width] = state.ids[positions]
        return Found(ids=ids, scores=scores)

    def _scan(
        self, queries: Floats, state: _State, k: int, wanted: Ids | None
    ) -> tuple[Floats, Ids]:
        if wanted is None:
            return self._nearest(queries, state.vectors, k, state.dead)
        if len(wanted) < _GATHER_SHARE * len(state.ids):
            return self._gather(queries, state.vectors, k, wanted)
        skip = np.delete(np.arange(len(state.ids)), wanted)
        return self._nearest(queries, state.vectors, k, skip)

    def _gather(self, queries: Floats, vectors: Floats, k: int, wanted: Ids) -> tuple[Floats, Ids]:
        best = np.full((len(queries), 0), -np.inf, np.float32)
        found = np.full((len(queries), 0), -1, np.int64)
        nothing = np.empty(0, np.int64)
        block = max(1, BLOCK_BYTES // (4 * self._dim))
        for start in range(0, len(wanted), block):
            some = wanted[start : start + block]
            width = min(k, len(some))
            scores, positions = self._nearest(queries, vectors[some], width, nothing)
            best = np.concatenate([best, scores], axis=1)
            found = np.concatenate([found, some[positions]], axis=1)
            order = np.argsort(-best, axis=1, kind="stable")[:, :k]
            best = np.take_along_axis(best, order, axis=1)
            found = np.take_along_axis(found, order, axis=1)
        return best, found

    def _append(self, ids: Ids, vectors: Floats) -> None:
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
        self._state = _State(self._id_buffer[:end], self._vector_buffer[:end], state.dead)

    def _merge(self, ids: Ids, vectors: Floats) -> None:
        """Anything but growth at the end: rare, as the catalog never uses an id twice."""
        state = self._state
        replaced = np.flatnonzero(np.isin(state.ids, ids))
        kept_ids, kept = _without(state, np.union1d(state.dead, replaced))
        at = np.searchsorted(kept_ids, ids)
        self._replace(np.insert(kept_ids, at, ids), np.insert(kept, at, vectors, axis=0))

    def _replace(self, ids: Ids, vectors: Floats) -> None:
        self._id_buffer, self._vector_buffer = ids, vectors
        self._state = _State(ids, vectors, np.empty(0, np.int64))

    def _check_rows(self, ids: Ids, vectors: Floats) -> tuple[Ids, Floats]:
        ids, vectors = np.asarray(ids, dtype=np.int64), np.asarray(vectors)
        check_unit(vectors, self._dim)
        if ids.shape != (len(vectors),):
            raise InvalidVector(f"ids of shape {ids.shape} for {len(vectors)} vectors")
        if len(ids) and ids.min() < 0:
            raise BadInput(f"id {ids.min()} is negative; ids start at 0")
        if np.all(ids[1:] > ids[:-1]):
            return ids, vectors
        order = np.argsort(ids, kind="stable")
        last = np.append(ids[order][1:] != ids[order][:-1], True)
        return ids[order][last], vectors[order][last]

    def _check_queries(self, queries: Floats) -> Floats:
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        if queries.ndim != 2 or queries.shape[1] != self._dim:
            raise InvalidVector(f"queries have shape {queries.shape}; (Q, {self._dim}) is wanted")
        if not np.isfinite(queries).all():
            raise InvalidVector("a query holds NaN or infinity; every number must be finite")
        return queries


def _without(state: _State, positions: NDArray[np.int64]) -> tuple[Ids, Floats]:
    return np.delete(state.ids, positions), np.delete(state.vectors, positions, axis=0)
