"""An engine that follows one partition of the catalog.

The engine remembers the seq up to which it was told; what was committed since, by this process or
another, is replayed. It knows neither engines by name nor what the vectors mean.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext

from embed.errors import CatalogError, InvalidVector
from embed.types import Floats
from index import payloads
from index.contents import Contents, PartitionState
from index.types import Ids, VectorIndex


class Follower:
    """vectors: an empty engine of the partition's dim, filled by `follow`."""

    def __init__(self, vectors: VectorIndex) -> None:
        self.vectors = vectors
        self._keeper = payloads.keeper(vectors)
        self._lock = threading.Lock()

    def follow(
        self, contents: Contents, state: PartitionState, probes: Callable[[], Floats]
    ) -> bool:
        """Takes in everything up to `state`, at least. Safe in several threads; one does the work.

        probes: queries like those to come, see `VectorIndex.commit`. False when the engine is so
        far behind that what went meanwhile is forgotten: then it can only begin anew, empty.

        Broken off half-way it starts again where it began, and taking a vector in twice is the same
        as once.
        """
        if self._is_told(state):
            return True
        with self._lock, self._keeper.turn() if self._keeper else nullcontext():
            if not self._follow_vectors(contents, state, probes):
                return False
            if self._keeper and not payloads.told_all(self._keeper, state):
                payloads.tell(self._keeper, contents, state)
        return True

    def _is_told(self, state: PartitionState) -> bool:
        keeper = self._keeper
        return self.vectors.seq >= state.seq and (
            keeper is None or payloads.told_all(keeper, state)
        )

    def _follow_vectors(
        self, contents: Contents, state: PartitionState, probes: Callable[[], Floats]
    ) -> bool:
        known = self.vectors.seq
        if known < state.seq:
            with contents.changes_since(state, known) as changes:
                if known < changes.forgotten and len(self.vectors):
                    return False
                for ids, vectors in changes.added:
                    self._take(ids, vectors)
                self.vectors.remove(changes.removed)
                self.vectors.commit(changes.seq, probes)
        return True

    def _take(self, ids: Ids, vectors: Floats) -> None:
        try:
            self.vectors.upsert(ids, vectors)
        except InvalidVector as error:  # nobody's input: what was stored was sound
            raise CatalogError(
                f"the catalog holds a damaged vector ({error.message}): crossbind repair mends it"
            ) from error
