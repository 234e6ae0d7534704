"""A damaged SQLite file into a new one: every row that can still be read; the old file is kept.

A table is read by ranges of row ids. Where a page of it is broken, the range is halved until what
can be read is told from what cannot; so a broken page costs its own rows and no others.
This is the one other place that opens SQLite files: what it reads is no sound database any more.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embed.errors import CatalogError, Conflict
from index.database import APPLICATION_ID, Database
from index.disk import publish, sync
from index.failpoints import reach

# What the others point at comes first.
_TABLES = ("collections", "records", "items", "partitions", "fragments", "vectors")
_MADE_ANEW = ("clock", "meta", "deletions", "removals", "words%", "sqlite%")
_ATTEMPTS = 20_000  # failed readings of one table, after which the rest of it counts as lost
_FAR = 1 << 40

Tell = Callable[[str, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """read: rows by table. unreadable: ranges of row ids where nothing could be read, by table.

    kept: the damaged file.
    """

    kept: Path
    read: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"kept": str(self.kept), "read": self.read, "unreadable": self.unreadable}


def recover(path: Path, tell: Tell) -> Recovery:
    """Puts a sound file in the place of the catalog at `path`; run again, it goes on.

    Raises Conflict while another process has it open, CatalogError when nothing can be read of it.
    """
    read: dict[str, int] = {}
    unreadable: dict[str, int] = {}
    kept = replace_damaged(path, lambda aside: _rebuild(path, aside, read, unreadable, tell))
    return Recovery(kept=kept, read=read, unreadable=unreadable)


def replace_damaged(path: Path, fill: Callable[[Path], None]) -> Path:
    """Puts a file that `fill` makes in the place of a damaged catalog, and keeps that: where, is
    returned. Broken off, the same call goes on. Raises Conflict while another process has it open.
    """
    done = path.with_name(f"{path.name}.recovered")
    aside = path.with_name(f"{path.name}.rebuilding")
    kept = _free_name(path)
    with _alone(path):
        if not done.exists():
            _remove(aside)
            fill(aside)
            sync(aside)
            publish(aside, done)
        reach("repair.recovered")
        _swap(path, done, kept)
    return kept


def _free_name(path: Path) -> Path:
    number = 1
    while (name := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return name


class _alone:  # noqa: N801 - a context manager
    """Nobody else may have the file open: what they wrote to it after it was replaced is lost."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, timeout=0.5, isolation_level=None)

    def __enter__(self) -> None:
        try:
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                self._connection.close()
                raise Conflict(
                    "another process has the damaged catalog open: stop what serves or writes it, "
                    "then repair it again"
                ) from error

    def __exit__(self, *_: object) -> None:
        with suppress(sqlite3.DatabaseError):
            self._connection.close()


def _rebuild(
    path: Path, aside: Path, read: dict[str, int], unreadable: dict[str, int], tell: Tell
) -> None:
    copy = path.with_name(f"{path.name}.reading")
    Database(aside).close()  # its tables, and an epoch of its own
    with (
        closing(_opened(path, copy, aside)) as old,
        closing(sqlite3.connect(aside, isolation_level=None)) as new,
    ):
        new.execute("BEGIN IMMEDIATE")
        for table in (*_TABLES, *_others(new)):
            tell(table, sum(read.values()))
            columns = _columns(old, new, table)
            rows = _numbered if table in _TABLES else _unnumbered
            read[table] = _pour(new, table, columns, rows(old, table, columns, unreadable))
        _keep_numbers(old, new)
        new.execute("COMMIT")
    _remove(copy)
    if not any(read.values()):
        raise _nothing(path)


def _nothing(path: Path) -> CatalogError:
    return CatalogError(
        f"nothing of {path} can be read: restore it from a snapshot (crossbind restore), or move "
        "it away and ingest again"
    )


def _opened(path: Path, copy: Path, sound: Path) -> sqlite3.Connection:
    """A copy of what is there, log and all: reading a database file may write to it."""
    _remove(copy)
    for ending in ("", "-wal"):
        with suppress(FileNotFoundError):
            shutil.copyfile(path.with_name(path.name + ending), copy.with_name(copy.name + ending))
    if not _is_database(copy):
        _lend_header(copy, sound)
    if not _is_database(copy):
        _remove(copy)
        raise _nothing(path)
    old = sqlite3.connect(copy, isolation_level=None)
    old.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return old


def _is_database(path: Path) -> bool:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.DatabaseError:
            return False
    return True


def _lend_header(path: Path, sound: Path) -> None:
    """The first 100 bytes are the same in all catalogs, but for what they say of the size and the
    free pages; SQLite counts the pages itself where it finds bytes 24 and 92 to differ (its file
    format, section 1.3)."""
    head = bytearray(sound.read_bytes()[:100])
    head[32:40] = bytes(8)
    head[92:96] = b"\xff" * 4
    with path.open("r+b") as file:
        file.write(head)


def _others(new: sqlite3.Connection) -> list[str]:
    unlike = " AND ".join(f"name NOT LIKE '{name}'" for name in (*_TABLES, *_MADE_ANEW))
    found = new.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table'"  # noqa: S608 - our own names
        f" AND sql NOT LIKE 'CREATE VIRTUAL%' AND {unlike}"
    )
    return [name for (name,) in found]


def _columns(old: sqlite3.Connection, new: sqlite3.Connection, table: str) -> list[str]:
    """Those of the new table that the old one has; where that cannot be told, all of them."""
    wanted = [row[1] for row in new.execute(f"PRAGMA table_info({table})")]
    try:
        there = {row[1] for row in old.execute(f"PRAGMA table_info({table})")}
    except sqlite3.DatabaseError:
        there = set()
    return [name for name in wanted if name in there] or wanted


def _pour(
    new: sqlite3.Connection, table: str, columns: list[str], rows: Iterator[tuple[Any, ...]]
) -> int:
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608
    return sum(new.execute(statement, row).rowcount for row in rows)


def _numbered(
    old: sqlite3.Connection, table: str, columns: list[str], unreadable: dict[str, int]
) -> Iterator[tuple[Any, ...]]:
    """Every row of a table with row ids that can be read, by halving what cannot."""
    select = (
        f"SELECT rowid, {', '.join(columns)} FROM {table} NOT INDEXED"  # noqa: S608
        " WHERE rowid BETWEEN ? AND ? ORDER BY rowid"
    )
    ranges = [(1, _last_number(old, table))]
    attempts = 0
    while ranges and attempts < _ATTEMPTS:
        low, high = ranges.pop()
        try:
            for number, *row in old.execute(select, (low, high)):
                low = number + 1
                yield tuple(row)
        except sqlite3.DatabaseError:
            attempts += 1
            if low < high:
                middle = (low + high) // 2
                ranges += [(middle + 1, high), (low, middle)]
            else:
                unreadable[table] = unreadable.get(table, 0) + 1


def _last_number(old: sqlite3.Connection, table: str) -> int:
    """No row has a higher id. Asked of the table, its indexes, and the counter of ids."""
    asked = [
        f"SELECT max(rowid) FROM {table} NOT INDEXED",  # noqa: S608
        f"SELECT seq FROM sqlite_sequence WHERE name = '{table}'",  # noqa: S608
        "SELECT 4 * max(seq) FROM sqlite_sequence",
    ]
    with suppress(sqlite3.DatabaseError):
        indexes = [row[1] for row in old.execute(f"PRAGMA index_list({table})")]
        asked[1:1] = [f'SELECT max(rowid) FROM {table} INDEXED BY "{i}"' for i in indexes]  # noqa: S608
    for question in asked:
        with suppress(sqlite3.DatabaseError):
            (found,) = old.execute(question).fetchone() or (None,)
            if isinstance(found, int) and found < _FAR:
                return found
    return 1_000_000


def _unnumbered(
    old: sqlite3.Connection, table: str, columns: list[str], unreadable: dict[str, int]
) -> Iterator[tuple[Any, ...]]:
    """From the beginning as far as it goes, then from the end."""
    for order in ("ASC", "DESC"):
        select = f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1 {order}, 2 {order}"  # noqa: S608
        try:
            yield from old.execute(select)
        except sqlite3.DatabaseError:
            unreadable[table] = 1
        else:
            return


def _keep_numbers(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Ids are never used twice, not even those of rows that were lost; and time goes on."""
    with suppress(sqlite3.DatabaseError):
        for name, seq in old.execute("SELECT name, seq FROM sqlite_sequence").fetchall():
            known = new.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = ?", (name,))
            newest = max(int(seq), known.fetchone()[0] or 0)
            new.execute("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
            new.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, newest))
    with suppress(sqlite3.DatabaseError):
        (seq,) = old.execute("SELECT seq FROM clock").fetchone()
        new.execute("UPDATE clock SET seq = max(seq, ?)", (int(seq),))
    new.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _swap(path: Path, done: Path, kept: Path) -> None:
    """The log of the damaged file must be gone before the new one has its name."""
    for ending in ("", "-wal"):
        with suppress(FileNotFoundError, FileExistsError):
            os.link(path.with_name(path.name + ending), kept.with_name(kept.name + ending))
    sync(path.parent)
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    sync(path.parent)
    reach("repair.kept")
    publish(done, path)
    reach("repair.swapped")


def _remove(path: Path) -> None:
    for ending in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
