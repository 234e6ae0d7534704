"""A collection into another space, item by item, from the originals: no vector is translated.

While a shadow fills, the collection serves as it is and takes writes. Then everything that was
written meanwhile is caught up with, and in one transaction the new vectors take the place of the
old ones (`replacement.py`). Broken off anywhere, it goes on where it was. The old space is never
loaded, so one that can no longer be loaded can be left.

Where an item's bytes lie is the caller's to know.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from embed.batcher import Batcher
from embed.errors import Conflict, CrossbindError, NotFound, UnsupportedModality
from embed.media.read import open_media
from embed.types import Item, Media, Modality
from index import rows
from index.batch.ingest import COMMIT_SECONDS, Progress
from index.batch.pieces import Pieces, cut, cut_media
from index.catalog import Catalog
from index.collection import Collection
from index.engines import drop_engines
from index.replacement import Pending
from index.search.recall import Recall, compare
from index.types import FATAL, Entry, Failure

COMMIT_ITEMS = 64
PASSES = 10  # to catch up with what is written meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationReport:
    """What became of a collection. All count items.

    switched: it is in the new space now. embedded: in this run. changed: their files hold
    something else than when they were indexed, and that is what was embedded. left: have no vector
    in the new space, by modality; failures: why, but for modalities that it does not read.
    """

    collection: str
    before: str
    after: str
    switched: bool
    items: int
    embedded: int
    changed: int
    left: Mapping[Modality, int]
    failures: Sequence[Failure]
    recall: Sequence[Recall]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return {
            "collection": self.collection,
            "before": self.before,
            "after": self.after,
            "switched": self.switched,
            "items": self.items,
            "embedded": self.embedded,
            "changed": self.changed,
            "left": {modality.value: count for modality, count in self.left.items()},
            "recall": [recall.to_json() for recall in self.recall],
            "seconds": round(self.seconds, 3),
            "failures": [
                {"uri": f.uri, "code": f.code, "message": f.message} for f in self.failures
            ],
        }


def migrate(
    catalog: Catalog,
    source: Collection,
    batcher: Batcher,
    locate: Callable[[Item], Path],
    *,
    workers: int = 2,
    drop: bool = False,
    keep: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> MigrationReport:
    """Brings `source` into the space of `batcher`.

    locate: where an item's bytes are; raises NotFound. drop: items that cannot be embedded are left
    behind; without it they keep the collection where it is. keep: the name of a collection to make
    of the old vectors. Raises UnsupportedModality when the space does not read all that is there
    and `drop` is not set; Conflict when it is in that space already, or never stands still;
    BadInput for a bad name; what the tower raises for want of weights.
    """
    _check(catalog, source, batcher, drop=drop, keep=keep)
    return _Migration(catalog, source, batcher, locate, workers, progress or _silent).run(
        drop=drop, keep=keep
    )


def _check(
    catalog: Catalog, source: Collection, batcher: Batcher, *, drop: bool, keep: str | None
) -> None:
    embedder, info = batcher.embedder, source.info
    if (embedder.space.id, embedder.chunker) == (info.space.id, info.chunker):
        raise Conflict(f"collection {info.name!r} is in space {info.space.id} already")
    if keep is not None:
        catalog.check_new_name(keep)
    if not drop:
        _refuse_unread(source, batcher)


def _refuse_unread(source: Collection, batcher: Batcher) -> None:
    embedder = batcher.embedder
    counts = source.counts()
    unread = {m.value: n for m, n in counts.items() if m not in embedder.modalities}
    if unread:
        told = ", ".join(f"{count} {modality}" for modality, count in sorted(unread.items()))
        raise UnsupportedModality(
            f"space {embedder.space.name!r} reads {', '.join(sorted(embedder.modalities))}, and "
            f"{source.name!r} also holds {told}: choose a space that reads them, or leave them "
            "behind with --drop",
            param="space",
        )


class _Read(NamedTuple):
    """An item on its way: its bytes' digest, and its pieces."""

    digest: str
    pieces: Pieces


@dataclass(slots=True, eq=False)
class _Migration:
    catalog: Catalog
    source: Collection
    batcher: Batcher
    locate: Callable[[Item], Path]
    workers: int
    progress: Callable[[Progress], None]
    # By item, the digest under which it was dealt with, though the shadow has not that.
    settled: dict[str, str] = field(default_factory=dict)
    left: dict[str, Modality] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    embedded: int = 0
    changed: set[str] = field(default_factory=set)
    entries: list[Entry] = field(default_factory=list)
    committed: float = 0.0
    shadow: Collection = field(init=False)

    def __post_init__(self) -> None:
        embedder = self.batcher.embedder
        info = self.catalog.shadow(self.source.info, space=embedder.space, chunker=embedder.chunker)
        self.shadow = Collection(self.catalog, info)

    def run(self, *, drop: bool, keep: str | None) -> MigrationReport:
        start = time.monotonic()
        replacement = self.catalog.replacement(self.source.info, self.shadow.info)
        recalls: list[Recall] = []
        switched = False
        for number in range(PASSES):
            self._fill([p for p in replacement.pending() if self.settled.get(p.key) != p.digest])
            if self.failures and not drop:
                break
            if self.left and not drop:  # what came meanwhile
                _refuse_unread(self.source, self.batcher)
            if number == 0:
                recalls = self._compare()
            held = self.catalog.contents(self.source.info).partitions()
            switched = replacement.switch(
                settled=self.settled,
                left=self.left,
                failures=[f for f in self.failures.values() if not f.uri.startswith("upload:")],
                keep=keep,
            )
            if switched:
                self.source.close()
                drop_engines(self.catalog.contents(self.source.info), held)
                break
        else:
            raise Conflict(
                f"collection {self.source.name!r} is written faster than it can be embedded: let "
                "what writes to it finish, then run this again; what is done stays"
            )
        return self._report(switched, recalls, time.monotonic() - start)

    def _compare(self) -> list[Recall]:
        """The shadow's engines are of no use after: its partitions are to be another's."""
        try:
            return compare(self.source, self.shadow)
        finally:
            self.shadow.close()
            drop_engines(self.catalog.contents(self.shadow.info))

    def _report(self, switched: bool, recalls: list[Recall], seconds: float) -> MigrationReport:
        counts = self.source.counts() if not switched else self._now().counts()
        return MigrationReport(
            collection=self.source.name,
            before=self.source.info.space.id,
            after=self.shadow.info.space.id,
            switched=switched,
            items=sum(counts.values()),
            embedded=self.embedded,
            changed=len(self.changed),
            left=dict(Counter(self.left.values())),
            failures=list(self.failures.values()),
            recall=recalls,
            seconds=seconds,
        )

    def _now(self) -> Collection:
        return Collection(self.catalog, self.catalog.collection(self.source.name))

    def _fill(self, pending: Sequence[Pending]) -> None:
        """Embeds what is not there yet. What fails is noted, and the rest goes on."""
        self.committed = time.monotonic()
        total = len(pending)
        try:
            for done, item in enumerate(self._embed(pending), start=1):
                self.progress(
                    Progress(
                        phase="indexing",
                        done=done,
                        total=total,
                        failed=len(self.failures),
                        current=item.title,
                        noun="item",
                    )
                )
                due = time.monotonic() - self.committed > COMMIT_SECONDS
                if due or len(self.entries) >= COMMIT_ITEMS:
                    self._commit()
        finally:
            self._commit()  # an interrupted run keeps what it has finished

    def _embed(self, pending: Sequence[Pending]) -> Iterator[Item]:
        """Yields each item once it is done with, in order."""
        window: deque[tuple[Item, Future[_Read]]] = deque()
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="decode")
        try:
            for key, digest in pending:
                try:
                    item = self.source.item(key)
                except NotFound:  # deleted meanwhile
                    continue
                self._forget(key)
                if item.modality not in self.batcher.embedder.modalities:
                    self._leave(item)
                    yield item
                    continue
                if item.digest == digest:  # else the next pass has it
                    window.append((item, pool.submit(self._read, item)))
                if len(window) >= 16 * self.workers:
                    yield self._finish(*window.popleft())
            while window:
                yield self._finish(*window.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, item: Item) -> _Read:
        """Reopens an original; words whose file is gone, or read otherwise, are in the catalog."""
        words = item.text if item.modality is Modality.TEXT else None
        try:
            path = self.locate(item)
            name = None if item.uri else item.title
            raw = open_media(path, accepts=frozenset({item.modality}), name=name)
            if words is None or raw.digest != item.digest:
                pieces = cut(raw, item.modality, self.shadow, self.batcher, block=True)
                return _Read(raw.digest, pieces)
            media = raw.decode(Modality.TEXT, image_side=self.batcher.embedder.image_side)
        except FATAL:
            raise
        except CrossbindError:
            if words is None:
                raise
            media = Media(Modality.TEXT, words)
        if media.data != words:
            media = Media(Modality.TEXT, words)
        pieces = cut_media(media, item.digest, self.shadow, self.batcher, block=True)
        return _Read(item.digest, pieces)

    def _finish(self, item: Item, future: Future[_Read]) -> Item:
        try:
            read = future.result()
            entry = Entry(
                id=item.id,
                modality=item.modality,
                digest=read.digest,
                text=read.pieces.text,
                fragments=read.pieces.fragments(),
            )
        except FATAL:
            raise
        except CrossbindError as error:
            uri = item.uri or f"upload:{quote(item.id)}"
            self._leave(item)
            self.failures[item.id] = Failure(uri=uri, code=error.code, message=error.message)
            return item
        self.entries.append(entry)
        if (read.digest, read.pieces.text) != (item.digest, item.text):
            self.settled[item.id] = item.digest
            self.changed.add(item.id)
        return item

    def _leave(self, item: Item) -> None:
        self.settled[item.id] = item.digest
        self.left[item.id] = item.modality

    def _forget(self, key: str) -> None:
        """What was said of an item before it changed."""
        self.settled.pop(key, None)
        self.left.pop(key, None)
        self.failures.pop(key, None)

    def _commit(self) -> None:
        if self.entries:
            entries, self.entries = self.entries, []
            try:
                self.shadow.write(entries)
            except NotFound:  # it goes with the collection that it belongs to
                raise rows.gone(self.source.info) from None
            self.embedded += len(entries)
        self.committed = time.monotonic()


def _silent(_: Progress) -> None:
    pass
