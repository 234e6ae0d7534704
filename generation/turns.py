"""First come, first served: the queue before something that does one thing at a time.

It knows no model. A turn may be given back by another thread than the one that waited for it.
"""

from __future__ import annotations

import threading
from collections import deque

from embed.errors import Overloaded


class Turns:
    """At most `waiting` callers wait; the next is told to come back."""

    def __init__(self, waiting: int) -> None:
        self._waiting = waiting
        self._queue: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    def take(self) -> None:
        """Waits until it is the caller's turn, which `give_back` ends. Raises Overloaded."""
        mine = threading.Event()
        with self._lock:
            if len(self._queue) > self._waiting:
                raise Overloaded(
                    f"{self._waiting} questions already wait for this generator, and that is the "
                    "limit; try again in a moment"
                )
            self._queue.append(mine)
            if self._queue[0] is mine:
                return
        try:
            mine.wait()
        except BaseException:  # interrupted: those behind must not wait for one who left
            self._leave(mine)
            raise

    def give_back(self) -> None:
        """The next one's turn begins."""
        with self._lock:
            self._leave_front()

    def _leave(self, mine: threading.Event) -> None:
        with self._lock:
            if self._queue[0] is mine:
                self._leave_front()
            else:
                self._queue.remove(mine)

    def _leave_front(self) -> None:
        self._queue.popleft()
        if self._queue:
            self._queue[0].set()
