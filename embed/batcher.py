"""Dynamic batching: many callers with one medium each, one tower that likes several at once.

A medium is made ready in its caller's thread, and so while others are in the network. A free
worker takes whatever waits, so nobody waits for a batch to fill. The queue is bounded:
callers of a full one either block (an ingest) or are told to come back (a server).
One bad medium fails its own caller only; a tower that breaks fails the callers it broke for, the
worker lives on, and `health` says so.

It knows nothing of files, indexes or HTTP.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from embed.errors import BackendFailed, BadInput, CrossbindError, NotAvailable, Overloaded
from embed.types import Embedder, Floats, Media, Modality

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """One medium's vectors: joint `(D,)`, native `(M,)` or None; float32, unit length."""

    joint: Floats
    native: Floats | None


@dataclass(frozen=True, slots=True)
class BatcherHealth:
    """healthy: workers run and the last batch did not break the tower."""

    healthy: bool
    pending: int
    last_error: str | None


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    order: int
    modality: Modality
    prepared: Any
    future: Future[Embedded]


class Batcher:
    """Feeds `embedder` from many threads, in batches as it likes them.

    max_pending: media that may wait before callers are held back; by default four batches.
    """

    def __init__(self, embedder: Embedder, *, max_pending: int | None = None) -> None:
        self.embedder = embedder
        workers, self._max_batch = embedder.batching
        self._max_pending = 4 * self._max_batch if max_pending is None else max_pending
        self._queues: dict[Modality, deque[_Waiting]] = {}
        self._order = 0
        self._pending = 0
        self._closed = False
        self._last_error: str | None = None
        self._changed = threading.Condition()
        self._workers = [
            threading.Thread(target=self._work, name=f"embed-{n}", daemon=True)
            for n in range(workers)
        ]
        for worker in self._workers:
            worker.start()

    def submit(self, media: Media, *, block: bool = True) -> Future[Embedded]:
        """Queues one medium. Raises Overloaded when the queue is full and `block` is false.

        Those who wait fill only half of the queue, so that a long job leaves room for a question.
        The future carries the tower's own error when it cannot take this medium.
        """
        future: Future[Embedded] = Future()
        if not block:
            self._refuse_when_full()  # before the work of preparing
        try:
            prepared = self.embedder.prepare(media)
        except Exception as error:  # noqa: BLE001  it is told to the caller, like any other
            self._broke([_Waiting(0, media.modality, None, future)], error)
            return future
        with self._changed:
            limit = self._max_pending // 2 if block else self._max_pending
            while self._pending >= limit and not self._closed:
                if not block:
                    raise self._overloaded()
                self._changed.wait()
            if self._closed:
                raise NotAvailable("the embedder was closed; start the service again")
            # A question goes before what a long job has waiting, and no further.
            order = self._order if block else self._order - self._max_pending
            waiting = _Waiting(order, media.modality, prepared, future)
            self._queues.setdefault(media.modality, deque()).append(waiting)
            self._order += 1
            self._pending += 1
            self._changed.notify_all()
        return future

    def embed(self, batch: Sequence[Media], *, block: bool = True) -> list[Embedded]:
        """Embeds media of any mix of modalities, in order. Raises the first error among them.

        Without `block` a full queue refuses the first one; the others then wait their turn.
        """
        futures = [
            self.submit(media, block=block or number > 0) for number, media in enumerate(batch)
        ]
        return [future.result() for future in futures]

    def _refuse_when_full(self) -> None:
        with self._changed:
            if self._pending >= self._max_pending and not self._closed:
                raise self._overloaded()

    def _overloaded(self) -> Overloaded:
        return Overloaded(
            f"{self._pending} media already wait to be embedded, and that is the limit; "
            "try again in a moment"
        )

    def health(self) -> BatcherHealth:
        with self._changed:
            alive = all(worker.is_alive() for worker in self._workers)
            healthy = alive and self._last_error is None and not self._closed
            return BatcherHealth(healthy, self._pending, self._last_error)

    def close(self) -> None:
        """Finishes what waits, then stops the workers. Later submissions are refused."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join()

    def _work(self) -> None:
        while batch := self._take():
            try:
                self._run(batch)
            except BaseException as error:  # noqa: BLE001  a dead worker would hang its callers
                self._broke(batch, error)

    def _take(self) -> list[_Waiting]:
        """Waits for work; an empty list means that the batcher is closed and drained."""
        with self._changed:
            while not self._pending:
                if self._closed:
                    return []
                self._changed.wait()
            queue = min(filter(None, self._queues.values()), key=lambda queue: queue[0].order)
            # A fair share: one worker that takes everything would leave the others idle.
            share = -(-len(queue) // len(self._workers))
            count = min(share, self._max_batch)
            batch = [queue.popleft() for _ in range(count)]
            self._pending -= count
            self._changed.notify_all()
        return [waiting for waiting in batch if waiting.future.set_running_or_notify_cancel()] or (
            self._take()
        )

    def _run(self, batch: list[_Waiting]) -> None:
        try:
            prepared = [waiting.prepared for waiting in batch]
            vectors = self.embedder.run(batch[0].modality, prepared)
            if len(vectors) != len(batch):
                raise BackendFailed(f"{len(vectors)} vectors came back for {len(batch)} media")
        except Exception as error:
            if len(batch) == 1:
                raise
            log.debug("a batch of %d failed (%s); each on its own now", len(batch), error)
            for waiting in batch:
                try:
                    self._run([waiting])
                except BaseException as own:  # noqa: BLE001  the neighbours still want theirs
                    self._broke([waiting], own)
            return
        with self._changed:
            self._last_error = None
        for row, waiting in enumerate(batch):
            native = None if vectors.native is None else vectors.native[row].copy()
            waiting.future.set_result(Embedded(vectors.joint[row].copy(), native))

    def _broke(self, batch: list[_Waiting], error: BaseException) -> None:
        if not isinstance(error, CrossbindError):
            log.error("the tower broke", exc_info=error)
            wrapped = BackendFailed(f"the tower broke: {type(error).__name__}: {error}")
            wrapped.__cause__ = error
            error = wrapped
        if not isinstance(error, BadInput):
            with self._changed:
                self._last_error = str(error)
        for waiting in batch:
            if not waiting.future.done():
                waiting.future.set_exception(error)
