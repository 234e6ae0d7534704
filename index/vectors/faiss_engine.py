"""Approximate search in a collection that changes: a sealed base, an exact tail, and marks.

FAISS's graphs cannot forget, and what is mapped from a file cannot grow. So a base, once built, is
never touched: rows that came later are in a tail that is searched exactly, rows of the base that
are gone or replaced are marked, and when both make up a fifth of it a new base is built from what
is live, in a thread of its own, while searches go on with the old one. A search takes one state,
published whole, and needs no lock.

It knows neither files (`shelf.py`, `generation.py`) nor FAISS (`faiss_kinds.py`), which is only
loaded when a base is built or read.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import numpy as np

from embed.types import Floats
from index.types import Found, Ids, Place, Where
from index.vectors.builder import Builder, Order
from index.vectors.generation import Generation, Piece
from index.vectors.plan import Plan
from index.vectors.sealed import State, search
from index.vectors.shelf import Shelf
from index.vectors.tail import Tail
from index.vectors.tuning import Bits

_STALE_SHARE = 0.2  # of the base, in the tail or marked; above it a new one is built
_HEARD = 256  # queries, the last ones, that a base is tuned by again
_FORMAT = 2  # of the files


class FaissIndex:
    """Implements `index.types.VectorIndex`. A `place` keeps bases from one process to the next."""

    def __init__(self, dim: int, plan: Plan, place: Place | None = None) -> None:
        self._dim = dim
        self._plan = plan
        self._seq = 0
        self._lock = threading.Lock()
        self._tail = Tail(dim)
        self._state = State(None, np.empty(0, np.uint8), 0, self._tail.frozen())
        self._newer: Generation | None = None
        self._asked: deque[Floats] = deque(maxlen=_HEARD)
        self._heard_now = 0
        self._tuned: Generation | None = None
        made_for = {"format": _FORMAT, "kind": plan.kind, "recall": plan.recall, "dim": dim}
        shelf = Shelf(place, made_for) if place else None
        self._builder = Builder(dim, shelf, self._hand_over)
        base = shelf.begin() if shelf else None
        if shelf is not None:
            self._asked.extend(shelf.asked(dim))
        if base is not None:
            self._take_over(base)

    @property
    def dim(self) -> int:
        return self._dim

    @property
    def seq(self) -> int:
        return self._seq

    def __len__(self) -> int:
        return self._state.size

    # Writing

    def upsert(self, ids: Ids, vectors: Floats) -> None:
        """Adds `(N, dim)` unit vectors under `(N,)` ids; an id already there is replaced.

        Of an id given twice the last counts. Raises InvalidVector, BadInput for a negative id.
        """
        with self._lock:
            self._tail.upsert(ids, vectors)
            self._mark(ids)

    def remove(self, ids: Ids) -> None:
        """Forgets ids; unknown ones are ignored."""
        with self._lock:
            self._tail.remove(ids)
            self._mark(ids)

    def commit(self, seq: int, probes: Callable[[], Floats]) -> None:
        """See `VectorIndex`. When it is time, a new base is built in the background."""
        with self._lock:
            self._seq = seq
            if self._newer is not None and self._newer.seq >= seq:
                self._take_over(self._newer)
            self._newer = None
            kind = self._kind_wanted()
            if kind is not None:
                self._builder.start(self._order(kind, probes()))

    def settle(self) -> None:
        """Waits until no base is being built."""
        self._builder.settle()

    def close(self) -> None:
        """A base that is being built is given up."""
        self._builder.close()
        self._tail.close()

    def _mark(self, ids: Ids) -> None:
        """The rows of these ids in the base are no longer live. The new state is published."""
        state = self._state
        live, dead = state.marked(np.asarray(ids, dtype=np.int64))
        self._state = State(state.base, live, dead, self._tail.frozen())

    # Searching

    def search(self, queries: Floats, k: int, where: Where | None = None) -> Found:
        """The k nearest of each of `(Q, dim)` queries, among the rows in `where` when given.

        Raises InvalidVector for a query of another shape or with NaN, InvalidQuery for k < 1.
        """
        state = self._state
        found = search(state, queries, k, where)
        if state.base is not None:
            self._heed(state.base, queries)
        return found

    def _heed(self, base: Generation, queries: Floats) -> None:
        """What people ask is the best probe: a base is tuned again when enough of it was heard.

        Of pictures without texts there are no probes but pictures, and what is tuned by these
        finds less than it says when texts ask.
        """
        self._asked.extend(np.array(queries[-_HEARD:], dtype=np.float32))
        self._heard_now += len(queries)
        if self._heard_now < _HEARD or self._tuned is base or self._builder.is_busy:
            return
        with self._lock:
            if self._state.base is base and not self._builder.is_busy:
                self._tuned = base
                self._builder.tune_again(base, self._heard(), self._plan.recall)

    def _heard(self) -> Floats:
        asked = self._asked.copy()
        return np.array(asked) if asked else np.empty((0, self._dim), np.float32)

    # Building

    def _kind_wanted(self) -> str | None:
        """Of the base that is to be built now, if one is."""
        state = self._state
        base = len(state.base) if state.base else 0
        if self._builder.is_busy or len(state.tail) + state.dead <= _STALE_SHARE * base:
            return None
        return self._plan.choose(len(self), self._dim)

    def _order(self, kind: str, probes: Floats) -> Order:
        base = self._state.base
        return Order(
            pieces=self._pieces(),
            seq=self._seq,
            kind=kind,
            recall=self._plan.recall,
            probes=np.concatenate([self._heard(), probes]),
            after=base.number if base else 0,
        )

    def _pieces(self) -> list[Piece]:
        """All rows there are: those of the tail, then those of the base."""
        state = self._state
        ids, vectors = state.tail.rows()
        late = Piece(ids, vectors, np.arange(len(ids)))
        if state.base is None:
            return [late]
        return [late, Piece(state.base.ids, state.base.vectors, state.alive())]

    def _hand_over(self, base: Generation) -> None:
        with self._lock:
            if base.seq <= self._seq:
                self._rebase(base)
            else:
                # Another process was told more. Changes may be on their way to this one that the
                # base knows already, so that it waits for the next commit.
                self._newer = base

    def _take_over(self, base: Generation) -> None:
        """All that was told so far is in this base."""
        self._seq = base.seq
        self._publish(base, np.packbits(np.ones(len(base), bool), bitorder="little"), 0, [])

    def _rebase(self, base: Generation) -> None:
        """What is live stays, but for the rows that this base now holds as they are."""
        live = np.zeros(len(base), bool)
        left = []
        late, *older = self._pieces()
        for piece in (late, *older):
            at = base.positions(piece.ids[piece.rows])
            held = at >= 0
            if piece is late:
                # Written while the base was built, maybe; the rows of an older base never are.
                same = base.vectors[at[held]] == piece.vectors[piece.rows[held]]
                held[held] = same.all(axis=1)
            live[at[held]] = True
            left.append(piece._replace(rows=piece.rows[~held]))
        bits = np.packbits(live, bitorder="little")
        self._publish(base, bits, len(base) - int(live.sum()), left)

    def _publish(self, base: Generation, live: Bits, dead: int, left: list[Piece]) -> None:
        old, self._tail = self._tail, Tail(self._dim)
        for piece in left:
            self._tail.upsert(piece.ids[piece.rows], piece.vectors[piece.rows])
        self._state = State(base, live, dead, self._tail.frozen())
        old.close()
