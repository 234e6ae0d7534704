"""The threads that share one search. They know nothing of what is searched."""

from __future__ import annotations

import os
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
        pool = self._pool
        if pool is None or len(parts) < 2:
            return [work(part) for part in parts]
        try:
            later = [pool.submit(work, part) for part in parts[1:]]
        except RuntimeError:  # closed meanwhile
            return [work(part) for part in parts]
        return [work(parts[0]), *(one.result() for one in later)]

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
