"""The one who writes: outcomes in any order, from anywhere, some of them twice, to a collection.

What counts is (collection, uri, content digest): an outcome that the catalog holds already changes
nothing, so workers may answer at least once and a run may be broken off anywhere.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from embed.types import Modality
from index.batch.ingest import COMMIT_ROWS, COMMIT_SECONDS
from index.batch.reading import Outcome
from index.collection import Collection
from index.types import Entry, Failure, FileStamp, FileState


class Committer:
    """Writes into `collection`, whole transactions now and then. One thread takes and flushes;
    another may tell what failed and what is fine."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._waiting: dict[str, Outcome] = {}
        self._failures: list[Failure] = []
        self._fine: set[str] = set()
        self._failed_before = {failure.uri for failure in collection.failures()}
        self._committed = time.monotonic()
        self._lock = threading.Lock()
        self.failures: list[Failure] = []
        self.ingested = self.unchanged = 0
        self.left_out: Counter[Modality] = Counter()

    def take(self, outcome: Outcome) -> None:
        """What was taken is on disk soon, and after `flush`. Raises StorageFull."""
        self._waiting[outcome.uri] = outcome
        due = time.monotonic() - self._committed > COMMIT_SECONDS
        if due or len(self._waiting) + len(self._failures) >= COMMIT_ROWS:
            self.flush()

    def fail(self, failure: Failure) -> None:
        """Of a source, or of what could not be read from it."""
        with self._lock:
            self.failures.append(failure)
            self._failures.append(failure)

    def fine(self, uri: str) -> None:
        """What failed before and is in order now."""
        if uri in self._failed_before:
            with self._lock:
                self._fine.add(uri)

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, {}
        states = self._collection.states_at(waiting)
        entries: list[Entry] = []
        stale: list[str] = []
        stamps: dict[str, FileStamp] = {}
        for uri, outcome in waiting.items():
            state = states.get(uri)
            for failure in outcome.failures:
                self.fail(failure)
            if outcome.digest is None:
                continue
            self.left_out.update(outcome.left_out)
            if state is not None and state.digest == outcome.digest:
                self._note_same(outcome, stamps)
            elif outcome.entries:
                entries += _fitting(outcome.entries, state)
                stale += _stale(outcome, state)
                self.ingested += 1
        self._write(entries, stale, stamps)

    def _note_same(self, outcome: Outcome, stamps: dict[str, FileStamp]) -> None:
        self.unchanged += 1
        self.fine(outcome.uri)
        if outcome.stamp is not None:
            stamps[outcome.uri] = outcome.stamp

    def _write(
        self, entries: list[Entry], stale: Iterable[str], stamps: dict[str, FileStamp]
    ) -> None:
        with self._lock:
            failures, self._failures = self._failures, []
            forgive = self._fine - {failure.uri for failure in self.failures}
            self._fine = set()
        if entries or failures or forgive:
            self._collection.write(entries, failures=failures, remove=stale, forgive=forgive)
        if stamps:
            self._collection.restamp(stamps)
        self._committed = time.monotonic()


def _fitting(entries: list[Entry], state: FileState | None) -> list[Entry]:
    """What people said of an item stays, unless its source says something of it."""
    if state is None:
        return entries
    return [
        replace(entry, record=None, metadata=entry.metadata or None)
        if entry.modality in state.items
        else replace(entry, record=state.record)
        for entry in entries
    ]


def _stale(outcome: Outcome, state: FileState | None) -> list[str]:
    """Items that a member gave before, of kinds that it holds no more."""
    known = state.items if state else {}
    return [item for modality, item in known.items() if modality not in outcome.kept]
