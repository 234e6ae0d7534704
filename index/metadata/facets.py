"""Many items at once, by what is said about them: counted, drawn at random, removed.

Everything is counted in memory (`columns.py`). It knows no vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from embed.errors import InvalidQuery
from embed.types import Item
from index.contents import Contents
from index.metadata.bounds import Value
from index.metadata.column import Column, rounded
from index.metadata.columns import Columns
from index.metadata.filters import And, Filter
from index.metadata.texts import Mask
from index.metadata.values import is_number

EVERYTHING = And(())
_VALUES = 1_000
_FIELDS = 32
_BINS = 10
_DELETED = 256  # items a transaction: others may write in between


class Facet(NamedTuple):
    """A value, and how many items say it."""

    value: Value
    items: int


class Bin(NamedTuple):
    """Numbers from `low` up to `high`, which only the last one holds too."""

    low: float
    high: float
    items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facets:
    """What items say under one name.

    values: the most frequent, equals in order. distinct: how many values there are in all.
    items: how many items say anything. bins: of the numbers, where values do not list them all.
    """

    field: str
    values: Sequence[Facet]
    distinct: int
    items: int
    bins: Sequence[Bin] = ()


def count(columns: Columns, f: Filter = EVERYTHING) -> int:
    """Items that are meant."""
    return int(np.count_nonzero(columns.rows(f)[1]))


def facets(
    columns: Columns, fields: Sequence[str], f: Filter = EVERYTHING, *, limit: int = 10
) -> list[Facets]:
    """Of each field, over the items that are meant. A name that nothing says has no values.

    An item that says several things counts for each. Places are counted in `items` alone. Raises
    InvalidQuery for a bad limit, too many fields, and `@text`.
    """
    if not 1 <= limit <= _VALUES:
        raise InvalidQuery(f"limit is {limit}; it must be 1 to {_VALUES:,}", param="limit")
    if not 1 <= len(fields) <= _FIELDS:
        raise InvalidQuery(f"{len(fields)} fields; 1 to {_FIELDS} are possible", param="fields")
    if "@text" in fields:
        raise InvalidQuery(
            "texts are not counted: count those that match(@text, ...)", param="fields"
        )
    table, mask = columns.rows(f, fields)
    return [_facets(field, table.columns.get(field), mask, limit) for field in fields]


def sample(
    contents: Contents, columns: Columns, f: Filter = EVERYTHING, *, count: int, seed: int
) -> list[Item]:
    """At most `count` of the items that are meant, drawn at random, in the order of the draw.

    The same seed over the same items draws the same ones.
    """
    if not 1 <= count <= _VALUES:
        raise InvalidQuery(f"count is {count}; it must be 1 to {_VALUES:,}", param="count")
    meant = columns.items(f)
    drawn = np.random.default_rng(seed).permutation(len(meant))[:count]
    return contents.items_of(meant[drawn].tolist())


def delete(contents: Contents, columns: Columns, f: Filter) -> list[str]:
    """Removes the items that are meant, a few hundred at a time. Returns their public ids.

    What else their files or uploads hold goes with them, as with any removal. Broken off, the rest
    is still there, and the same call goes on.
    """
    gone: list[str] = []
    while True:
        with contents.writing() as writing:  # nobody else writes while it lasts
            meant = columns.items(f)[:_DELETED].tolist()
            if not meant:
                return gone
            for item in contents.items_of(meant):
                writing.remove(item.id)
                gone.append(item.id)


def _facets(field: str, column: Column | None, mask: Mask, limit: int) -> Facets:
    if column is None:
        return Facets(field=field, values=[], distinct=0, items=0)
    counts = [Facet(*pair) for pair in column.counts(mask)]
    counts.sort(key=_frequent_first)
    numbers = [facet for facet in counts if is_number(facet.value)]
    return Facets(
        field=field,
        values=counts[:limit],
        distinct=len(counts),
        items=column.items(mask),
        bins=_bins(numbers) if len(numbers) > limit else (),
    )


def _frequent_first(facet: Facet) -> tuple[int, str, Value]:
    kind = "number" if is_number(facet.value) else type(facet.value).__name__
    return -facet.items, kind, facet.value


def _bins(numbers: Sequence[Facet]) -> list[Bin]:
    """Equally wide, from the least to the greatest; of numbers without end, none."""
    values = np.array([rounded(facet.value) for facet in numbers])
    if not np.isfinite(values).all():
        return []
    items, edges = np.histogram(values, _BINS, weights=[facet.items for facet in numbers])
    return [
        Bin(float(low), float(high), int(n))
        for low, high, n in zip(edges[:-1], edges[1:], items, strict=True)
    ]
