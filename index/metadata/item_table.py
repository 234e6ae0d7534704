"""What is said about the items of a collection, as arrays that follow the catalog.

A changed item gets a new row and its old one dies, so a `Table` seen once never changes, and any
thread may read it while a `Builder` takes in what came since. Texts are not held, and the item's
own names not before they are asked for. It knows no filter: those are asked in `columns.py`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from embed.types import Modality
from index.metadata.column import Column, ColumnBuilder
from index.metadata.texts import Growing, Mask, Numbers
from index.types import Ids

OWN = {
    "@id": "i.key",
    "@record": "(SELECT key FROM records WHERE id = i.record)",
    "@modality": "i.modality",
    "@uri": "i.uri",
    "@title": "i.title",
    "@origin": "i.origin",
    "@created": "i.created",
}
_ELSEWHERE = {*OWN, "@text"}  # these hide metadata of the same name
_BATCH = 4096
_DEAD = 4096  # rows that may be dead in any case
_MODALITIES = list(Modality)


@dataclass(frozen=True, slots=True, eq=False)
class Fragments:
    """Of one partition up to `seq`: `(F,)` ids, ascending, and the catalog's ids of their items."""

    seq: int = -1
    ids: Ids = field(default_factory=lambda: np.empty(0, np.int64))
    items: Ids = field(default_factory=lambda: np.empty(0, np.int64))

    def follow(self, connection: sqlite3.Connection, partition: int) -> Fragments:
        """These, and what became of the partition since."""
        row = connection.execute(
            "SELECT seq, forgotten FROM partitions WHERE id = ?", (partition,)
        ).fetchone()
        held = self if row is None or self.seq >= row[1] else Fragments()
        since = (partition, held.seq)
        removed = _pairs(
            connection.execute(
                "SELECT fragment, 0 FROM deletions WHERE partition = ? AND seq > ?", since
            )
        )
        added = _pairs(
            connection.execute(
                "SELECT v.fragment, f.item FROM vectors v JOIN fragments f ON f.id = v.fragment"
                " WHERE v.partition = ? AND v.seq > ?",
                since,
            )
        )
        kept = ~np.isin(held.ids, np.concatenate([removed[:, 0], added[:, 0]]))
        ids = np.concatenate([held.ids[kept], added[:, 0]])
        items = np.concatenate([held.items[kept], added[:, 1]])
        order = np.argsort(ids, kind="stable")
        return Fragments(row[0] if row else held.seq, ids[order], items[order])


@dataclass(frozen=True, eq=False)
class Table:
    """All items up to `seq`, one living row each: `(R,)` arrays, and columns by name.

    items, records: the catalog's ids. spoken: has a text. own: which of `OWN` were read.
    """

    seq: int
    items: Ids
    alive: Mask
    records: Ids
    modalities: Numbers
    spoken: Mask
    columns: Mapping[str, Column]
    own: frozenset[str]
    partitions: Mapping[int, Fragments]
    _rows: dict[int, Numbers] = field(default_factory=dict)
    _having: dict[Modality, Mask] = field(default_factory=dict)

    def fragments(self, partition: int, mask: Mask) -> Ids:
        """Of the rows in the mask, ascending."""
        fragments = self.partitions[partition]
        if partition not in self._rows:
            self._rows[partition] = self._rows_of(fragments.items)
        chosen: Ids = fragments.ids[np.append(mask, False)[self._rows[partition]]]
        return chosen

    def mask_of(self, items: Ids) -> Mask:
        """By row, whether it is one of these."""
        mask = np.zeros(len(self.items) + 1, bool)
        mask[self._rows_of(items)] = True
        return mask[:-1]

    def has(self, modality: Modality) -> Mask:
        """By row, whether its record has such an item."""
        if modality not in self._having:
            there = self.alive & (self.modalities == _MODALITIES.index(modality))
            self._having[modality] = np.isin(self.records, self.records[there])
        return self._having[modality]

    def _rows_of(self, items: Ids) -> Numbers:
        """The living row of each item; R, one beyond the last, where there is none."""
        order, ordered = self._ordered
        at = np.searchsorted(ordered, items)
        found = np.append(ordered, -1)[at] == items
        return np.where(found, np.append(order, 0)[at], len(self.items))

    @cached_property
    def _ordered(self) -> tuple[Numbers, Ids]:
        """Living rows by their item, and those."""
        living = np.flatnonzero(self.alive)
        order = living[np.argsort(self.items[living], kind="stable")]
        return order, self.items[order]


class Builder:
    """Reads a collection from the catalog, and then what changed in it. One thread at a time.

    Broken off half-way, it reads the same again and the rows begun die.
    """

    def __init__(self, collection: int) -> None:
        self.seq = -1
        self.own: set[str] = set()
        self._collection = collection
        self._items = Growing(np.int64)
        self._records = Growing(np.int64)
        self._modalities = Growing(np.int8)
        self._spoken = Growing(np.bool_)
        self._alive = np.zeros(0, bool)
        self._columns: dict[str, ColumnBuilder] = {}
        self._seen: dict[str, Column] = {}
        self._grown: set[str] = set()  # since

    def is_past_use(self, forgotten: int) -> bool:
        """Whether all must be read anew, since what went up to `forgotten` is told no more; or
        should be, since that would give most of the memory back."""
        dead = len(self._alive) - int(np.count_nonzero(self._alive))
        missed = self.seq < forgotten and len(self._alive) > 0
        return missed or dead > _DEAD + len(self._alive) // 2

    def follow(self, connection: sqlite3.Connection, seq: int, own: Iterable[str]) -> None:
        """Takes in what changed up to `seq`, which the connection sees; and these own names."""
        if self.seq < seq:
            self._kill(connection)
            self._add(connection)
            self.seq = seq
        for name in set(own) - self.own:
            self._read_own(connection, name)

    def table(self, partitions: Mapping[int, Fragments]) -> Table:
        grown = {name: self._columns[name].seen() for name in self._grown}
        self._grown.clear()
        self._seen = {**self._seen, **grown}
        return Table(
            seq=self.seq,
            items=self._items.seen(),
            alive=self._alive,
            records=self._records.seen(),
            modalities=self._modalities.seen(),
            spoken=self._spoken.seen(),
            columns=self._seen,
            own=frozenset(self.own),
            partitions=partitions,
        )

    def _kill(self, connection: sqlite3.Connection) -> None:
        """Rows of items that changed or are gone."""
        if not len(self._alive):
            return
        since = (self._collection, self.seq)
        gone = _pairs(
            connection.execute(
                "SELECT id, 0 FROM items WHERE collection = ?1 AND seq > ?2 UNION ALL"
                " SELECT item, 0 FROM removals WHERE collection = ?1 AND seq > ?2",
                since,
            )
        )
        self._alive = self._alive & ~np.isin(self._items.seen(), gone[:, 0])

    def _add(self, connection: sqlite3.Connection) -> None:
        own = sorted(self.own)
        extra = "".join(f", {OWN[name]}" for name in own)
        cursor = connection.execute(
            f"SELECT i.id, i.record, i.modality, i.text IS NOT NULL, i.metadata{extra}"  # noqa: S608 - our own columns
            " FROM items i WHERE i.collection = ? AND i.seq > ?",
            (self._collection, self.seq),
        )
        while batch := cursor.fetchmany(_BATCH):
            items, records, modalities, spoken, metadata, *told = zip(*batch, strict=True)
            first = len(self._items)
            self._items.extend(items)
            self._records.extend(records)
            self._modalities.extend([_MODALITIES.index(modality) for modality in modalities])
            self._spoken.extend(spoken)
            self._alive = np.concatenate([self._alive, np.ones(len(batch), bool)])
            self._add_metadata(first, metadata)
            for name, values in zip(own, told, strict=True):
                self._extend_own(name, range(first, first + len(batch)), values)

    def _add_metadata(self, first: int, metadata: Sequence[str]) -> None:
        said: dict[str, tuple[list[int], list[Any]]] = {}
        for row, fields in enumerate(json.loads(f"[{','.join(metadata)}]"), start=first):
            for name, value in fields.items():
                if name not in said:
                    said[name] = ([], [])
                rows, values = said[name]
                rows.append(row)
                values.append(value)
        for name, (rows, values) in said.items():
            if name not in _ELSEWHERE:
                self._extend(name, rows, values)

    def _read_own(self, connection: sqlite3.Connection, name: str) -> None:
        """For the rows that are there already."""
        living = np.flatnonzero(self._alive)
        row_of = dict(zip(self._items.seen()[living].tolist(), living.tolist(), strict=True))
        found = connection.execute(
            f"SELECT i.id, {OWN[name]} FROM items i WHERE i.collection = ?",  # noqa: S608 - our own columns
            (self._collection,),
        ).fetchall()
        self._columns.pop(name, None)  # what a reading that broke off began
        self._extend_own(name, [row_of[item] for item, _ in found], [value for _, value in found])
        self.own.add(name)

    def _extend_own(self, name: str, rows: Sequence[int], values: Sequence[str | None]) -> None:
        told = [n for n, value in enumerate(values) if value is not None]
        self._extend(name, [rows[n] for n in told], [values[n] for n in told])

    def _extend(self, name: str, rows: Sequence[int], values: Sequence[Any]) -> None:
        self._columns.setdefault(name, ColumnBuilder()).extend(rows, values)
        self._grown.add(name)


def _pairs(cursor: sqlite3.Cursor) -> Ids:
    """`(N, 2)`."""
    return np.array(cursor.fetchall(), np.int64).reshape(-1, 2)
