"""One write transaction: items put in, replaced and removed, with their vectors and failures.

Everything here runs inside a transaction that `catalog.py` opened. A vector that goes leaves a row
in `deletions`, an item in `removals`, until they are too many (`forgetting.py`); every item of
which something else is said now, and every partition and collection touched, take the transaction's
`seq`, so that readers follow.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import uuid4

from embed.errors import Conflict, NotFound, SpaceMismatch
from embed.types import Floats, Metadata, Modality
from index import rows
from index.failpoints import reach
from index.forgetting import forget
from index.types import (
    CollectionInfo,
    Entry,
    Failure,
    FileStamp,
    NewFragment,
    VectorKind,
    part_id,
    part_uri,
)


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def uris_of(file: str) -> list[str]:
    """Where the items of a file may be: its own uri, and those of what else it holds."""
    return [file, *(part_uri(file, modality) for modality in Modality)]


class _Known(NamedTuple):
    """An item that is there already: its row, public id and record."""

    row: int
    key: str
    record: int
    title: str | None


class Writing:
    """The writes of one transaction to one collection, in the order they are called."""

    def __init__(self, connection: sqlite3.Connection, info: CollectionInfo) -> None:
        self._connection = connection
        self._sql = connection.execute
        self._sql_many = connection.executemany
        self._info = info
        self._now = now()
        here = (info.id, info.space.id)
        if not self._sql(
            "SELECT 1 FROM collections WHERE (id, space_id) = (?, ?)", here
        ).fetchone():
            raise rows.gone(info)
        self._sql("UPDATE clock SET seq = seq + 1")
        self._seq = int(self._sql("SELECT seq FROM clock").fetchone()[0])

    def put(self, entry: Entry) -> str:
        """Adds or replaces one item. Returns its public id.

        Raises SpaceMismatch, InvalidVector, BadInput, Conflict.
        """
        rows.check_entry(entry, self._info)
        known = self._known(entry)
        key = known.key if known else entry.id or uuid4().hex
        if entry.record is not None or known is None:
            record = self._record(entry.record or key)
        else:
            record = known.record
        if known is None:
            item = self._insert(entry, key, record)
        else:
            item = known.row
            self._drop_fragments(item)
            if entry.id is None and known.title is not None:
                entry = replace(entry, title=known.title)
            self._update(entry, item, record)
            if record != known.record:
                self._leave_record(known.record)
        reach("item.written")
        self._add_fragments(item, entry)
        if entry.uri is not None:
            self.forgive(entry.uri)
        return key

    def remove(self, key: str) -> bool:
        """Whether there was an item of this public id.

        What else its file or upload holds goes with it, and so do their failures.
        """
        row = self._sql(
            "SELECT id, record, uri FROM items WHERE collection = ? AND key = ?",
            (self._info.id, key),
        ).fetchone()
        if row is None:
            return False
        self._remove(*row)
        parts = [self._lookup("key", part_id(key, modality)) for modality in Modality]
        if row[2] is not None:
            parts += [self._lookup("uri", uri) for uri in uris_of(row[2])]
        for part in filter(None, parts):
            self._remove(part.row, part.record, None)
        return True

    def _remove(self, item: int, record: int, uri: str | None) -> None:
        self._drop_fragments(item)
        self._sql(
            "INSERT INTO removals (collection, seq, item) VALUES (?, ?, ?)",
            (self._info.id, self._seq, item),
        )
        self._sql("DELETE FROM items WHERE id = ?", (item,))
        self._leave_record(record)
        if uri is not None:
            for one in uris_of(uri):
                self.forgive(one)

    def update(self, key: str, *, metadata: Metadata | None, title: str | None) -> None:
        """Replaces what is not None. Raises BadInput."""
        self._sql(
            "UPDATE items SET metadata = coalesce(?, metadata), title = coalesce(?, title),"
            " updated = ?, seq = ? WHERE collection = ? AND key = ?",
            (
                None if metadata is None else rows.metadata_to_text(metadata),
                rows.storable(title),
                self._now,
                self._seq,
                self._info.id,
                key,
            ),
        )

    def move(self, uri: str, to: str, *, renamed: tuple[str, str] | None, stamp: FileStamp) -> None:
        """A file has a new place; its items, vectors and all, go with it.

        renamed: titles that are the first become the second. Raises NotFound, and Conflict when
        another file is at `to`.
        """
        rows.check_uri(to)
        if uri != to and any(self._lookup("uri", one) for one in uris_of(to)):
            raise Conflict(f"another item is at {to!r} already: remove it first", param="uri")
        old, new = renamed or ("", "")
        moved = 0
        for before, after in zip(uris_of(uri), uris_of(to), strict=True):
            moved += self._sql(
                "UPDATE items SET uri = ?, size = ?, mtime_ns = ?, checked_ns = ?, updated = ?,"
                " seq = ?, title = CASE WHEN title = ? THEN ? ELSE title END"
                " WHERE collection = ? AND uri = ?",
                (
                    after,
                    *rows.stamp_to_columns(stamp),
                    self._now,
                    self._seq,
                    rows.storable(old),
                    rows.storable(new),
                    self._info.id,
                    before,
                ),
            ).rowcount
            self.forgive(before)
            self.forgive(after)
        if not moved:
            raise NotFound(f"collection {self._info.name!r} has no item at {uri!r}", param="uri")

    def restamp(self, stamps: Mapping[str, FileStamp]) -> None:
        """New stamps, by uri, of files whose content is the same."""
        self._sql_many(
            "UPDATE items SET size = ?, mtime_ns = ?, checked_ns = ?"
            " WHERE collection = ? AND uri = ?",
            [
                (*rows.stamp_to_columns(stamp), self._info.id, one)
                for uri, stamp in stamps.items()
                for one in uris_of(uri)
            ],
        )

    def fail(self, failure: Failure) -> None:
        """Remembers why a file is not there; the latest reason counts."""
        rows.check_uri(failure.uri)
        self._sql(
            "INSERT OR REPLACE INTO failures (collection, uri, code, message, at)"
            " VALUES (?, ?, ?, ?, ?)",
            (self._info.id, failure.uri, failure.code, rows.storable(failure.message), self._now),
        )

    def forgive(self, uri: str) -> None:
        self._sql("DELETE FROM failures WHERE collection = ? AND uri = ?", (self._info.id, uri))

    def finish(self) -> None:
        """Gives the partitions that changed their new seq, and the collection if items did."""
        self._sql(
            "UPDATE partitions SET seq = :seq WHERE collection = :collection AND ("
            " EXISTS (SELECT 1 FROM vectors WHERE partition = partitions.id AND seq = :seq)"
            " OR EXISTS (SELECT 1 FROM deletions WHERE partition = partitions.id AND seq = :seq))",
            {"seq": self._seq, "collection": self._info.id},
        )
        self._sql(
            "UPDATE collections SET seq = :seq WHERE id = :collection AND ("
            " EXISTS (SELECT 1 FROM items WHERE collection = :collection AND seq = :seq)"
            " OR EXISTS (SELECT 1 FROM removals WHERE collection = :collection AND seq = :seq))",
            {"seq": self._seq, "collection": self._info.id},
        )
        forget(self._connection, self._seq)

    def _known(self, entry: Entry) -> _Known | None:
        by_id = self._lookup("key", entry.id)
        by_uri = self._lookup("uri", entry.uri)
        if entry.id is None:
            return by_uri
        if by_uri is not None and by_uri != by_id:
            raise Conflict(
                f"uri {entry.uri!r} belongs to item {by_uri.key!r}, so {entry.id!r} cannot have "
                "it: remove that item, or write to it",
                param="uri",
            )
        return by_id

    def _lookup(self, column: str, value: str | None) -> _Known | None:
        if value is None:
            return None
        row = self._sql(
            f"SELECT id, key, record, title FROM items WHERE collection = ? AND {column} = ?",  # noqa: S608 - one of two literals
            (self._info.id, value),
        ).fetchone()
        return _Known(*row) if row else None

    def _record(self, key: str) -> int:
        owner = (self._info.id, key)
        self._sql("INSERT OR IGNORE INTO records (collection, key) VALUES (?, ?)", owner)
        found = self._sql("SELECT id FROM records WHERE collection = ? AND key = ?", owner)
        return int(found.fetchone()[0])

    def _leave_record(self, record: int) -> None:
        """An item has left it. Of the others `has` may be untrue now; without any it goes too."""
        self._sql("UPDATE items SET seq = ? WHERE record = ?", (self._seq, record))
        self._sql(
            "DELETE FROM records WHERE id = ?"
            " AND NOT EXISTS (SELECT 1 FROM items WHERE record = records.id)",
            (record,),
        )

    def _insert(self, entry: Entry, key: str, record: int) -> int:
        metadata = rows.metadata_to_text(entry.metadata or {})
        cursor = self._sql(
            "INSERT INTO items (collection, key, created, metadata, record, modality, origin,"
            " digest, uri, size, mtime_ns, checked_ns, updated, seq, title, text)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (self._info.id, key, self._now, metadata, *self._columns(entry, record)),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _update(self, entry: Entry, item: int, record: int) -> None:
        self._sql(
            "UPDATE items SET record = ?, modality = ?, origin = ?, digest = ?, uri = ?, size = ?,"
            " mtime_ns = ?, checked_ns = ?, updated = ?, seq = ?, title = ?, text = ? WHERE id = ?",
            (*self._columns(entry, record), item),
        )
        if entry.metadata is not None:
            metadata = rows.metadata_to_text(entry.metadata)
            self._sql("UPDATE items SET metadata = ? WHERE id = ?", (metadata, item))

    def _columns(self, entry: Entry, record: int) -> rows.Row:
        return (
            record,
            entry.modality.value,
            entry.origin.value,
            entry.digest,
            entry.uri,
            *rows.stamp_to_columns(entry.stamp),
            self._now,
            self._seq,
            rows.storable(entry.title),
            rows.storable(entry.text),
        )

    def _drop_fragments(self, item: int) -> None:
        self._sql(
            "INSERT INTO deletions (partition, seq, fragment)"
            " SELECT v.partition, ?, v.fragment FROM fragments f"
            " JOIN vectors v ON v.fragment = f.id WHERE f.item = ?",
            (self._seq, item),
        )
        self._sql("DELETE FROM fragments WHERE item = ?", (item,))

    def _add_fragments(self, item: int, entry: Entry) -> None:
        for fragment in entry.fragments:
            cursor = self._sql(
                "INSERT INTO fragments (item, span) VALUES (?, ?)",
                (item, rows.span_to_text(fragment.span)),
            )
            assert cursor.lastrowid is not None
            self._add_vectors(cursor.lastrowid, entry.modality, fragment)

    def _add_vectors(self, fragment: int, modality: Modality, vectors: NewFragment) -> None:
        kinds: Iterable[tuple[VectorKind, Floats | None]] = (
            (VectorKind.JOINT, vectors.joint),
            (VectorKind.NATIVE, vectors.native),
        )
        self._sql_many(
            "INSERT INTO vectors (fragment, partition, seq, vector) VALUES (?, ?, ?, ?)",
            [
                (
                    fragment,
                    self._partition(modality, kind, len(vector)),
                    self._seq,
                    rows.vector_to_blob(vector, self._info.storage),
                )
                for kind, vector in kinds
                if vector is not None
            ],
        )

    def _partition(self, modality: Modality, kind: VectorKind, dim: int) -> int:
        owner = (self._info.id, modality.value, kind.value)
        row = self._sql(
            "SELECT id, dim FROM partitions WHERE collection = ? AND modality = ? AND kind = ?",
            owner,
        ).fetchone()
        if row is None:
            cursor = self._sql(
                "INSERT INTO partitions (collection, modality, kind, dim, seq)"
                " VALUES (?, ?, ?, ?, ?)",
                (*owner, dim, self._seq),
            )
            assert cursor.lastrowid is not None
            return cursor.lastrowid
        if row[1] != dim:
            raise SpaceMismatch(
                f"a {kind.value} {modality.value} vector of {dim} numbers among those of {row[1]} "
                f"in collection {self._info.name!r}: use a collection of its own"
            )
        return int(row[0])
