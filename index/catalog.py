"""The one truth: which collections there are, what is in them, and every vector, in SQLite.

A `Catalog` is the file and its list of collections; what one of them holds is `contents.py`.
It computes no similarity, and knows an engine only to refuse one that cannot be opened.
"""

from __future__ import annotations

import re
from pathlib import Path

from embed.errors import BadInput, Conflict, NotFound
from embed.types import Space
from index import rows
from index.contents import Contents
from index.database import Database
from index.factory import open_index
from index.types import CollectionInfo
from index.writing import now

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


class Catalog:
    """The catalog at `path`, made with its folder when absent.

    Safe to use from several threads; other processes may read and write the same file.
    Raises CatalogError when it is damaged, locked or from a newer version; StorageFull; Forbidden.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path)

    def close(self) -> None:
        self._database.close()

    def contents(self, info: CollectionInfo) -> Contents:
        """What is in a collection. Cheap; raises nothing until it is used."""
        return Contents(self._database, info)

    def create_collection(
        self, name: str, *, space: Space, chunker: str, index: str = "exact"
    ) -> CollectionInfo:
        """index: an address for `index.factory`.

        Raises BadInput for a bad name, Conflict when it is taken, NotFound or MissingDependency
        for an index that cannot be had.
        """
        if not _NAME.fullmatch(name):
            raise BadInput(
                f"{name!r} is no name for a collection: 1 to 64 letters, digits, '.', '_' or '-', "
                "the first a letter, a digit or '_'",
                param="collection",
            )
        open_index(index, space.dim)
        with self._database.writing() as connection:
            if connection.execute("SELECT 1 FROM collections WHERE name = ?", (name,)).fetchone():
                raise Conflict(
                    f"there is a collection {name!r} already: use it, or choose another name",
                    param="collection",
                )
            connection.execute(
                "INSERT INTO collections (name, space, space_id, chunker, engine, created)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (name, rows.space_to_text(space), space.id, chunker, index, now()),
            )
        return self.collection(name)

    def collections(self) -> list[CollectionInfo]:
        """All of them, by name."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT id, name, space, chunker, engine, created FROM collections ORDER BY name"
            ).fetchall()
        return [rows.collection_from_row(row) for row in found]

    def collection(self, name: str) -> CollectionInfo:
        """Raises NotFound, naming the choices."""
        known = {info.name: info for info in self.collections()}
        if name not in known:
            choices = f"the choices are: {', '.join(known)}" if known else "there is none yet"
            raise NotFound(f"no collection is called {name!r}; {choices}", param="collection")
        return known[name]

    def delete_collection(self, name: str) -> None:
        """With everything in it. Raises NotFound."""
        number = self.collection(name).id
        with self._database.writing() as connection:
            connection.execute("DELETE FROM collections WHERE id = ?", (number,))

    def holds_upload(self, digest: str) -> bool:
        """Whether an item of any collection has these bytes and no file of its own."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT 1 FROM items WHERE digest = ? AND uri IS NULL LIMIT 1", (digest,)
            ).fetchone()
        return found is not None
