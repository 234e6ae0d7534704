"""Which items and fragments a filter means, out of memory.

The columns follow the catalog as an engine does, whoever writes (`item_table.py`). Nothing is read
before the first filter. The answer is that of `filters.matches` for every item; about texts the
catalog is asked, by its full-text index where words are looked for.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from threading import Lock

import numpy as np

from index import rows
from index.contents import Contents, PartitionState
from index.metadata.filters import And, Filter, Has, Not, Op, Or, Predicate, fields_of, holds
from index.metadata.item_table import OWN, Builder, Fragments, Table
from index.metadata.terms import items_with
from index.metadata.texts import Mask
from index.types import Ids


class Columns:
    """Follows one collection. Safe to use from several threads."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._lock = Lock()  # of who follows
        self._builder = Builder(contents.info.id)
        self._table = self._builder.table({})
        self._last: tuple[Table, Filter, Mask] | None = None

    def select(self, f: Filter, state: PartitionState) -> Ids:
        """The fragments of a partition whose items are meant, ascending; up to `state`, at least.

        Raises NotFound when the collection is gone.
        """
        table = self._fresh(fields_of(f), state.items, state)
        return table.fragments(state.id, self._meant(f, table))

    def items(self, f: Filter) -> Ids:
        """The catalog's own ids of the items that are meant, ascending. Raises as `select`."""
        table, mask = self.rows(f)
        return np.sort(table.items[mask])

    def rows(self, f: Filter, fields: Iterable[str] = ()) -> tuple[Table, Mask]:
        """The table as it is now, with columns of these fields too, and the rows that are meant."""
        with self._contents.reading() as connection:
            seq, _ = self._seqs_in(connection)
        table = self._fresh({*fields, *fields_of(f)}, seq, None)
        return table, self._meant(f, table) & table.alive

    def _meant(self, f: Filter, table: Table) -> Mask:
        """One search asks the same of several partitions: the last answer is kept."""
        last = self._last
        if last is None or last[0] is not table or last[1] is not f:
            last = self._last = (table, f, self._mask(f, table))
        return last[2]

    def _mask(self, f: Filter, table: Table) -> Mask:
        """By row. What it says of dead rows means nothing."""
        match f:
            case Predicate():
                return self._true_of(f, table)
            case Has(modality):
                return table.has(modality)
            case Not(part):
                return ~self._mask(part, table)
            case And(parts) | Or(parts):
                join = np.logical_and if isinstance(f, And) else np.logical_or
                mask = np.full(len(table.items), isinstance(f, And))
                for part in parts:
                    join(mask, self._mask(part, table), out=mask)
                return mask

    def _true_of(self, predicate: Predicate, table: Table) -> Mask:
        match predicate.field, predicate.op:
            case (("@title" | "@text"), Op.MATCH):
                return table.mask_of(self._matching(predicate))
            case "@text", Op.EXISTS:
                return table.spoken
            case "@text", _:
                return table.mask_of(self._holding(predicate))
        mask = np.zeros(len(table.items), bool)
        column = table.columns.get(predicate.field)
        for some in [] if column is None else column.rows(predicate):
            mask[some] = True
        return mask

    def _matching(self, predicate: Predicate) -> Ids:
        with self._contents.reading() as connection:
            return items_with(connection, predicate.field[1:], str(predicate.value))

    def _holding(self, predicate: Predicate) -> Ids:
        """Reads all texts: nobody compares whole texts often."""
        with self._contents.reading() as connection:
            texts = connection.execute(
                "SELECT id, text FROM items WHERE collection = ? AND text IS NOT NULL",
                (self._contents.info.id,),
            )
            found = [item for item, text in texts if holds(predicate, text)]
        return np.array(found, dtype=np.int64)

    def _fresh(self, fields: Iterable[str], seq: int, state: PartitionState | None) -> Table:
        """With all these fields, no older than `seq` and `state`."""
        own = {name for name in fields if name in OWN}
        table = self._table
        if not _serves(table, own, seq, state):
            with self._lock:
                if not _serves(self._table, own, seq, state):
                    self._follow(own, state)
                table = self._table
        return table

    def _follow(self, own: set[str], state: PartitionState | None) -> None:
        partitions = dict(self._table.partitions)
        with self._contents.reading() as connection:
            seq, forgotten = self._seqs_in(connection)
            if self._builder.is_past_use(forgotten):
                own = own | self._builder.own
                self._builder = Builder(self._contents.info.id)
            self._builder.follow(connection, seq, own)
            if state is not None:
                held = partitions.get(state.id, Fragments())
                partitions[state.id] = held.follow(connection, state.id)
        self._table = self._builder.table(partitions)

    def _seqs_in(self, connection: sqlite3.Connection) -> tuple[int, int]:
        """Of the last change of what is said about any item; and up to which it is forgotten what
        items there were."""
        info = self._contents.info
        row = connection.execute(
            "SELECT seq, forgotten FROM collections WHERE (id, space_id) = (?, ?)",
            (info.id, info.space.id),
        ).fetchone()
        if row is None:
            raise rows.gone(info)
        return int(row[0]), int(row[1])


def _serves(table: Table, own: set[str], seq: int, state: PartitionState | None) -> bool:
    if table.seq < seq or not own <= table.own:
        return False
    held = None if state is None else table.partitions.get(state.id)
    return state is None or (held is not None and held.seq >= state.seq)
