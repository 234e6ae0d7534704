"""Things that are slow to make, each made once for its key."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """Safe from many threads; a slow one holds up only those who want it."""

    def __init__(self) -> None:
        self._made: dict[Hashable, T] = {}
        self._making: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        with self._lock:
            if key in self._made:
                return self._made[key]
            making = self._making.setdefault(key, threading.Lock())
        with making:
            if key not in self._made:
                self._made[key] = make()
            return self._made[key]

    def clear(self) -> list[T]:
        """Forgets all, and returns it."""
        with self._lock:
            made = list(self._made.values())
            self._made.clear()
        return made
