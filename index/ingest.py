"""Files to vectors: walk → read → decode → embed → upsert, as overlapping stages.

Threads read and decode, the batcher's threads embed, and the caller's thread writes whole
transactions in the order of the walk. What is committed is never done again: a run that was killed
is resumed by running it again. The stages are joined by a bounded window, so memory does not grow
with the library.

It knows no tower and no engine by name.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from embed.batcher import Batcher
from embed.errors import (
    CatalogError,
    Conflict,
    CrossbindError,
    MissingDependency,
    MissingWeights,
    NotFound,
    StorageFull,
)
from embed.media.read import open_media
from embed.media.source import shown
from embed.types import Modality
from index.collection import Collection
from index.pieces import Pieces, cut
from index.types import Entry, Failure, FileStamp, IngestReport
from index.walk import FoundFile, Walk, path_of

COMMIT_ROWS = 256
COMMIT_SECONDS = 2.0
# A file changed this close to the moment it was read may change again under the same mtime.
RACY_NS = 2_000_000_000
# These are not a file's fault, and the next file would meet them too.
FATAL = (MissingDependency, MissingWeights, StorageFull, CatalogError)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where an ingest stands, for people to watch. Counts are files."""

    phase: Literal["walking", "indexing", "done"]
    done: int
    total: int
    failed: int
    current: str | None = None


@dataclass(slots=True, eq=False)
class _Prepared:
    """A file on its way. Without `pieces` its content is indexed already, here or elsewhere."""

    file: FoundFile
    stamp: FileStamp
    title: str | None
    digest: str = ""
    modality: Modality | None = None
    pieces: Pieces | None = None
    moved_from: str | None = None

    def entry(self) -> Entry:
        """Waits for the vectors. Raises what the tower raised."""
        assert self.modality is not None
        assert self.pieces is not None
        return Entry(
            modality=self.modality,
            digest=self.digest,
            fragments=self.pieces.fragments(),
            uri=self.file.uri,
            title=self.title,
            text=self.pieces.text,
            stamp=self.stamp,
        )


def ingest(
    paths: Iterable[Path],
    collection: Collection,
    batcher: Batcher,
    *,
    workers: int = 2,
    prune: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> IngestReport:
    """Indexes files and folders into `collection`; unchanged files are not even opened.

    workers: threads that read and decode. prune: forget indexed files that are gone.
    A file that fails is recorded and reported, and the rest goes on. Raises NotFound for a path
    that does not exist, StorageFull when the disk is full (what was committed stays),
    MissingWeights and MissingDependency when the space cannot be loaded.
    """
    return _Ingest(collection, batcher, workers, progress or _silent).run(paths, prune=prune)


class _Ingest:
    def __init__(
        self,
        collection: Collection,
        batcher: Batcher,
        workers: int,
        progress: Callable[[Progress], None],
    ) -> None:
        self._collection = collection
        self._batcher = batcher
        self._workers = workers
        self._progress = progress
        self._states = collection.file_states()
        self._homes: dict[str, list[str]] = {}
        for uri, state in self._states.items():
            self._homes.setdefault(state.digest, []).append(uri)
        self._moving = threading.Lock()
        self._entries: list[Entry] = []
        self._failures: list[Failure] = []
        self._failed: list[Failure] = []
        self._restamped: dict[str, FileStamp] = {}
        self._failed_before = {failure.uri for failure in collection.failures()}
        self._fine: set[str] = set()  # of those, what is in order now
        self._committed = time.monotonic()
        self._ingested = self._unchanged = self._moved = 0

    def run(self, paths: Iterable[Path], *, prune: bool) -> IngestReport:
        start = time.monotonic()
        walk = Walk(paths)
        files = self._list(walk)
        for failure in walk.failures:
            self._fail(failure)
        todo = [file for file in files if not self._is_unchanged(file)]
        self._unchanged = len(files) - len(todo)
        try:
            for done, file in enumerate(self._index(todo), self._unchanged + 1):
                self._report("indexing", done, len(files), shown(file.path.name))
        finally:
            # An interrupted run keeps what it has finished; a full disk refuses here as well.
            self._commit()
        pruned = self._forget_gone(walk, prune=prune)
        self._report("done", len(files), len(files))
        return IngestReport(
            ingested=self._ingested,
            unchanged=self._unchanged,
            moved=self._moved,
            pruned=pruned,
            failed=len(self._failed),
            seconds=time.monotonic() - start,
            failures=self._failed,
        )

    def _list(self, walk: Walk) -> list[FoundFile]:
        files = []
        for file in walk:
            files.append(file)
            if len(files) % 1000 == 0:
                self._report("walking", 0, len(files))
        self._report("walking", 0, len(files))
        return files

    def _is_unchanged(self, file: FoundFile) -> bool:
        state = self._states.get(file.uri)
        if state is None or state.stamp is None:
            return False
        stamp = state.stamp
        same = (file.size, file.mtime_ns) == (stamp.size, stamp.mtime_ns)
        unchanged = same and file.mtime_ns < stamp.checked_ns - RACY_NS
        if unchanged:
            self._note_fine(file)
        return unchanged

    def _note_fine(self, file: FoundFile) -> None:
        if file.uri in self._failed_before:
            self._fine.add(file.uri)

    def _index(self, files: Sequence[FoundFile]) -> Iterator[FoundFile]:
        """Yields each file once it is done with, in order."""
        window: deque[tuple[FoundFile, Future[_Prepared]]] = deque()
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="decode")
        try:
            for file in files:
                window.append((file, pool.submit(self._prepare, file)))
                if len(window) >= 16 * self._workers:
                    yield self._finish(*window.popleft())
            while window:
                yield self._finish(*window.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _prepare(self, file: FoundFile) -> _Prepared:
        """Read, decode, and hand to the tower. Runs in a worker thread."""
        stamp = FileStamp(size=file.size, mtime_ns=file.mtime_ns, checked_ns=time.time_ns())
        state = self._states.get(file.uri)
        prepared = _Prepared(file, stamp, self._title(file, file.uri))
        raw = open_media(file.path, accepts=self._batcher.embedder.modalities)
        prepared.digest, prepared.modality = raw.digest, raw.modality
        if state is None:
            prepared.moved_from = self._left_home(raw.digest)
        known = prepared.moved_from is not None or (state and state.digest == raw.digest)
        if not known:
            prepared.pieces = cut(raw, self._collection, self._batcher, block=True)
        return prepared

    def _left_home(self, digest: str) -> str | None:
        """The URI of an indexed file with these bytes that is no longer there, claimed once."""
        with self._moving:
            for uri in self._homes.get(digest, []):
                path = path_of(uri)
                if path is not None and not os.path.lexists(path):
                    self._homes[digest].remove(uri)
                    return uri
        return None

    def _finish(self, file: FoundFile, future: Future[_Prepared]) -> FoundFile:
        try:
            prepared = future.result()
            if prepared.pieces is not None:
                self._entries.append(prepared.entry())
                self._ingested += 1
            elif prepared.moved_from is not None:
                self._move(file, prepared.moved_from, prepared)
            else:
                self._restamped[file.uri] = prepared.stamp
                self._unchanged += 1
                self._note_fine(file)
        except FATAL:
            raise
        except CrossbindError as error:
            self._fail(Failure(uri=file.uri, code=error.code, message=error.message))
        except Exception as error:
            log.exception("%s broke the ingest of one file", file.uri)
            message = f"{shown(file.path)}: {type(error).__name__}: {error}"
            self._fail(Failure(uri=file.uri, code="internal", message=message))
        due = time.monotonic() - self._committed > COMMIT_SECONDS
        if due or len(self._entries) + len(self._failures) >= COMMIT_ROWS:
            self._commit()
        return file

    def _move(self, file: FoundFile, home: str, prepared: _Prepared) -> None:
        try:
            title = self._title(file, home)
            self._collection.move(home, file.uri, title=title, stamp=prepared.stamp)
            self._moved += 1
        except (Conflict, NotFound):  # another ingest was faster: what it left is written over
            raw = open_media(file.path, accepts=self._batcher.embedder.modalities)
            prepared.pieces = cut(raw, self._collection, self._batcher, block=True)
            self._entries.append(prepared.entry())
            self._ingested += 1

    def _title(self, file: FoundFile, home: str) -> str | None:
        """Its name, unless a person gave the item that was at `home` another one."""
        own = shown(file.path.name)
        state, old = self._states.get(home), path_of(home)
        if state is None or old is None:
            return own
        try:
            title = self._collection.item(state.item).title
        except NotFound:
            return own
        return own if title == shown(old.name) else title

    def _fail(self, failure: Failure) -> None:
        self._failures.append(failure)
        self._failed.append(failure)

    def _commit(self) -> None:
        if self._entries or self._failures:
            entries, self._entries = self._entries, []
            failures, self._failures = self._failures, []
            self._collection.write(entries, failures=failures)
        if self._restamped:
            restamped, self._restamped = self._restamped, {}
            self._collection.restamp(restamped)
        self._committed = time.monotonic()

    def _forget_gone(self, walk: Walk, *, prune: bool) -> int:
        """Forgets failures of files that are gone or fine now; indexed files go when asked to."""
        forgive = [uri for uri in self._failed_before if uri in self._fine or walk.misses(uri)]
        if forgive:
            self._collection.write([], forgive=forgive)
        if not prune:
            return 0
        states = self._collection.file_states()
        gone = [state.item for uri, state in states.items() if walk.misses(uri)]
        return self._collection.delete(gone)

    def _report(
        self,
        phase: Literal["walking", "indexing", "done"],
        done: int,
        total: int,
        current: str | None = None,
    ) -> None:
        self._progress(
            Progress(phase=phase, done=done, total=total, failed=len(self._failed), current=current)
        )


def _silent(_: Progress) -> None:
    pass
