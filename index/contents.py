"""What one collection holds, in SQL: items, failures, and vectors by partition.

It knows no engine and computes no similarity; engines are caches that follow `changes_since`.
Together with `writing.py` and `catalog.py` this is the only place that speaks SQL about tables.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from embed.errors import BadInput, NotFound
from embed.types import Floats, Fragment, Item, Modality
from index import rows
from index.database import Database
from index.keys import NO_KEYS, Keys
from index.types import (
    CollectionInfo,
    Failure,
    FileState,
    Ids,
    NewFragment,
    Partition,
    Place,
    Storage,
    VectorKind,
)
from index.writing import Writing, uris_of

_PARAMETERS = 500  # bound per statement; SQLite's own limit was once 999
_CHUNK = 4096  # vectors held at a time while an engine loads
_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionState:
    """A partition as it stands. seq: of its last change.

    items: of the last change of what is said about any item of the collection.
    """

    id: int
    partition: Partition
    dim: int
    seq: int
    items: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """What happened to a partition: first take `added`, in chunks `(N,)`, `(N, dim)`.

    removed: `(M,)` ids that are gone; seq: what the reader knows once it has taken all this in.
    forgotten: what went up to then is told no more, so who knows less must hold nothing.
    """

    seq: int
    added: Iterator[tuple[Ids, Floats]]
    removed: Ids
    forgotten: int


class Contents:
    """One collection of `database`. Safe to use from several threads."""

    def __init__(self, database: Database, info: CollectionInfo, keys: Keys = NO_KEYS) -> None:
        self.info = info
        self._database = database
        self._keys = keys

    @contextmanager
    def writing(self) -> Iterator[Writing]:
        """One transaction: all of it is on disk when the block ends, or none of it ever.

        Raises NotFound when the collection is gone, StorageFull.
        """
        with self._database.writing() as connection:
            writing = Writing(connection, self.info)
            yield writing
            writing.finish()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One unchanging view, for those beside this file that read what it does not."""
        with self._database.reading() as connection:
            yield connection

    @contextmanager
    def noting(self) -> Iterator[sqlite3.Connection]:
        """One transaction, for those beside this file that write what is no item.

        Raises StorageFull, Forbidden.
        """
        with self._database.writing() as connection:
            yield connection

    @property
    def read_only(self) -> bool:
        return self._database.read_only

    def partitions(self) -> list[PartitionState]:
        """Those that ever held a vector. One small read, fit to come before every search.

        Raises NotFound when the collection is gone.
        """
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT p.id, p.modality, p.kind, p.dim, p.seq, c.seq FROM collections c"
                " LEFT JOIN partitions p ON p.collection = c.id"
                " WHERE c.id = ? AND c.space_id = ? ORDER BY p.id",
                (self.info.id, self.info.space.id),
            ).fetchall()
        if not found:
            raise rows.gone(self.info)
        return [
            PartitionState(
                id=number,
                partition=Partition(Modality(modality), VectorKind(kind)),
                dim=dim,
                seq=seq,
                items=items,
            )
            for number, modality, kind, dim, seq, items in found
            if number is not None
        ]

    @contextmanager
    def changes_since(self, partition: PartitionState, seq: int) -> Iterator[Changes]:
        """What changed in a partition after `seq` (0: all of it), as one consistent view."""
        with self._database.reading() as connection:
            after = (partition.id, seq)
            row = connection.execute(
                "SELECT seq, forgotten FROM partitions WHERE id = ?", (partition.id,)
            ).fetchone()
            # From the start too: a first reading that broke off may have left some of them behind.
            removed = connection.execute(
                "SELECT fragment FROM deletions WHERE partition = ? AND seq > ?", after
            ).fetchall()
            added = connection.execute(
                "SELECT fragment, vector FROM vectors WHERE partition = ? AND seq > ?"
                " ORDER BY seq, fragment",
                after,
            )
            yield Changes(
                seq=row[0] if row else seq,
                added=_chunks(added, partition.dim, self.info.storage),
                removed=np.array(removed, dtype=np.int64).reshape(-1),
                forgotten=row[1] if row else 0,
            )

    def place(self, partition: PartitionState) -> Place | None:
        """Where an engine of this partition may keep files; None where nothing may be written."""
        if self._database.read_only:
            return None
        with self._database.reading() as connection:
            (epoch,) = connection.execute("SELECT epoch FROM meta").fetchone()
        folder = self._database.path.parent / "indexes" / f"{self.info.id}-{partition.id}"
        return Place(folder, epoch, self._keys)

    def probes(self, partition: PartitionState, count: int) -> Floats:
        """`(P, dim)`, P <= count: vectors of other modalities in the space of this partition, which
        is how most queries come; its own where there are no others."""
        with self._database.reading() as connection:
            others = connection.execute(
                "SELECT id FROM partitions WHERE collection = ? AND (id = ? OR (kind = ? AND"
                " kind = 'joint')) ORDER BY id = ?, modality != 'text', id",
                (
                    self.info.id,
                    partition.id,
                    partition.partition.kind.value,
                    partition.id,
                ),
            ).fetchall()
            for (other,) in others:
                found = connection.execute(
                    "SELECT vector FROM vectors WHERE partition = ? ORDER BY fragment LIMIT ?",
                    (other, count),
                ).fetchall()
                if found:
                    break
            else:
                found = []
        return rows.vectors_from_blobs(
            [blob for (blob,) in found], partition.dim, self.info.storage
        )

    def owners(self, fragments: Iterable[int]) -> dict[int, str]:
        """The public item id of each fragment; those that are gone are left out."""
        found = self._by_fragment("f.id, i.key", fragments)
        return dict(found)

    def hydrate(self, fragments: Iterable[int]) -> dict[int, Fragment]:
        """Fragments with their items, by id; those that are gone are left out."""
        found = self._by_fragment(f"f.id, f.span, {rows.ITEM_COLUMNS}", fragments)
        return {row[0]: rows.fragment_from_row(row) for row in found}

    def items_of(self, numbers: Sequence[int]) -> list[Item]:
        """By the catalog's own ids, in their order; those that are gone are left out."""
        found: dict[int, Item] = {}
        with self._database.reading() as connection:
            for start in range(0, len(numbers), _PARAMETERS):
                some = numbers[start : start + _PARAMETERS]
                marks = ", ".join("?" * len(some))
                for row in connection.execute(
                    f"SELECT i.id, {rows.ITEM_COLUMNS} FROM items i"  # noqa: S608 - our own columns
                    f" JOIN records r ON r.id = i.record WHERE i.id IN ({marks})",
                    some,
                ):
                    found[row[0]] = rows.item_from_row(row[1:])
        return [found[number] for number in numbers if number in found]

    def item(self, key: str) -> Item:
        """Raises NotFound."""
        with self._database.reading() as connection:
            row = connection.execute(
                f"SELECT {rows.ITEM_COLUMNS} FROM items i JOIN records r ON r.id = i.record"  # noqa: S608 - our own columns
                " WHERE i.collection = ? AND i.key = ?",
                (self.info.id, key),
            ).fetchone()
        if row is None:
            raise NotFound(f"collection {self.info.name!r} has no item {key!r}", param="id")
        return rows.item_from_row(row)

    def items(
        self,
        *,
        limit: int,
        cursor: str | None,
        modality: Modality | None,
        record: str | None,
    ) -> tuple[list[Item], str | None]:
        """A page of items, oldest first, and the cursor of the next one; None at the end.

        Of long texts only the beginning (`rows.PAGE_TEXT` characters). Raises BadInput for a limit
        outside 1 to 1,000, or a cursor that is none of ours.
        """
        if not 1 <= limit <= _PAGE:
            raise BadInput(f"limit is {limit}; it must be 1 to {_PAGE}", param="limit")
        where = "i.collection = ? AND i.id > ?"
        values: list[int | str] = [self.info.id, rows.row_of_cursor(cursor)]
        if modality is not None:
            where += " AND i.modality = ?"
            values.append(modality.value)
        if record is not None:
            where += " AND i.record = (SELECT id FROM records WHERE collection = ? AND key = ?)"
            values += [self.info.id, record]
        with self._database.reading() as connection:
            found = connection.execute(
                f"SELECT i.id, {rows.PAGE_COLUMNS} FROM items i"  # noqa: S608 - our own columns
                f" JOIN records r ON r.id = i.record WHERE {where} ORDER BY i.id LIMIT ?",
                [*values, limit + 1],
            ).fetchall()
        page = [rows.item_from_row(row[1:]) for row in found[:limit]]
        return page, rows.cursor_after(found[limit - 1][0]) if len(found) > limit else None

    def vectors_of(self, key: str, kind: VectorKind) -> Floats:
        """`(F, dim)`, in the order of the item's fragments; F is 0 when it has none of this kind.

        Raises NotFound.
        """
        self.item(key)
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT v.vector, p.dim FROM items i JOIN fragments f ON f.item = i.id"
                " JOIN vectors v ON v.fragment = f.id JOIN partitions p ON p.id = v.partition"
                " WHERE i.collection = ? AND i.key = ? AND p.kind = ? ORDER BY f.id",
                (self.info.id, key, VectorKind(kind).value),
            ).fetchall()
        dim = found[0][1] if found else 0
        return rows.vectors_from_blobs([blob for blob, _ in found], dim, self.info.storage)

    def counts(self) -> dict[Modality, int]:
        """Items by modality."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT modality, count(*) FROM items WHERE collection = ? GROUP BY modality",
                (self.info.id,),
            ).fetchall()
        return {Modality(modality): count for modality, count in found}

    def failures(self) -> list[Failure]:
        """By uri."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT uri, code, message FROM failures WHERE collection = ? ORDER BY uri",
                (self.info.id,),
            ).fetchall()
        return [Failure(uri=uri, code=code, message=message) for uri, code, message in found]

    def file_states(self) -> dict[str, FileState]:
        """What is known of every file, by its uri."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT i.uri, i.key, r.key, i.modality, i.digest, i.size, i.mtime_ns, i.checked_ns"
                " FROM items i JOIN records r ON r.id = i.record"
                " WHERE i.collection = ? AND i.uri IS NOT NULL",
                (self.info.id,),
            )
            return rows.file_states_from_rows(found)

    def states_at(self, files: Iterable[str]) -> dict[str, FileState]:
        """As `file_states`, of the files at these uris only."""
        wanted = [one for uri in files for one in uris_of(uri)]
        found: list[rows.Row] = []
        with self._database.reading() as connection:
            for start in range(0, len(wanted), _PARAMETERS):
                some = wanted[start : start + _PARAMETERS]
                marks = ", ".join("?" * len(some))
                found += connection.execute(
                    "SELECT i.uri, i.key, r.key, i.modality, i.digest, i.size, i.mtime_ns,"  # noqa: S608 - marks only
                    " i.checked_ns FROM items i JOIN records r ON r.id = i.record"
                    f" WHERE i.collection = ? AND i.uri IN ({marks})",
                    [self.info.id, *some],
                )
        return rows.file_states_from_rows(found)

    def upload_digests(self) -> list[str]:
        """Digests of items that have no file of their own."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT DISTINCT digest FROM items WHERE collection = ? AND uri IS NULL",
                (self.info.id,),
            ).fetchall()
        return [digest for (digest,) in found]

    def known_fragments(
        self, digest: str, modality: Modality, text: str | None = None
    ) -> list[NewFragment] | None:
        """The same content, cut and embedded before by the same means, in any collection that keeps
        vectors no less exactly.

        text: what was read of it, for the same bytes read as a table or as plain words differ.
        """
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT f.span, j.vector, n.vector, c.storage FROM fragments f"
                " JOIN vectors j ON j.fragment = f.id"
                " JOIN partitions p ON p.id = j.partition AND p.kind = 'joint'"
                " JOIN collections c ON c.id = p.collection"
                " LEFT JOIN vectors n ON n.fragment = f.id AND n.partition != j.partition"
                " WHERE f.item = (SELECT i.id FROM items i JOIN collections c"
                "  ON c.id = i.collection WHERE i.digest = ? AND i.modality = ?"
                "  AND i.text IS ? AND c.space_id = ? AND c.chunker = ?"
                "  AND c.storage IN ('float32', ?) LIMIT 1) ORDER BY f.id",
                (
                    digest,
                    modality.value,
                    rows.storable(text),
                    self.info.space.id,
                    self.info.chunker,
                    self.info.storage,
                ),
            ).fetchall()
        return [
            NewFragment(
                span=rows.span_from_text(span),
                joint=rows.vector_from_blob(joint, storage),
                native=None if native is None else rows.vector_from_blob(native, storage),
            )
            for span, joint, native, storage in found
        ] or None

    def paired_records(self) -> list[str]:
        """Records with items of several modalities, by their public ids, in order of coming."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT r.key FROM records r JOIN items i ON i.record = r.id"
                " WHERE r.collection = ? GROUP BY r.id HAVING count(DISTINCT i.modality) > 1"
                " ORDER BY r.id",
                (self.info.id,),
            ).fetchall()
        return [key for (key,) in found]

    def _by_fragment(self, columns: str, fragments: Iterable[int]) -> list[rows.Row]:
        wanted = list(fragments)
        found: list[rows.Row] = []
        with self._database.reading() as connection:
            for start in range(0, len(wanted), _PARAMETERS):
                some = wanted[start : start + _PARAMETERS]
                marks = ", ".join("?" * len(some))
                found += connection.execute(
                    f"SELECT {columns} FROM fragments f JOIN items i ON i.id = f.item"  # noqa: S608 - our own columns
                    f" JOIN records r ON r.id = i.record WHERE f.id IN ({marks})",
                    some,
                )
        return found


def _chunks(cursor: sqlite3.Cursor, dim: int, storage: Storage) -> Iterator[tuple[Ids, Floats]]:
    while chunk := cursor.fetchmany(_CHUNK):
        ids = np.array([number for number, _ in chunk], dtype=np.int64)
        yield ids, rows.vectors_from_blobs([blob for _, blob in chunk], dim, storage)
