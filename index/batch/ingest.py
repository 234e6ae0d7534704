"""Files to vectors: walk → read → decode → embed → upsert, as overlapping stages.

Threads read and decode, the batcher's threads embed, and the caller's thread writes whole
transactions in the order of the walk. What is committed is never done again: a run that was killed
is resumed by running it again. The stages are joined by a bounded window, so memory does not grow
with the library.

It knows no tower and no engine by name.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from embed.batcher import Batcher
from embed.errors import Conflict, CrossbindError, NotFound
from embed.media.source import shown
from embed.types import Modality
from index.batch.intake import Intake, Prepared
from index.batch.walk import FoundFile, Walk, path_of
from index.collection import Collection
from index.types import FATAL, Entry, Failure, FileStamp, IngestReport, part_uri

COMMIT_ROWS = 256
COMMIT_SECONDS = 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where an ingest stands, for people to watch.

    noun: what is counted. failures: all of this run, a list that grows.
    """

    phase: Literal["walking", "indexing", "done"]
    done: int
    total: int
    failed: int
    current: str | None = None
    noun: str = "file"
    failures: Sequence[Failure] = ()


def ingest(
    paths: Iterable[Path],
    collection: Collection,
    batcher: Batcher,
    *,
    workers: int = 2,
    prune: bool = False,
    unfinished: frozenset[str] = frozenset(),
    progress: Callable[[Progress], None] | None = None,
) -> IngestReport:
    """Indexes files and folders into `collection`; unchanged files are not even opened.

    workers: threads that read and decode. prune: forget indexed files that are gone. unfinished:
    uris of files that are still being written; they are left as they are indexed.
    A file that fails is recorded and reported, and the rest goes on. Raises NotFound for a path
    that does not exist, StorageFull when the disk is full (what was committed stays),
    MissingWeights and MissingDependency when the space cannot be loaded.
    """
    run = _Ingest(collection, batcher, workers, progress or _silent)
    return run.run(paths, prune=prune, unfinished=unfinished)


class _Ingest:
    def __init__(
        self,
        collection: Collection,
        batcher: Batcher,
        workers: int,
        progress: Callable[[Progress], None],
    ) -> None:
        self._collection = collection
        self._intake = Intake(collection, batcher)
        self._workers = workers
        self._progress = progress
        self._entries: list[Entry] = []
        self._failures: list[Failure] = []
        self._failed: list[Failure] = []
        self._stale: list[str] = []
        self._restamped: dict[str, FileStamp] = {}
        self._failed_before = {failure.uri for failure in collection.failures()}
        self._fine: set[str] = set()  # of those, what is in order now
        self._committed = time.monotonic()
        self._ingested = self._unchanged = self._moved = 0
        self._done = self._total = 0
        self._left_out: Counter[Modality] = Counter()

    def run(
        self, paths: Iterable[Path], *, prune: bool, unfinished: frozenset[str]
    ) -> IngestReport:
        start = time.monotonic()
        walk = Walk(paths)
        files = self._list(walk)
        self._intake.introduce(files)
        for failure in walk.failures:
            self._fail(failure)
        ready = [file for file in files if file.uri not in unfinished]
        todo = [file for file in ready if not self._is_unchanged(file)]
        self._unchanged = len(files) - len(todo)
        try:
            self._done, self._total = self._unchanged, len(files)
            for file in self._index(todo):
                self._done += 1
                self._report("indexing", self._done, self._total, shown(file.path.name))
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
            left_out=dict(sorted(self._left_out.items())),
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
        unchanged = self._intake.is_unchanged(file)
        if unchanged:
            self._note_fine(file)
        return unchanged

    def _note_fine(self, file: FoundFile) -> None:
        if file.uri in self._failed_before:
            self._fine.add(file.uri)

    def _index(self, files: Sequence[FoundFile]) -> Iterator[FoundFile]:
        """Yields each file once it is done with, in order."""
        window: deque[tuple[FoundFile, Future[Prepared]]] = deque()
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="decode")
        try:
            for file in files:
                window.append((file, pool.submit(self._intake.prepare, file)))
                if len(window) >= 16 * self._workers:
                    yield self._finish(*window.popleft())
            while window:
                yield self._finish(*window.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _finish(self, file: FoundFile, future: Future[Prepared]) -> FoundFile:
        # Named before it is waited for: a film may take minutes.
        self._report("indexing", self._done, self._total, shown(file.path.name))
        try:
            prepared = future.result()
            if prepared.parts:
                self._take(prepared)
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

    def _take(self, prepared: Prepared) -> None:
        entries, failures = prepared.results()
        uri = prepared.file.uri
        places = {uri, *(part_uri(uri, modality) for modality in Modality)}
        before = places & self._failed_before
        self._fine |= before - {failure.uri for failure in failures}
        self._entries += entries
        self._stale += prepared.stale
        self._left_out.update(prepared.left_out)
        self._ingested += bool(entries)
        for failure in failures:
            self._fail(failure)

    def _move(self, file: FoundFile, home: str, prepared: Prepared) -> None:
        old = path_of(home)
        assert old is not None
        renamed = (shown(old.name), shown(file.path.name))
        try:
            self._collection.move(home, file.uri, renamed=renamed, stamp=prepared.stamp)
            self._moved += 1
        except (Conflict, NotFound):  # another ingest was faster: what it left is written over
            self._intake.prepare_anew(prepared)
            self._take(prepared)

    def _fail(self, failure: Failure) -> None:
        self._failures.append(failure)
        self._failed.append(failure)

    def _commit(self) -> None:
        if self._entries or self._failures:
            entries, self._entries = self._entries, []
            failures, self._failures = self._failures, []
            stale, self._stale = self._stale, []
            self._collection.write(entries, failures=failures, remove=stale)
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
        gone = [state for uri, state in states.items() if walk.misses(uri)]
        self._collection.delete(item for state in gone for item in state.items.values())
        return len(gone)

    def _report(
        self,
        phase: Literal["walking", "indexing", "done"],
        done: int,
        total: int,
        current: str | None = None,
    ) -> None:
        self._progress(
            Progress(
                phase=phase,
                done=done,
                total=total,
                failed=len(self._failed),
                current=current,
                failures=self._failed,
            )
        )


def _silent(_: Progress) -> None:
    pass
