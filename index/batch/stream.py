"""Sources to vectors: members as they come, read and embedded by others, written here.

A run that was broken off is resumed by running it again: members whose file has not changed since
are passed over unread, others are read and, when their content is what is indexed, not embedded.
Only a window of members is in memory. It knows no format of sources, and not where the work is
done: on threads of this process (`Threads`), or on machines (`distributed.py`).
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import Literal, Protocol

from embed.batcher import Batcher
from embed.types import Modality
from index.batch.committer import Committer
from index.batch.ingest import Progress
from index.batch.intake import RACY_NS
from index.batch.locations import name_of
from index.batch.members import Member, Source
from index.batch.reading import Begun, Outcome, begin, finish
from index.collection import Collection
from index.types import Failure, FileState, IngestReport

CHUNK = 256
"""Members that are looked up in the catalog at once."""


class Work(Protocol):
    """Reads and embeds members; outcomes in any order, at least one for each.

    It takes no more members than it has in hand.
    """

    def __call__(self, members: Iterator[Member]) -> Generator[Outcome]: ...


class Threads:
    """`Work` on threads of this process, whose vectors made before are used again."""

    def __init__(self, collection: Collection, batcher: Batcher, workers: int) -> None:
        self._collection = collection
        self._batcher = batcher
        self._workers = workers

    def __call__(self, members: Iterator[Member]) -> Generator[Outcome]:
        window: deque[Future[Begun]] = deque()
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="decode")
        try:
            for member in members:
                window.append(pool.submit(begin, member, self._collection, self._batcher))
                if len(window) >= 4 * self._workers:
                    yield finish(window.popleft().result())
            while window:
                yield finish(window.popleft().result())
        finally:
            pool.shutdown(cancel_futures=True)


def ingest_sources(
    sources: Sequence[Source],
    collection: Collection,
    work: Work,
    *,
    progress: Callable[[Progress], None] | None = None,
) -> IngestReport:
    """Indexes all that `sources` give. A member that fails is recorded and reported, and the rest
    goes on. Raises NotFound for a source that is not there, StorageFull (what was committed stays),
    and what `work` and a source raise for want of a package or weights.
    """
    return _Stream(sources, collection, work, progress or (lambda _: None)).run()


class _Stream:
    def __init__(
        self,
        sources: Sequence[Source],
        collection: Collection,
        work: Work,
        progress: Callable[[Progress], None],
    ) -> None:
        self._sources = sources
        self._collection = collection
        self._committer = Committer(collection)
        self._work = work
        self._progress = progress
        self._given = self._unchanged = self._answered = 0
        self._through = 0

    def run(self) -> IngestReport:
        start = time.monotonic()
        try:
            with closing(self._work(self._to_do())) as outcomes:
                for outcome in outcomes:
                    self._committer.take(outcome)
                    self._answered += 1
                    self._report("indexing", outcome.uri)
        finally:
            # An interrupted run keeps what it has finished; a full disk refuses here as well.
            self._committer.flush()
        self._report("done")
        told = self._committer
        return IngestReport(
            ingested=told.ingested,
            unchanged=told.unchanged + self._unchanged,
            moved=0,
            pruned=0,
            failed=len(told.failures),
            seconds=time.monotonic() - start,
            failures=told.failures,
            left_out=dict(sorted(told.left_out.items())),
        )

    def _to_do(self) -> Iterator[Member]:
        """Members that are new or may have changed."""
        for through, source in enumerate(self._sources):
            self._through, broken = through, False
            given = iter(source)
            while chunk := list(islice(given, CHUNK)):
                broken |= any(isinstance(one, Failure) and one.uri == source.uri for one in chunk)
                yield from self._new_of(chunk)
            if not broken:
                self._committer.fine(source.uri)

    def _new_of(self, chunk: Iterable[Member | Failure]) -> Iterator[Member]:
        members = [one for one in chunk if isinstance(one, Member)]
        for one in chunk:
            if isinstance(one, Failure):
                self._committer.fail(one)
        states = self._collection.states_at(member.uri for member in members)
        self._given += len(members)
        for member in members:
            state = states.get(member.uri)
            if state is None:
                yield member
            elif not _is_unchanged(member, state):
                yield replace(member, known=state.digest)
            else:
                self._unchanged += 1
                self._committer.fine(member.uri)
                if self._unchanged % CHUNK == 0:
                    self._report("indexing")

    def _report(self, phase: Literal["indexing", "done"], uri: str | None = None) -> None:
        done = self._answered + self._unchanged
        total = done if phase == "done" else max(done, self._expected())
        self._progress(
            Progress(
                phase=phase,
                done=done,
                total=total,
                failed=len(self._committer.failures),
                current=uri and name_of(uri),
                noun="item",
                failures=self._committer.failures,
            )
        )

    def _expected(self) -> int:
        """Members in all, as far as what was given out tells."""
        share = self._sources[self._through].share if self._sources else None
        if share is None:
            return self._given
        through = (self._through + share) / len(self._sources)
        return round(self._given / through) if through else self._given


def _is_unchanged(member: Member, state: FileState) -> bool:
    """As far as the size and time of the file tell that it lies in."""
    if member.stamp is None or state.stamp is None:
        return False
    same = member.stamp == (state.stamp.size, state.stamp.mtime_ns)
    return same and state.stamp.mtime_ns < state.stamp.checked_ns - RACY_NS


def together(reports: Sequence[IngestReport]) -> IngestReport:
    """Several runs, one after the other, as one."""
    left_out: Counter[Modality] = Counter()
    for report in reports:
        left_out.update(report.left_out)
    return IngestReport(
        ingested=sum(report.ingested for report in reports),
        unchanged=sum(report.unchanged for report in reports),
        moved=sum(report.moved for report in reports),
        pruned=sum(report.pruned for report in reports),
        failed=sum(report.failed for report in reports),
        seconds=sum(report.seconds for report in reports),
        failures=[failure for report in reports for failure in report.failures],
        left_out=dict(sorted(left_out.items())),
    )
