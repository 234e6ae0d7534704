"""What is said about items, told to engines that keep it beside their vectors (`wants_payloads`).

It follows `items.seq` as `follower.py` follows vectors, after it: a fragment is told something only
once it is in the engine. What an item says is told to all its fragments, and when an item of a
record changes, to the others of that record too, for what the record has may have changed.
It knows no engine by name.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol, cast

import numpy as np

from embed.types import Item, Modality
from index import rows
from index.contents import Contents, PartitionState
from index.types import CollectionInfo, Ids

_AT_ONCE = 500  # items; also bound per statement
_EACH_TIME = 2000  # silent fragments told before a search, so that a large ingest stalls none

# An item once, however many fragments it has: a text may be long.
_ITEMS = (
    "SELECT (SELECT group_concat(f.id) FROM fragments f JOIN vectors v ON v.fragment = f.id"  # noqa: S608 - our own columns
    " WHERE f.item = i.id AND v.partition = ? AND v.seq <= ?),"
    " (SELECT group_concat(DISTINCT s.modality) FROM items s WHERE s.record = i.record),"
    f" {rows.ITEM_COLUMNS} FROM items i JOIN records r ON r.id = i.record"
    " WHERE i.collection = ? AND i.modality = ? AND "
)


class KeepsPayloads(Protocol):
    """An engine that also keeps what is said about items, and says so: `wants_payloads`."""

    wants_payloads: bool

    def turn(self) -> AbstractContextManager[None]:
        """Around all that it is told at one time: several processes may share it."""
        ...

    @property
    def seq(self) -> int: ...

    @property
    def said(self) -> int:
        """Of the catalog: what was said about items up to it is known, but to silent fragments. -1
        when all are silent."""
        ...

    @property
    def silent(self) -> Ids:
        """`(N,)` fragments that were told nothing yet."""
        ...

    def put_payloads(
        self, ids: Ids, items: Sequence[Item], has: Sequence[frozenset[Modality]]
    ) -> None:
        """Tells `(N,)` fragments that are in here what is said about their items."""
        ...

    def commit_payloads(self, seq: int) -> None:
        """All that was said about items up to `seq` was put, but to silent fragments."""
        ...


def keeper(engine: object) -> KeepsPayloads | None:
    """The engine, if it wants to be told."""
    return cast("KeepsPayloads", engine) if getattr(engine, "wants_payloads", False) else None


def told_all(engine: KeepsPayloads, state: PartitionState) -> bool:
    """Whether there is nothing to tell; a glance, fit to come before every search."""
    return engine.said >= state.items and not len(engine.silent)


def tell(engine: KeepsPayloads, contents: Contents, state: PartitionState) -> None:
    """Tells the engine, which holds the vectors up to `state`, what is new: those fragments that
    know something all of it, of the silent ones a part. Broken off half-way it starts again where
    it began, and telling twice is the same as once."""
    with contents.reading() as connection:
        seq = _items_seq(connection, contents.info)
        here = (state.id, engine.seq, contents.info.id, state.partition.modality.value)
        silent = engine.silent.tolist()
        if 0 <= engine.said < seq:
            quiet = frozenset(silent)
            changed = connection.execute(
                f"{_ITEMS} i.record IN (SELECT record FROM items WHERE collection = ? AND seq > ?)",  # noqa: S608 - our own columns
                (*here, contents.info.id, engine.said),
            )
            while some := changed.fetchmany(_AT_ONCE):
                _put(engine, some, but=quiet)
        if engine.said < seq:
            engine.commit_payloads(seq)
        next_ones = silent[:_EACH_TIME]
        for start in range(0, len(next_ones), _AT_ONCE):
            _put(engine, _of(connection, here, next_ones[start : start + _AT_ONCE]))


def _items_seq(connection: sqlite3.Connection, info: CollectionInfo) -> int:
    row = connection.execute("SELECT seq FROM collections WHERE id = ?", (info.id,)).fetchone()
    if row is None:
        raise rows.gone(info)
    return int(row[0])


def _of(connection: sqlite3.Connection, here: rows.Row, fragments: Sequence[int]) -> list[rows.Row]:
    marks = ", ".join("?" * len(fragments))
    return connection.execute(
        f"{_ITEMS} i.id IN (SELECT item FROM fragments WHERE id IN ({marks}))",  # noqa: S608 - our own columns
        (*here, *fragments),
    ).fetchall()


def _put(
    engine: KeepsPayloads, found: Sequence[rows.Row], but: frozenset[int] = frozenset()
) -> None:
    ids: list[int] = []
    items: list[Item] = []
    has: list[frozenset[Modality]] = []
    for fragments, media, *row in found:
        mine = [int(one) for one in (fragments or "").split(",") if one and int(one) not in but]
        ids += mine
        items += [rows.item_from_row(tuple(row))] * len(mine)
        has += [frozenset(map(Modality, media.split(",")))] * len(mine)
    if ids:
        engine.put_payloads(np.array(ids, dtype=np.int64), items, has)
