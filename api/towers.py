"""The embedders of this process, each loaded once, on first use, behind a batcher of its own."""

from __future__ import annotations

import threading

from api.config import Settings
from api.requests import ModelSummary
from embed import registry
from embed.batcher import Batcher
from embed.errors import CrossbindError, MissingDependency, MissingWeights, SpaceMismatch
from embed.registry import Capabilities
from embed.types import Space


class Towers:
    """Batchers by space name. Safe from many threads; a slow load holds up only its own space."""

    def __init__(self, settings: Settings) -> None:
        self.options = registry.LoadOptions(
            cache=settings.cache, threads=settings.threads, offline=settings.offline
        )
        self._loading: dict[str, threading.Lock] = {}
        self._batchers: dict[str, Batcher] = {}
        self._described: dict[str, Capabilities] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Batcher:
        """The batcher of space `name`. Raises NotFound, MissingWeights, MissingDependency."""
        with self._lock:
            if name in self._batchers:
                return self._batchers[name]
            loading = self._loading.setdefault(name, threading.Lock())
        with loading:
            if name not in self._batchers:
                self._batchers[name] = Batcher(registry.load(name, self.options))
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

    def describe(self, name: str) -> Capabilities:
        """Without loading it, and once: weights may have to be read for their digest.

        Raises what `registry.describe` raises.
        """
        with self._lock:
            known = self._described.get(name)
        if known is None:
            known = registry.describe(name, self.options)
            with self._lock:
                self._described[name] = known
        return known

    def summary(self, name: str) -> ModelSummary:
        """What a space can do and whether it is ready. Raises what `describe` raises."""
        capabilities = self.describe(name)
        if name in self.loaded():
            return ModelSummary(name=name, capabilities=capabilities, state="loaded")
        try:
            registry.check(name, self.options)
        except (MissingDependency, MissingWeights) as error:
            return ModelSummary(
                name=name, capabilities=capabilities, state="missing", missing=error.message
            )
        return ModelSummary(name=name, capabilities=capabilities, state="ready")

    def listed(self, name: str) -> ModelSummary:
        """As `summary`, for lists, which one space that cannot be described must not break."""
        try:
            return self.summary(name)
        except CrossbindError as error:
            return ModelSummary(
                name=name, capabilities=None, state="missing", missing=error.message
            )

    def loaded(self) -> dict[str, Batcher]:
        """Those in use now."""
        with self._lock:
            return dict(self._batchers)

    def close(self) -> None:
        """Finishes what waits in every batcher."""
        for batcher in self.loaded().values():
            batcher.close()
