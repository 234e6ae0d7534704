"""The embedders of this process, each loaded once, on first use, behind a batcher of its own."""

from __future__ import annotations

import threading
from typing import Literal

from api.config import Settings
from api.requests import ModelSummary
from embed import registry
from embed.batcher import Batcher
from embed.errors import CrossbindError, MissingDependency, MissingWeights, SpaceMismatch
from embed.registry import Capabilities
from embed.types import Space
from index.types import CollectionInfo


class Towers:
    """Batchers by space name. Safe from many threads; a slow load holds up only its own space."""

    def __init__(self, settings: Settings) -> None:
        self.options = registry.LoadOptions(
            cache=settings.cache, threads=settings.threads, offline=settings.offline
        )
        self._loading: dict[str, threading.Lock] = {}
        self._batchers: dict[str, Batcher] = {}
        self._retired: list[Batcher] = []
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

    def of(self, info: CollectionInfo) -> Batcher:
        """The batcher whose vectors may meet those of a collection. Raises SpaceMismatch."""
        space = info.space
        batcher = self.get(space.name)
        if batcher.embedder.space.id != space.id and self._is_now(space):
            batcher = self._renew(space.name, batcher)
        current = batcher.embedder.space
        if current.id != space.id:
            raise SpaceMismatch(
                f"collection {info.name!r} holds vectors of {space.id}, and {space.name!r} here is "
                f"{current.id}: bring it over with crossbind collections migrate {info.name} "
                f"--space {space.name}, or install the version that made it"
            )
        return batcher

    def _is_now(self, space: Space) -> bool:
        """Whether a folder that was loaded has been written anew since, into this space."""
        return registry.describe(space.name, self.options).space.id == space.id

    def _renew(self, name: str, before: Batcher) -> Batcher:
        """Loads a space again. What still uses the one before may finish with it."""
        with self._lock:
            if self._batchers.get(name) is before:
                self._retired.append(self._batchers.pop(name))
                self._described.pop(name, None)
        return self.get(name)

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
        state: Literal["unfetched", "ready"] = "unfetched" if capabilities.fetches else "ready"
        return ModelSummary(name=name, capabilities=capabilities, state=state)

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
        for batcher in [*self.loaded().values(), *self._retired]:
            batcher.close()
