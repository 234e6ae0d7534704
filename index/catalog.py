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
from index.keys import NO_KEYS, Keys
from index.replacement import Replacement, check_free
from index.types import CollectionInfo, Storage
from index.writing import now

_COLUMNS = "id, name, space, chunker, engine, created, storage"

SHADOW = "~migrating"
"""After the name of a collection: of the one that is to take its place. No name of a user's."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


class Catalog:
    """The catalog at `path`, made with its folder when absent.

    Safe to use from several threads; other processes may read and write the same file.
    read_only: as `Database` has it. Raises CatalogError when it is damaged, locked or from a newer
    version; StorageFull; Forbidden.
    """

    def __init__(self, path: Path, keys: Keys = NO_KEYS, *, read_only: bool = False) -> None:
        self._database = Database(path, read_only=read_only)
        self._keys = keys

    def close(self) -> None:
        self._database.close()

    def contents(self, info: CollectionInfo) -> Contents:
        """What is in a collection. Cheap; raises nothing until it is used."""
        return Contents(self._database, info, self._keys)

    def shadow(self, info: CollectionInfo, *, space: Space, chunker: str) -> CollectionInfo:
        """The collection that is to take the place of `info`, in another space: as far as it came,
        or empty. One for yet another space, or cut otherwise, is forgotten.
        """
        name = info.name + SHADOW
        with self._database.writing() as connection:
            connection.execute(
                "DELETE FROM collections WHERE name = ? AND (space_id, chunker) != (?, ?)",
                (name, space.id, chunker),
            )
            connection.execute(
                "INSERT OR IGNORE INTO collections"
                " (name, space, space_id, chunker, engine, created, storage)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    *(name, rows.space_to_text(space), space.id, chunker, info.index, now()),
                    info.storage,
                ),
            )
        with self._database.reading() as connection:
            row = connection.execute(
                f"SELECT {_COLUMNS} FROM collections WHERE name = ?",  # noqa: S608 - our own columns
                (name,),
            ).fetchone()
        return rows.collection_from_row(row)

    def shadow_digests(self, info: CollectionInfo) -> list[str]:
        """Of the items in what is to take the place of `info`; some may be in it no more."""
        with self._database.reading() as connection:
            held = connection.execute(
                "SELECT DISTINCT digest FROM items"
                " WHERE collection = (SELECT id FROM collections WHERE name = ?)",
                (info.name + SHADOW,),
            ).fetchall()
        return [digest for (digest,) in held]

    def drop_shadow(self, info: CollectionInfo) -> None:
        """Forgets what was to take the place of `info`."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM collections WHERE name = ?", (info.name + SHADOW,))

    def replacement(self, info: CollectionInfo, shadow: CollectionInfo) -> Replacement:
        """How `shadow` comes to stand in the place of `info`."""
        return Replacement(self._database, info, shadow)

    def create_collection(
        self,
        name: str,
        *,
        space: Space,
        chunker: str,
        index: str = "exact",
        storage: Storage = Storage.FLOAT32,
    ) -> CollectionInfo:
        """index: an address for `index.factory`.

        Raises BadInput for a bad name, Conflict when it is taken, NotFound or MissingDependency
        for an index that cannot be had.
        """
        self.check_new_name(name)
        open_index(index, space.dim).close()
        with self._database.writing() as connection:
            check_free(connection, name)
            connection.execute(
                "INSERT INTO collections (name, space, space_id, chunker, engine, created, storage)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (name, rows.space_to_text(space), space.id, chunker, index, now(), storage),
            )
        return self.collection(name)

    def collections(self) -> list[CollectionInfo]:
        """All of them, by name, but those that are still to take another's place."""
        with self._database.reading() as connection:
            found = connection.execute(
                f"SELECT {_COLUMNS} FROM collections WHERE name NOT LIKE '%~%' ORDER BY name"  # noqa: S608 - our own columns
            ).fetchall()
        return [rows.collection_from_row(row) for row in found]

    def collection(self, name: str) -> CollectionInfo:
        """By its name or an alias. Raises NotFound, naming the choices."""
        with self._database.reading() as connection:
            row = connection.execute(
                f"SELECT {_COLUMNS} FROM collections WHERE name NOT LIKE '%~%' AND"  # noqa: S608 - our own columns
                " (name = ?1 OR id = (SELECT collection FROM aliases WHERE name = ?1))",
                (name,),
            ).fetchone()
        if row is None:
            known = [*(info.name for info in self.collections()), *self.aliases()]
            choices = f"the choices are: {', '.join(known)}" if known else "there is none yet"
            raise NotFound(f"no collection is called {name!r}; {choices}", param="collection")
        return rows.collection_from_row(row)

    def set_index(self, name: str, index: str) -> CollectionInfo:
        """Another engine answers from now on; the vectors stay what they are.

        index: an address for `index.factory`. Raises NotFound, and what opening the engine raises.
        """
        info = self.collection(name)
        open_index(index, info.space.dim).close()
        with self._database.writing() as connection:
            connection.execute("UPDATE collections SET engine = ? WHERE id = ?", (index, info.id))
        return self.collection(info.name)

    def check_new_name(self, name: str) -> None:
        """Raises BadInput for a bad name, Conflict when a collection or an alias has it."""
        _check_spelling(name, "collection")
        with self._database.reading() as connection:
            check_free(connection, name)

    def delete_collection(self, name: str) -> None:
        """With everything in it, what is to take its place, and its aliases. Raises NotFound, and
        Conflict for an alias: it is no name to delete by."""
        info = self.collection(name)
        if info.name != name:
            raise Conflict(
                f"{name!r} is an alias of collection {info.name!r}: delete the alias, or the "
                "collection by its own name",
                param="collection",
            )
        number = info.id
        with self._database.writing() as connection:
            connection.execute(
                "DELETE FROM collections WHERE id = ? OR name = ?", (number, name + SHADOW)
            )

    # Aliases

    def aliases(self) -> dict[str, str]:
        """Other names, each with the name of the collection that it means, in order."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT a.name, c.name FROM aliases a JOIN collections c ON c.id = a.collection"
                " ORDER BY a.name"
            ).fetchall()
        return dict(found)

    def point_alias(self, alias: str, name: str) -> CollectionInfo:
        """From now on `alias` means what `name` means now. Whoever asks for it meanwhile finds the
        one before or this one, never none.

        Raises BadInput for a bad alias, Conflict when a collection is called so, NotFound.
        """
        _check_spelling(alias, "alias")
        info = self.collection(name)
        with self._database.writing() as connection:
            if connection.execute("SELECT 1 FROM collections WHERE name = ?", (alias,)).fetchone():
                raise rows.taken(alias, "alias")
            made = connection.execute(
                "INSERT OR REPLACE INTO aliases (name, collection, created)"
                " SELECT ?, id, ? FROM collections WHERE id = ?",
                (alias, now(), info.id),
            ).rowcount
        if not made:
            raise rows.gone(info)
        return info

    def delete_alias(self, alias: str) -> None:
        """What it means stays. Raises NotFound, naming the choices."""
        with self._database.writing() as connection:
            gone = connection.execute("DELETE FROM aliases WHERE name = ?", (alias,)).rowcount
        if not gone:
            known = self.aliases()
            choices = f"the choices are: {', '.join(known)}" if known else "there is none yet"
            raise NotFound(f"no alias is called {alias!r}; {choices}", param="alias")

    def holds_upload(self, digest: str) -> bool:
        """Whether an item of any collection has these bytes and no file of its own."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT 1 FROM items WHERE digest = ? AND uri IS NULL LIMIT 1", (digest,)
            ).fetchone()
        return found is not None


def _check_spelling(name: str, param: str) -> None:
    if not _NAME.fullmatch(name):
        noun = "an alias" if param == "alias" else "a collection"
        raise BadInput(
            f"{name!r} is no name for {noun}: 1 to 64 letters, digits, '.', '_' or '-', the first "
            "a letter, a digit or '_'",
            param=param,
        )
