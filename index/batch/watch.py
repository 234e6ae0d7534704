"""Folders that keep themselves indexed: looked at again and again, and taken in when they change.

Looking is a walk over names, sizes and times; no file is opened. A file that changed since the last
look may still be being written and waits until two looks agree. Files that are gone are forgotten,
but when everything is gone at once, which is how a disk looks that is not mounted, all stays.

It knows no tower and no catalog: those who ingest do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from embed.errors import CrossbindError
from index.batch.remote import Stamp
from index.batch.walk import Walk
from index.types import IngestReport

Looked = Mapping[str, Stamp]


class Ingest(Protocol):
    """Takes in what is there. unfinished: uris of files to leave as they are indexed."""

    def __call__(self, *, prune: bool, unfinished: frozenset[str]) -> IngestReport: ...


def watch(
    paths: Sequence[Path],
    ingest: Ingest,
    *,
    every: float,
    stop: threading.Event,
    tell: Callable[[IngestReport | CrossbindError], None],
) -> None:
    """Until `stop` is set. every: seconds between two looks. tell: what came of each change.

    What goes wrong is told, and tried again at the next look; but what goes wrong at the first is
    raised, for then something was meant otherwise.
    """
    watching = _Watching(paths, ingest)
    tell(watching.look(prune=False))
    while not stop.wait(every):
        try:
            if watching.changed():
                tell(watching.look(prune=True))
        except CrossbindError as error:
            tell(error)


class _Watching:
    def __init__(self, paths: Sequence[Path], ingest: Ingest) -> None:
        self._paths = paths
        self._ingest = ingest
        self._now: Looked = _looked(paths)
        self._unfinished: frozenset[str] = frozenset()
        self._taken: dict[str, Stamp] = {}

    def changed(self) -> bool:
        """Looks, and tells whether something is there to be done."""
        before, self._now = self._now, _looked(self._paths)
        self._unfinished = frozenset(
            uri for uri, stamp in self._now.items() if before.get(uri) != stamp
        )
        ready = self._now.keys() - self._unfinished
        gone = self._now and self._taken.keys() - self._now.keys()
        return bool(gone) or any(self._taken.get(uri) != self._now[uri] for uri in ready)

    def look(self, *, prune: bool) -> IngestReport:
        """Takes in what was seen."""
        now, unfinished = self._now, self._unfinished
        report = self._ingest(prune=prune and bool(now), unfinished=unfinished)
        ready = {uri: stamp for uri, stamp in now.items() if uri not in unfinished}
        waiting = {uri: self._taken[uri] for uri in unfinished & self._taken.keys()}
        self._taken = ready | waiting
        return report


def _looked(paths: Sequence[Path]) -> Looked:
    return {file.uri: (file.size, file.mtime_ns) for file in Walk(paths)}
