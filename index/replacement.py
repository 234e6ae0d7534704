"""How a collection passes from one space to another, in SQL: one transaction, or nothing of it.

A shadow holds the same items, embedded anew under the same ids, and nothing else of them. When
nothing is missing, its vectors move over to the items of the collection. Those keep all that they
are (ids, records, titles, metadata, places), whatever was written meanwhile; and whoever still
means the old space is refused from then on (`writing.py`, `contents.py`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from index import rows
from index.database import Database
from index.failpoints import reach
from index.types import CollectionInfo, Failure
from index.writing import Writing

_OTHER = "(new.digest != old.digest OR new.text IS NOT old.text)"

_PENDING = f"""
    SELECT old.key, old.digest FROM items old
    LEFT JOIN items new ON new.collection = :new AND new.key = old.key
    WHERE old.collection = :old AND (new.id IS NULL OR {_OTHER}) ORDER BY old.id
"""  # noqa: S608 - our own condition

# The copy takes the old vectors with it.
_KEEP = (
    """INSERT INTO collections (name, space, space_id, chunker, engine, created, storage)
    SELECT :name, space, space_id, chunker, engine, created, storage FROM collections
    WHERE id = :old""",
    """INSERT INTO records (collection, key)
    SELECT (SELECT id FROM collections WHERE name = :name), key FROM records
    WHERE collection = :old ORDER BY id""",
    """INSERT INTO items (collection, record, key, modality, origin, digest, uri, size, mtime_ns,
    checked_ns, created, updated, title, metadata, text)
    SELECT k.collection, k.id, i.key, modality, origin, digest, uri, size, mtime_ns,
    checked_ns, created, updated, title, metadata, text
    FROM items i JOIN records r ON r.id = i.record JOIN records k ON k.key = r.key
    AND k.collection = (SELECT id FROM collections WHERE name = :name)
    WHERE i.collection = :old ORDER BY i.id""",
    """INSERT INTO failures (collection, uri, code, message, at)
    SELECT (SELECT id FROM collections WHERE name = :name), uri, code, message, at FROM failures
    WHERE collection = :old""",
    """UPDATE fragments SET item = copy.id FROM items copy, items i
    WHERE i.id = fragments.item AND i.collection = :old AND copy.key = i.key
    AND copy.collection = (SELECT id FROM collections WHERE name = :name)""",
    """UPDATE partitions SET collection = (SELECT id FROM collections WHERE name = :name)
    WHERE collection = :old""",
)
_DROP = (
    "DELETE FROM fragments WHERE item IN (SELECT id FROM items WHERE collection = :old)",
    "DELETE FROM partitions WHERE collection = :old",
)
_ADOPT = (
    """DELETE FROM items WHERE collection = :new
    AND key NOT IN (SELECT key FROM items WHERE collection = :old)""",
    f"""UPDATE items AS old SET digest = new.digest, text = new.text FROM items new
    WHERE new.collection = :new AND new.key = old.key AND old.collection = :old AND {_OTHER}""",  # noqa: S608 - our own condition
    """UPDATE fragments SET item = old.id FROM items old, items new
    WHERE new.id = fragments.item AND new.collection = :new
    AND old.key = new.key AND old.collection = :old""",
    "UPDATE partitions SET collection = :old WHERE collection = :new",
    "UPDATE items SET seq = (SELECT seq FROM clock) WHERE collection = :old",
    "UPDATE collections SET seq = (SELECT seq FROM clock) WHERE id = :old",
    """UPDATE collections AS old SET space = new.space, space_id = new.space_id,
    chunker = new.chunker FROM collections new WHERE old.id = :old AND new.id = :new""",
    "DELETE FROM collections WHERE id = :new",
)


class Pending(NamedTuple):
    """An item that the shadow has not, or not as it is now."""

    key: str
    digest: str


class Replacement:
    """`shadow` on its way to the place of `info`, in `database`."""

    def __init__(self, database: Database, info: CollectionInfo, shadow: CollectionInfo) -> None:
        self._database = database
        self._info = info
        self._shadow = shadow
        self._both = {"old": info.id, "new": shadow.id}

    def pending(self) -> list[Pending]:
        """What is still to be embedded, in the order of its coming."""
        with self._database.reading() as connection:
            return self._pending(connection)

    def switch(
        self,
        *,
        settled: Mapping[str, str],
        left: Iterable[str],
        failures: Iterable[Failure],
        keep: str | None,
    ) -> bool:
        """Puts the shadow's vectors in the place of the old ones, unless something is missing.

        settled: by item the digest under which it was dealt with, though the shadow differs.
        left: items that have no vector in the new space; they go. failures: to be noted, of those.
        keep: the name of a collection to make of the old vectors and a copy of the items; raises
        Conflict when it is taken.
        """
        with self._database.writing() as connection:
            if any(settled.get(item.key) != item.digest for item in self._pending(connection)):
                return False
            Writing(connection, self._info)  # raises NotFound when it is no longer what it was
            if keep is not None:
                self._keep(connection, keep)
            for statement in _DROP:
                connection.execute(statement, self._both)
            reach("replacement.dropped")
            self._leave(connection, left)
            for statement in _ADOPT:
                connection.execute(statement, self._both)
            reach("replacement.adopted")
            there = replace(self._info, space=self._shadow.space, chunker=self._shadow.chunker)
            writing = Writing(connection, there)
            for failure in failures:
                writing.fail(failure)
        return True

    def _keep(self, connection: sqlite3.Connection, name: str) -> None:
        check_free(connection, name)  # it was, in the beginning
        for statement in _KEEP:
            connection.execute(statement, {**self._both, "name": name})

    def _pending(self, connection: sqlite3.Connection) -> list[Pending]:
        return [Pending(*row) for row in connection.execute(_PENDING, self._both).fetchall()]

    def _leave(self, connection: sqlite3.Connection, left: Iterable[str]) -> None:
        ids = (self._info.id, self._shadow.id)
        left = list(left)
        connection.executemany(
            "INSERT INTO removals (collection, seq, item)"
            " SELECT collection, (SELECT seq FROM clock), id FROM items"
            " WHERE collection IN (?, ?) AND key = ?",
            [(*ids, key) for key in left],
        )
        connection.executemany(
            "DELETE FROM items WHERE collection IN (?, ?) AND key = ?",
            [(*ids, key) for key in left],
        )
        connection.execute(
            "DELETE FROM records WHERE collection IN (?, ?)"
            " AND NOT EXISTS (SELECT 1 FROM items WHERE record = records.id)",
            ids,
        )


def check_free(connection: sqlite3.Connection, name: str) -> None:
    """Raises Conflict when a collection or an alias is called so."""
    if connection.execute("SELECT 1 FROM collections WHERE name = ?", (name,)).fetchone():
        raise rows.taken(name)
    alias = connection.execute(
        "SELECT c.name FROM aliases a JOIN collections c ON c.id = a.collection WHERE a.name = ?",
        (name,),
    ).fetchone()
    if alias:
        raise rows.taken_by_alias(name, alias[0])
