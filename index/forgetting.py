"""What is noted as gone, forgotten again: in `deletions` of vectors, in `removals` of items.

Nobody knows who still follows: engines are in memory, in files and on servers, of any process. So
notes are kept until there are more of them than of what is there. Whoever is further behind than
they reach reads all anew, which costs it no more than reading the notes would have.

It runs inside a transaction of `writing.py`, so that notes go and `forgotten` says so at once.
"""

from __future__ import annotations

import sqlite3

EVERY = 256  # transactions; counting costs as much as there is
KEPT = 4096  # notes, however little is there

# Of each table of notes: whose they are, and what they are notes of.
_NOTES = (
    ("deletions", "partition", "partitions", "vectors"),
    ("removals", "collection", "collections", "items"),
)


def forget(connection: sqlite3.Connection, seq: int) -> None:
    """The older half of what is noted too much of, but for what `seq` itself notes."""
    if seq % EVERY:
        return
    for notes, of, table, things in _NOTES:
        for (owner,) in connection.execute(f"SELECT id FROM {table}").fetchall():  # noqa: S608
            last = min(_too_old(connection, notes, of, things, owner), seq - 1)
            connection.execute(
                f"DELETE FROM {notes} WHERE {of} = ? AND seq <= ?",  # noqa: S608 - our own names
                (owner, last),
            )
            connection.execute(
                f"UPDATE {table} SET forgotten = max(forgotten, ?) WHERE id = ?",  # noqa: S608
                (last, owner),
            )


def _too_old(connection: sqlite3.Connection, notes: str, of: str, things: str, owner: int) -> int:
    """The seq up to which notes may go; 0 where there are not too many."""

    def count(table: str) -> int:
        found = connection.execute(f"SELECT count(*) FROM {table} WHERE {of} = ?", (owner,))  # noqa: S608
        return int(found.fetchone()[0])

    noted = count(notes)
    if noted <= KEPT or noted <= (there := count(things)):
        return 0
    row = connection.execute(
        f"SELECT seq FROM {notes} WHERE {of} = ? ORDER BY seq DESC LIMIT 1 OFFSET ?",  # noqa: S608
        (owner, max(KEPT, there) // 2),
    ).fetchone()
    return int(row[0])
