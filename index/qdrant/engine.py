"""Qdrant as an engine: what a server, its client's local mode and the embedded engine share.

One Qdrant collection holds one partition: its points are fragments, the point id is the fragment's.
(One for all partitions with a named vector each would save little, since a fragment lies in one
modality, and would cost much: an upsert replaces a whole point, a vector name cannot be added on
every server, and count, graph and `seq` are a partition's own.) Its name comes from the catalog's
epoch, so a restored catalog never meets points of another history.

A note in the same collection, a point without a vector, says how far the points were told; it is
written after them. It knows no Qdrant library: `Points` is what it needs of one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from embed.errors import Overloaded
from embed.types import Floats, Item, Modality
from index.qdrant.filters import Said, condition, ordered_paths, payloads_of
from index.qdrant.points import LostPoints, Note, Points, Scored, note_from
from index.qdrant.tuning import EXACT_UP_TO, Tuned, Tuning
from index.types import Found, Ids, Where
from index.vectors.arrays import checked_queries, checked_rows

IDS_AT_ONCE = 20_000  # named in one condition
_UPSERT_FLOATS = 2**18  # a request: 5 MB of JSON, and servers take 32
_PATIENCE = 60  # seconds; a large collection takes longer to load, and then a search says so
_INDEXES = 128  # of payload fields with an order; the others are scanned


class QdrantIndex:
    """Implements `index.types.VectorIndex` over `points`, which are opened when first needed.

    lock: a file, held by the one process that tells a shared collection what is new; None where
    only one can open it.
    """

    wants_payloads = True

    def __init__(self, dim: int, points: Points, lock: Path | None = None) -> None:
        self._dim = dim
        self._points = points
        self._turns = lock
        self._tuning = Tuning(points)
        self._lock = threading.RLock()
        self._note: Note | None = None
        self._silent: set[int] = set()
        self._writes = 0  # begun and ended
        self._counted = -1, 0  # how many writes there were at the time, and points

    @property
    def dim(self) -> int:
        return self._dim

    @property
    def seq(self) -> int:
        return self._opened().seq

    @property
    def said(self) -> int:
        """Of the catalog: what was said about items up to it is known, but to silent fragments. -1
        when all are silent."""
        return self._opened().said

    @property
    def silent(self) -> Ids:
        """`(N,)` fragments that were told nothing yet, ascending."""
        with self._lock:
            self._opened()
            return np.array(sorted(self._silent), dtype=np.int64)

    def __len__(self) -> int:
        self._opened()
        writes, count = self._counted
        if writes != self._writes:  # a count begun before a write ended is not kept
            writes = self._writes
            count = self._points.count() - 1
            self._counted = writes, count
        return count

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One process at a time tells a shared collection what is new; what another told
        meanwhile is known inside. Otherwise the slower one would put back what is gone."""
        if self._turns is None:
            yield
            return
        with self._alone(self._turns):
            with self._working() as known:
                kept = self._points.read_note()
                if kept is None or note_from(kept) != known:
                    self._forget()
            yield

    def upsert(self, ids: Ids, vectors: Floats) -> None:
        """Adds `(N, dim)` unit vectors under `(N,)` ids; an id already there is replaced.

        Of an id given twice the last counts. Raises InvalidVector, BadInput for a negative id,
        NotAvailable.
        """
        ids, vectors = checked_rows(ids, vectors, self._dim)
        with self._writing():
            step = max(1, _UPSERT_FLOATS // self._dim)
            for start in range(0, len(ids), step):
                some = ids[start : start + step].tolist()
                self._points.upsert(some, vectors[start : start + step])
                self._silent.update(some)

    def remove(self, ids: Ids) -> None:
        """Forgets ids; unknown ones are ignored. Raises NotAvailable."""
        gone = np.unique(np.asarray(ids, dtype=np.int64))
        gone = gone[gone >= 0]
        with self._writing():
            for start in range(0, len(gone), IDS_AT_ONCE):
                self._points.remove(gone[start : start + IDS_AT_ONCE].tolist())
            self._silent.difference_update(gone.tolist())

    def commit(self, seq: int, probes: Callable[[], Floats]) -> None:
        """Everything up to `seq` was handed over: from here a later process goes on."""
        with self._working() as note:
            self._write(replace(note, seq=seq))
            if self._tuning.is_due(note, len(self)):
                self._tuning.begin(probes, self._keep)

    def settle(self) -> None:
        """Waits for what goes on in the background."""
        self._tuning.settle()

    def put_payloads(
        self, ids: Ids, items: Sequence[Item], has: Sequence[frozenset[Modality]]
    ) -> None:
        """Tells `(N,)` fragments that are in here what is said about their items. has: what media
        the record of each has."""
        fragments: dict[str, list[int]] = {}
        whole: dict[str, tuple[Item, frozenset[Modality]]] = {}
        for fragment, item, media in zip(ids.tolist(), items, has, strict=True):
            fragments.setdefault(item.id, []).append(fragment)
            whole[item.id] = (item, media)
        payloads = payloads_of(*zip(*whole.values(), strict=True)) if whole else []
        with self._working():
            self._make_indexes(payloads)
            self._points.say(list(zip(fragments.values(), payloads, strict=True)))
            self._silent.difference_update(ids.tolist())

    def commit_payloads(self, seq: int) -> None:
        """All that was said about items up to `seq` was put, but to silent fragments."""
        with self._working() as note:
            self._write(replace(note, said=seq))

    def search(self, queries: Floats, k: int, where: Where | None = None) -> Found:
        """The k nearest of each of `(Q, dim)` queries, among the rows in `where` when given.

        Raises InvalidVector for a query of another shape or with NaN, InvalidQuery for k < 1,
        NotAvailable.
        """
        queries = checked_queries(queries, k, self._dim)
        size, note = len(self), self._opened()
        ef = note.ef if self._points.approximate and size > EXACT_UP_TO else None
        best: list[list[Scored]] = [[] for _ in queries]
        if len(queries) and size:
            with self._noticing_loss():
                for some in self._conditions(where):
                    found = self._points.search(queries, min(k, size), some, ef)
                    for row, hits in zip(best, found, strict=True):
                        row.extend(hits)
        return _found(best, k, ef is None, note.recall)

    def snapshot(self) -> str:
        """Has the server keep a snapshot of the points; its name there. Raises NotAvailable where
        there is no server: the catalog is what to keep."""
        with self._working():
            return self._points.snapshot()

    def drop(self) -> None:
        """Removes what Qdrant keeps of this partition."""
        self._tuning.stop()
        with self._lock:
            self._points.drop()
            self._forget()

    def close(self) -> None:
        self._tuning.stop()
        with self._lock:
            self._points.close()
            self._forget()

    def _opened(self) -> Note:
        note = self._note
        if note is not None:
            return note
        with self._lock:
            if self._note is None:
                self._points.open()
                kept = self._points.read_note()
                if kept is None:
                    self._write(Note())
                else:
                    self._note = note_from(kept)
                self._silent = set(self._points.silent())
                self._writes += 1
            assert self._note is not None
            return self._note

    def _write(self, note: Note) -> None:
        self._points.write_note({**asdict(note), "ordered": list(note.ordered)})
        self._note = note

    def _keep(self, tuned: Tuned) -> None:
        with self.turn(), self._working() as note:
            self._write(replace(note, ef=tuned.ef, recall=tuned.recall, size=len(self)))

    def _forget(self) -> None:
        self._note, self._silent = None, set()
        self._writes += 1

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._working():
            self._writes += 1
            try:
                yield
            finally:
                self._writes += 1

    @contextmanager
    def _alone(self, lock: Path) -> Iterator[None]:
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(lock, timeout=_PATIENCE):
                yield
        except Timeout as error:
            raise Overloaded(
                "another process is telling Qdrant what is new: try again in a while"
            ) from error

    @contextmanager
    def _working(self) -> Iterator[Note]:
        with self._lock, self._noticing_loss():
            yield self._opened()

    @contextmanager
    def _noticing_loss(self) -> Iterator[None]:
        try:
            yield
        except LostPoints:
            with self._lock:
                self._forget()
            raise

    def _conditions(self, where: Where | None) -> Iterator[Any]:
        dialect = self._points.dialect
        if where is None:
            yield None
            return
        if where.filter is not None and self.said >= 0 and not self._silent:
            said = condition(where.filter, dialect)
            if said is not None:
                yield said
                return
        ids = where.ids
        for start in range(0, len(ids), IDS_AT_ONCE):
            yield dialect.ids(ids[start : start + IDS_AT_ONCE].tolist())

    def _make_indexes(self, payloads: Sequence[Said]) -> None:
        note = self._opened()
        wanted = {path for payload in payloads for path in ordered_paths(payload)}
        for path in sorted(wanted - set(note.ordered))[: _INDEXES - len(note.ordered)]:
            self._points.index(path)
            note = replace(note, ordered=(*note.ordered, path))
        if note is not self._note:
            self._write(note)


def _found(best: Sequence[Sequence[Scored]], k: int, exact: bool, recall: float | None) -> Found:
    ids = np.full((len(best), k), -1, np.int64)
    scores = np.full((len(best), k), -np.inf, np.float32)
    for row, hits in enumerate(best):
        ordered = sorted(hits, key=lambda hit: (-hit[1], hit[0]))[:k]
        if ordered:
            ids[row, : len(ordered)], scores[row, : len(ordered)] = zip(*ordered, strict=True)
    return Found(ids=ids, scores=scores, exact=exact, recall_estimate=1.0 if exact else recall)
