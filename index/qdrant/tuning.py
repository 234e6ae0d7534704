"""How widely the graph on a Qdrant server must be searched: measured, in the background.

A server builds its graph (HNSW, Malkov and Yashunin 2018) after points were acknowledged, so the
measuring waits until it has. Then the least `ef` counts with which queries like those to come find
enough of what an exact scan finds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import NamedTuple

from embed.errors import CrossbindError
from embed.types import Floats
from index.qdrant.points import LEAST_EF, Note, Points, Scored

EXACT_UP_TO = 20_000  # points; a scan of them takes a few milliseconds
RECALL = 0.95

_EF = (LEAST_EF, 128, 256, 512)
_K = 10
_QUERIES = 64
_GROWTH = 1.2  # of the collection, after which it is measured again
_PAUSE = 1.0  # seconds between two questions whether the graph is built

log = logging.getLogger(__name__)


class Tuned(NamedTuple):
    """recall: recall@10 measured with this ef."""

    ef: int
    recall: float


class Tuning:
    """Of one collection. Any thread may begin; one measuring is under way at a time."""

    def __init__(self, points: Points) -> None:
        self._points = points
        self._thread: Thread | None = None
        self._stopped = Event()

    def is_due(self, note: Note, size: int) -> bool:
        return self._points.approximate and size > max(EXACT_UP_TO, _GROWTH * note.size)

    def begin(self, probes: Callable[[], Floats], keep: Callable[[Tuned], None]) -> None:
        """Measures with `(P, dim)` probes, and hands what came of it to `keep`."""
        if self._thread is None or not self._thread.is_alive():
            self._stopped.clear()
            self._thread = Thread(target=self._run, args=(probes, keep), daemon=True)
            self._thread.start()

    def settle(self) -> None:
        """Waits until nothing is under way."""
        if self._thread is not None:
            self._thread.join()

    def stop(self) -> None:
        self._stopped.set()
        self.settle()

    def _run(self, probes: Callable[[], Floats], keep: Callable[[Tuned], None]) -> None:
        try:
            while not self._stopped.wait(_PAUSE):  # it takes a moment to begin building
                if self._points.settled():
                    queries = probes()[:_QUERIES]
                    if len(queries):
                        keep(self._measured(queries))
                    return
        except CrossbindError as error:
            log.warning("Qdrant's graph was not measured, the next change tries: %s", error.message)

    def _measured(self, queries: Floats) -> Tuned:
        true = self._points.search(queries, _K, None, None)
        for ef in _EF:
            recall = _overlap(true, self._points.search(queries, _K, None, ef))
            if recall >= RECALL:
                break
        return Tuned(ef, recall)


def _overlap(true: Sequence[Sequence[Scored]], found: Sequence[Sequence[Scored]]) -> float:
    """Recall@k: the share of the truly nearest that was found."""
    hits = sum(
        len({one for one, _ in mine} & {one for one, _ in all_})
        for mine, all_ in zip(found, true, strict=True)
    )
    return hits / max(1, sum(len(some) for some in true))
