"""The embedders of this process, each loaded once, on first use, behind a batcher of its own."""

from __future__ import annotations

import threading

from api.config import Settings
from embed import registry
from embed.batcher import Batcher
from embed.errors import SpaceMismatch
from embed.types import Space


class Towers:
    """Batchers by space name. Safe from many threads; a slow load holds up only its own space."""

    def __init__(self, settings: Settings) -> None:
        self._options = registry.LoadOptions(cache=settings.cache, threads=settings.threads)
        self._workers = settings.threads
        self._loading: dict[str, threading.Lock] = {}
        self._batchers: dict[str, Batcher] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Batcher:
        """The batcher of space `name`. Raises NotFound, MissingWeights, MissingDependency."""
        registry.describe(name)
        with self._lock:
            if name in self._batchers:
                return self._batchers[name]
            loading = self._loading.setdefault(name, threading.Lock())
        with loading:
            if name not in self._batchers:
                embedder = registry.load(name, self._options)
                self._batchers[name] = Batcher(embedder, workers=self._workers)
            return self._batchers[name]

    def of(self, space: Space) -> Batcher:
        """The batcher whose vectors may meet those of `space`. Raises SpaceMismatch."""
        batcher = self.get(space.name)
        current = batcher.embedder.space
        if current.id != space.id:
            raise SpaceMismatch(
                f"this collection holds vectors of {space.id}, and {space.name!r} here is "
                f"{current.id}: ingest into a new collection, or install the version that made it"
            )
        return batcher

    def loaded(self) -> dict[str, Batcher]:
        """Those in use now."""
        with self._lock:
            return dict(self._batchers)

    def close(self) -> None:
        """Finishes what waits in every batcher."""
        for batcher in self.loaded().values():
            batcher.close()
