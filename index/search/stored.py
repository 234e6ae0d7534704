"""Vectors and spans read back from the catalog: of a few items, for what comes after the ranking.

It speaks SQL, as `contents.py` does, and computes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from embed.types import Floats, Item, Span
from index import rows
from index.contents import Contents, PartitionState
from index.search.selection import Look
from index.types import Ids, Storage, VectorKind

_PARAMETERS = 500  # bound per statement


class StoredPieces(NamedTuple):
    """Fragments of one item: `(F,)` ids ascending, their spans, `(F, dim)` vectors."""

    ids: Ids
    spans: Sequence[Span | None]
    vectors: Floats


class Owned(NamedTuple):
    """`(F,)` fragments ascending, `(F,)` the catalog's own ids of their items, `(F, dim)`."""

    ids: Ids
    owners: Ids
    vectors: Floats


class Stored:
    """What is kept of the items of one collection."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents

    def vectors(
        self, fragments: Iterable[int], kind: VectorKind = VectorKind.JOINT
    ) -> dict[int, Floats]:
        """The vector of each fragment that has one of this kind."""
        return {number: look.vector for number, look in self._vectors(fragments, kind).items()}

    def looks(self, fragments: Iterable[int]) -> dict[int, Look]:
        """The vector that tells likeness best: the tower's own where a fragment has one."""
        kinds = {kind: self._vectors(list(fragments), kind) for kind in VectorKind}
        return {**kinds[VectorKind.JOINT], **kinds[VectorKind.NATIVE]}

    def pieces(
        self, items: Iterable[str], kind: VectorKind = VectorKind.JOINT
    ) -> dict[str, StoredPieces]:
        """All fragments of each item that have a vector of this kind, by its public id."""
        found = self._read(
            "SELECT i.key, f.id, f.span, v.vector FROM items i JOIN fragments f ON f.item = i.id"
            " JOIN vectors v ON v.fragment = f.id JOIN partitions p ON p.id = v.partition"
            " WHERE i.collection = ? AND p.kind = ? AND i.key IN ({marks}) ORDER BY f.id",
            kind,
            list(items),
        )
        by_item: dict[str, list[rows.Row]] = {}
        for key, *piece in found:
            by_item.setdefault(key, []).append(tuple(piece))
        storage = self._contents.info.storage
        return {key: _pieces(some, storage) for key, some in by_item.items()}

    def partition(self, state: PartitionState) -> Owned:
        """All vectors of a partition, and the items that they are of."""
        with self._contents.reading() as connection:
            found = connection.execute(
                "SELECT v.fragment, f.item, v.vector FROM vectors v"
                " JOIN fragments f ON f.id = v.fragment WHERE v.partition = ? ORDER BY v.fragment",
                (state.id,),
            ).fetchall()
        return Owned(
            np.array([number for number, _, _ in found], dtype=np.int64),
            np.array([owner for _, owner, _ in found], dtype=np.int64),
            rows.vectors_from_blobs(
                [blob for _, _, blob in found], state.dim, self._contents.info.storage
            ),
        )

    def items(self, owners: Iterable[int]) -> dict[int, Item]:
        """Items by the catalog's own ids; of long texts the beginning."""
        wanted, found = list(owners), []
        with self._contents.reading() as connection:
            for start in range(0, len(wanted), _PARAMETERS):
                some = wanted[start : start + _PARAMETERS]
                marks = ", ".join("?" * len(some))
                found += connection.execute(
                    f"SELECT i.id, {rows.PAGE_COLUMNS} FROM items i"  # noqa: S608 - our own columns
                    f" JOIN records r ON r.id = i.record WHERE i.id IN ({marks})",
                    some,
                ).fetchall()
        return {row[0]: rows.item_from_row(row[1:]) for row in found}

    def of_records(self, records: Iterable[str]) -> dict[str, list[Item]]:
        """The items of each record, oldest first, by its public id; of long texts the beginning.

        Records that are gone are left out.
        """
        wanted = list(records)
        found: dict[str, list[Item]] = {}
        with self._contents.reading() as connection:
            for start in range(0, len(wanted), _PARAMETERS):
                some = wanted[start : start + _PARAMETERS]
                marks = ", ".join("?" * len(some))
                for row in connection.execute(
                    f"SELECT {rows.PAGE_COLUMNS} FROM records r"  # noqa: S608 - our own columns
                    " JOIN items i ON i.record = r.id"
                    f" WHERE r.collection = ? AND r.key IN ({marks}) ORDER BY i.id",
                    (self._contents.info.id, *some),
                ):
                    item = rows.item_from_row(row)
                    found.setdefault(item.record, []).append(item)
        return found

    def _vectors(self, fragments: Iterable[int], kind: VectorKind) -> dict[int, Look]:
        found = self._read(
            "SELECT v.fragment, v.partition, v.vector FROM vectors v"
            " JOIN partitions p ON p.id = v.partition"
            " WHERE p.collection = ? AND p.kind = ? AND v.fragment IN ({marks})",
            kind,
            list(fragments),
        )
        storage = self._contents.info.storage
        return {
            number: Look(partition, rows.vector_from_blob(blob, storage))
            for number, partition, blob in found
        }

    def _read(
        self, statement: str, kind: VectorKind, wanted: Sequence[int | str]
    ) -> list[rows.Row]:
        found: list[rows.Row] = []
        with self._contents.reading() as connection:
            for start in range(0, len(wanted), _PARAMETERS):
                some = wanted[start : start + _PARAMETERS]
                marked = statement.format(marks=", ".join("?" * len(some)))
                found += connection.execute(
                    marked, (self._contents.info.id, kind.value, *some)
                ).fetchall()
        return found


def _pieces(some: Sequence[rows.Row], storage: Storage) -> StoredPieces:
    return StoredPieces(
        np.array([number for number, _, _ in some], dtype=np.int64),
        [rows.span_from_text(span) for _, span, _ in some],
        np.stack([rows.vector_from_blob(blob, storage) for _, _, blob in some]),
    )
