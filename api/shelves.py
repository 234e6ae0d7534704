"""The collections of this process: each opened once, and anew when it was migrated meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from embed.errors import NotFound
from index.catalog import Catalog
from index.collection import Collection

T = TypeVar("T")


class Shelves:
    """Open collections by name. Safe to use from several threads."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._open: dict[int, Collection] = {}
        self._lock = threading.Lock()

    def open(self, name: str) -> Collection:
        """As the catalog has it now. Raises NotFound, naming the choices."""
        info = self._catalog.collection(name)
        with self._lock:
            known = self._open.get(info.id)
            if known is None or known.info != info:  # it may be in another space now
                known = self._open[info.id] = Collection(self._catalog, info)
            return known

    def use(self, name: str, work: Callable[[Collection], T]) -> T:
        """What `work` makes of a collection; again when that was migrated under its hands."""
        while True:
            target = self.open(name)
            try:
                return work(target)
            except NotFound:
                if self.has_stayed(target):
                    raise

    def has_stayed(self, collection: Collection) -> bool:
        """Whether it is what it was opened as. Raises NotFound when it was deleted."""
        return self._catalog.collection(collection.name) == collection.info

    def forget(self, collection: Collection) -> None:
        """Lets go of one that was deleted."""
        with self._lock:
            self._open.pop(collection.info.id, None)

    def close(self) -> None:
        """Lets go of what the engines of all of them hold."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()
