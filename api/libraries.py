"""Collections as `rag` sees them, each put together once, and anew when a part of it has changed.

What journeys learn of a library (fits, supposed vectors, words met) is kept as long as it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from api.blobs import Blobs
from api.glimpses import glimpses
from api.once import Once
from api.towers import Towers
from embed.calibration import Calibrations
from index.collection import Collection
from rag.complete import Completer
from rag.library import Library
from rag.rerank import Reranker


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A library, and what belongs to it alone. completer: one that makes nothing."""

    library: Library
    completer: Completer
    rerankers: Once[Reranker] = field(default_factory=Once)


class Libraries:
    """Those of this process. Safe to use from several threads."""

    def __init__(self, towers: Towers, calibrations: Calibrations, blobs: Blobs) -> None:
        self._towers = towers
        self._calibrations = calibrations
        self._media_of = glimpses(blobs)
        self._opened: dict[int, Opened] = {}
        self._lock = threading.Lock()

    def of(self, collection: Collection) -> Opened:
        """Raises SpaceMismatch, MissingWeights, MissingDependency."""
        batcher = self._towers.of(collection.info)
        calibration = self._calibrations.of(collection.info.space)
        library = Library(collection, batcher, calibration, self._media_of)
        with self._lock:
            known = self._opened.get(collection.info.id)
            if known is None or not _same(known.library, library):
                known = self._opened[collection.info.id] = Opened(library, Completer(library))
            return known


def _same(one: Library, other: Library) -> bool:
    return (
        one.collection is other.collection
        and one.batcher is other.batcher
        and one.calibration == other.calibration
    )
