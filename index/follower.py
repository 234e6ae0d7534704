"""An engine that follows one partition of the catalog.

It remembers the seq up to which it has read, and replays what was committed since, by this process
or another. It knows neither engines by name nor what the vectors mean.
"""

from __future__ import annotations

import threading

from index.contents import Contents, PartitionState
from index.types import VectorIndex


class Follower:
    """vectors: an empty engine of the partition's dim, filled by `follow`."""

    def __init__(self, vectors: VectorIndex) -> None:
        self.vectors = vectors
        self._seq = 0
        self._lock = threading.Lock()

    def follow(self, contents: Contents, state: PartitionState) -> None:
        """Takes in everything up to `state`, at least. Safe in several threads; one does the work.

        Broken off half-way it starts again where it began, and taking a vector in twice is the same
        as once.
        """
        if self._seq >= state.seq:
            return
        with self._lock:
            if self._seq >= state.seq:
                return
            with contents.changes_since(state, self._seq) as changes:
                for ids, vectors in changes.added:
                    self.vectors.upsert(ids, vectors)
                self.vectors.remove(changes.removed)
                self._seq = changes.seq
