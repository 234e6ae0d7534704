"""A page of the items that a filter means, in the order of their coming."""

from __future__ import annotations

import numpy as np

from embed.errors import BadInput
from embed.types import Item, Modality
from index import rows
from index.metadata.columns import Columns
from index.metadata.filters import And, Filter, Op, Predicate
from index.search.stored import Stored

_PAGE = 1000


def page(
    columns: Columns,
    stored: Stored,
    f: Filter,
    *,
    limit: int,
    cursor: str | None,
    modality: Modality | None,
    record: str | None,
) -> tuple[list[Item], str | None]:
    """As `Contents.items`, of which cursors are understood, and which understands these."""
    if not 1 <= limit <= _PAGE:
        raise BadInput(f"limit is {limit}; it must be 1 to {_PAGE}", param="limit")
    parts = [f]
    if modality is not None:
        parts.append(Predicate("@modality", Op.EQ, modality.value))
    if record is not None:
        parts.append(Predicate("@record", Op.EQ, record))
    meant = columns.items(And(tuple(parts)))
    rest = meant[np.searchsorted(meant, rows.row_of_cursor(cursor), side="right") :]
    shown = rest[:limit].tolist()
    items = stored.items(shown)
    found = [items[number] for number in shown if number in items]
    return found, rows.cursor_after(shown[-1]) if len(rest) > limit else None
