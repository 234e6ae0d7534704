"""Rows of whole collections from one catalog into another.

Row ids of the source are shifted past those that the target has ever used, so that no engine can
take one vector for another; everything comes in under one new seq. It opens and commits nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from index import rows

Tell = Callable[[str, int], None]

# Which rows of each table belong to the collections; what others point at comes first.
_TABLES = {
    "collections": "id IN ({})",
    "records": "collection IN ({})",
    "items": "collection IN ({})",
    "fragments": "item IN (SELECT id FROM items WHERE collection IN ({}))",
    "partitions": "collection IN ({})",
    "vectors": "partition IN (SELECT id FROM partitions WHERE collection IN ({}))",
    "failures": "collection IN ({})",
    "completions": "collection IN ({})",
    "completion_sources": "completion IN (SELECT id FROM completions WHERE collection IN ({}))",
    "completion_fits": "collection IN ({})",
}
_OTHER_NAMES = {"aliases": "collection IN ({})"}
_POINTS_AT = {
    "collection": "collections",
    "record": "records",
    "item": "items",
    "fragment": "fragments",
    "partition": "partitions",
    "completion": "completions",
}
_PUBLIC = frozenset({"completion_sources.item", "completion_sources.record"})  # ids, no row ids
_CACHE_KIB = (
    64 * 1024
)  # of pages that wait for the commit; a smaller one is written again and again
_NUMBERED = frozenset(_POINTS_AT.values())


def copy_collections(
    source: sqlite3.Connection,
    target: sqlite3.Connection,
    ids: Iterable[int],
    *,
    renamed: Mapping[int, str] | None = None,
    aliases: bool = False,
    tell: Tell = lambda _table, _rows: None,
) -> int:
    """How many rows were copied, in a transaction of the caller's. renamed: names by id.

    aliases: other names of the collections come too. Raises Conflict for a name that is taken.
    """
    wanted = ", ".join(str(number) for number in ids)
    target.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    target.execute("UPDATE clock SET seq = seq + 1")
    seq = target.execute("SELECT seq FROM clock").fetchone()[0]
    shifts = {table: _used(target, table) for table in _NUMBERED}
    copied = 0

    def counted(table: str, found: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        nonlocal copied
        for row in found:
            copied += 1
            if copied % 1000 == 0:
                tell(table, copied)
            yield row

    for table, where in (_TABLES | (_OTHER_NAMES if aliases else {})).items():
        columns = [row[1] for row in target.execute(f"PRAGMA table_info({table})")]
        values = [_value(table, column, shifts, seq) for column in columns]
        found: Iterator[tuple[Any, ...]] = source.execute(
            f"SELECT {', '.join(values)} FROM {table} WHERE {where.format(wanted)}"  # noqa: S608
        )
        if table == "collections":
            found = _named(target, found, columns, shifts[table], renamed or {})
        marks = ", ".join("?" * len(columns))
        target.executemany(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})",  # noqa: S608
            counted(table, found),
        )
    return copied


def _used(target: sqlite3.Connection, table: str) -> int:
    """The highest row id that the table ever had."""
    found = target.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return int(found[0]) if found else 0


def _value(table: str, column: str, shifts: Mapping[str, int], seq: int) -> str:
    if column == "seq":
        return str(seq)
    if column == "forgotten":  # nobody has anything of these yet
        return "0"
    if f"{table}.{column}" in _PUBLIC:
        return f'"{column}"'
    aim = table if column == "id" else _POINTS_AT.get(column)
    return f'"{column}"' if aim is None else f'"{column}" + {shifts[aim]}'


def _named(
    target: sqlite3.Connection,
    found: Iterable[tuple[Any, ...]],
    columns: list[str],
    shift: int,
    renamed: Mapping[int, str],
) -> Iterator[tuple[Any, ...]]:
    for row in found:
        made = dict(zip(columns, row, strict=True))
        made["name"] = renamed.get(made["id"] - shift, made["name"])
        if target.execute(
            "SELECT 1 FROM collections WHERE name = :name"
            " UNION SELECT 1 FROM aliases WHERE name = :name",
            {"name": made["name"]},
        ).fetchone():
            raise rows.taken(made["name"])
        yield tuple(made.values())
