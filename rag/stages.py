"""Where the time of an answer goes, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Stages:
    """Adds up milliseconds by stage; one stage may be within another. Of one thread."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._spent: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """What happens inside counts for `name`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._add(name, began)

    def each(self, name: str, items: Iterator[T]) -> Iterator[T]:
        """Passes on `items`; the time that they take to come counts for `name`, and that until the
        first for `first_` and `name` too."""
        began, first = time.perf_counter(), True
        for item in items:
            self._add(name, began)
            if first:
                self._add(f"first_{name}", began)
                first = False
            yield item
            began = time.perf_counter()
        self._add(name, began)

    def timings_ms(self) -> dict[str, float]:
        """By stage in the order in which they ended first, and their `total` since the start."""
        return {**self._spent, "total": (time.perf_counter() - self._began) * 1e3}

    def _add(self, name: str, began: float) -> None:
        self._spent[name] = self._spent.get(name, 0.0) + (time.perf_counter() - began) * 1e3
