"""One write transaction of completions: each put with the digests of what it rests on.

Everything here runs inside a transaction that `completions.py` opened.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import TypeVar

from index import rows
from index.types import CollectionInfo, Completion, Storage
from index.writing import now

T = TypeVar("T")

_PARAMETERS = 500  # bound per statement
_HELD = (
    "SELECT r.key, i.key, i.digest FROM records r JOIN items i ON i.record = r.id"
    " WHERE r.collection = ? AND r.key IN ({marks}) ORDER BY i.key"
)


class Supposing:
    """Completions put within one transaction."""

    def __init__(
        self, connection: sqlite3.Connection, info: CollectionInfo, fit: str | None
    ) -> None:
        self._connection = connection
        self._info = info
        self._fit = fit
        self._now = now()

    def put(self, one: Completion) -> bool:
        """Whether its record is there still."""
        owner = (self._info.id, one.record)
        row = self._connection.execute(
            "SELECT id FROM records WHERE collection = ? AND key = ?", owner
        ).fetchone()
        if row is None:
            return False
        held = held_by(self._connection, self._info.id, [str(one.record)])
        self._connection.execute(
            "DELETE FROM completions WHERE (record, modality, method) = (?, ?, ?)",
            (row[0], one.modality.value, one.method),
        )
        number = self._connection.execute(
            "INSERT INTO completions (collection, record, modality, method, origin, p, space_id,"
            " fit, own, created, value, vector) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._info.id,
                row[0],
                one.modality.value,
                one.method,
                one.origin,
                one.p,
                self._info.space.id,
                self._fit,
                held[str(one.record)],
                self._now,
                rows.storable(one.value),
                None if one.vector is None else rows.vector_to_blob(one.vector, Storage.FLOAT32),
            ),
        ).lastrowid
        self._connection.executemany(
            "INSERT INTO completion_sources (completion, place, item, record, share, digest)"
            " VALUES (?, ?, ?, ?, ?, coalesce("
            "(SELECT digest FROM items WHERE collection = ? AND key = ?), ''))",
            [
                (number, place, *source, self._info.id, source.item)
                for place, source in enumerate(one.sources)
            ],
        )
        return True


def held_by(
    connection: sqlite3.Connection, collection: int, records: Sequence[str]
) -> dict[str, str]:
    """By record the digest of what it holds: its items and theirs."""
    held: dict[str, list[str]] = {}
    for some in batches(records):
        for record, item, digest in connection.execute(
            _HELD.format(marks=marks(some)), (collection, *some)
        ):
            held.setdefault(record, []).append(f"{item}\x1f{digest}")
    return {key: sha256("\x1e".join(items).encode()).hexdigest() for key, items in held.items()}


def batches(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """As many as one statement may name."""
    for start in range(0, len(values), _PARAMETERS):
        yield values[start : start + _PARAMETERS]


def marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
