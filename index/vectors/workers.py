"""The threads that share one search. They know nothing of what is searched."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Workers:
    """Threads of one owner, as many as OpenMP was told to use; the caller is one of them."""

    def __init__(self) -> None:
        self.count = _threads()
        self._pool = ThreadPoolExecutor(self.count - 1, "search") if self.count > 1 else None

    def each(self, work: Callable[[T], R], parts: Sequence[T]) -> list[R]:
        """The results, in the order of `parts`. Whoever is free takes the next part."""
        pool = self._pool
        if pool is None or len(parts) < 2:
            return [work(part) for part in parts]
        done: dict[int, R] = {}
        waiting = deque(enumerate(parts))

        def take() -> None:
            while waiting:
                try:
                    place, part = waiting.popleft()
                except IndexError:  # another one was quicker
                    return
                done[place] = work(part)

        try:
            later = [pool.submit(take) for _ in range(min(self.count, len(parts)) - 1)]
        except RuntimeError:  # closed meanwhile
            later = []
        take()
        for one in later:
            if not one.cancel():  # of one that has not begun nothing is wanted any more
                one.result()
        return [done[place] for place in range(len(parts))]

    def close(self) -> None:
        """What has begun is finished; what comes later is done by its caller alone."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)


def _threads() -> int:
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdecimal() and int(told) > 0:
        return int(told)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
