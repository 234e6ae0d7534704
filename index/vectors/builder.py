"""Builds a base from rows, in a thread of its own, one at a time, and hands it over.

Half of the threads are left to searches. A build is broken off when the engine is closed or the
program ends; one that fails is logged, and the rows go on being searched exactly.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from embed.types import Floats
from index.failpoints import reach
from index.vectors.generation import Generation, Piece, gathered, write
from index.vectors.shelf import Shelf
from index.vectors.tail import Tail
from index.vectors.tuning import Tuning, tune

_PROBES = 256

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Order:
    """What to build. pieces: all rows there are at `seq`; after: the number of the base they had.

    probes: `(P, dim)` queries to tune by, none for the rows themselves.
    """

    pieces: Sequence[Piece]
    seq: int
    kind: str
    recall: float
    probes: Floats
    after: int


class _BrokenOff(Exception):
    """Nobody waits for this base any more."""


class Builder:
    """hand_over: takes a finished base, or one that another process has finished before."""

    def __init__(self, dim: int, shelf: Shelf | None, hand_over: Callable[[Generation], None]):
        self._dim = dim
        self._shelf = shelf
        self._hand_over = hand_over
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def is_busy(self) -> bool:
        return self._closed or (self._thread is not None and self._thread.is_alive())

    def start(self, order: Order) -> None:
        """Only when it is not busy."""
        self._run(lambda: self._build(order))

    def tune_again(self, base: Generation, probes: Floats, recall: float) -> None:
        """Hands over the same base, tuned by `(P, dim)` queries, which are kept with it.

        Only when it is not busy.
        """
        self._run(lambda: self._tune_again(base, probes, recall))

    def settle(self) -> None:
        """Waits until nothing is being built."""
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        self._closed = True
        self.settle()

    def _go_on(self) -> None:
        # A program ends by waiting for its threads, after the main one.
        if self._closed or not threading.main_thread().is_alive():
            raise _BrokenOff

    def _run(self, work: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=self._watched, args=(work,), name="index-builder")
        self._thread.start()

    def _watched(self, work: Callable[[], None]) -> None:
        from index.vectors.faiss_kinds import use_half_of_the_threads  # noqa: PLC0415 (loads FAISS)

        try:
            use_half_of_the_threads()
            work()
        except _BrokenOff:
            pass
        except Exception:
            log.exception("no new base could be built; what is new goes on being scored exactly")

    def _build(self, order: Order) -> None:
        if self._shelf is None or not self._kept(self._shelf, order):
            self._hand_over(self._built(order, order.after + 1, None))

    def _kept(self, shelf: Shelf, order: Order) -> bool:
        """False where nothing can be kept: on a full disk, or in a folder that is not ours."""
        try:
            with shelf.building() as mine:
                if mine:
                    self._hand_over(shelf.newest(above=order.after) or self._sealed(shelf, order))
        except OSError as error:
            log.warning("the new base is kept in memory alone: %s", error)
            return False
        return True

    def _sealed(self, shelf: Shelf, order: Order) -> Generation:
        number, folder = shelf.draft()
        base = self._built(order, number, folder)
        write(base, folder, shelf.made_for)
        shelf.keep_only(number)
        reach("generation.alone")
        return base

    def _built(self, order: Order, number: int, folder: Path | None) -> Generation:
        from index.vectors.faiss_kinds import build  # noqa: PLC0415 (loads FAISS)

        ids, vectors = gathered(order.pieces, self._dim, folder)
        index = build(order.kind, vectors, self._go_on)
        reach("generation.built")
        untuned = Generation(number, order.seq, order.kind, ids, vectors, index, Tuning([], 0.0))
        probes = order.probes if len(order.probes) else _some(vectors)
        return replace(untuned, tuning=self._tuned(untuned, probes, order.recall))

    def _tune_again(self, base: Generation, probes: Floats, recall: float) -> None:
        tuned = replace(base, tuning=self._tuned(base, probes, recall))
        if self._shelf is not None:
            try:
                self._shelf.keep_tuning(tuned, probes)
            except OSError as error:
                log.warning("how to search for what people ask is known until the end: %s", error)
        self._hand_over(tuned)

    def _tuned(self, base: Generation, probes: Floats, recall: float) -> Tuning:
        with Tail(self._dim) as judge:
            return tune(
                base.index,
                base.vectors,
                probes,
                recall,
                lambda queries, k, rows: judge.among(queries, base.vectors, k, rows)[1],
                self._go_on,
            )


def _some(vectors: Floats) -> Floats:
    rows = np.random.default_rng(0).integers(0, len(vectors), _PROBES)
    return np.asarray(vectors[np.sort(rows)])
