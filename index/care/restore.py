"""A snapshot back into a library: all that it holds in the place of all there is, or one collection
beside the others.

Everything is checked first. Then the bytes of uploads come, and last, in one transaction, the rows:
whoever reads meanwhile sees what was before, or what is after. Ids are never used twice and a home
that was restored draws a new epoch, so that what engines keep of the time before is dropped. A
catalog that is damaged is kept beside the new one. Broken off, the same call begins again.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embed.errors import BadInput, CatalogError, Conflict, NotFound
from index.batch.ingest import Progress
from index.care.copying import copy_collections
from index.care.package import CATALOG, Package
from index.care.recover import replace_damaged
from index.care.verify import is_damage
from index.catalog import Catalog
from index.database import Database, migrations
from index.disk import alone, copy_file, explained, make_folder, publish, sha256_of
from index.failpoints import reach
from index.home import Home, blob_path

Tell = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """collections: that are there now because of it. missing: of which uploads the bytes were gone
    when the snapshot was made. kept: the damaged catalog that was there before."""

    collections: list[str]
    items: int
    missing: list[str]
    kept: Path | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "restored": self.collections,
            "items": self.items,
            "missing": self.missing,
            "kept": None if self.kept is None else str(self.kept),
        }


def restore(
    source: Path, home: Home, *, replace: bool = False, progress: Tell | None = None
) -> Restored:
    """All that the snapshot at `source` holds, in the place of all that the home holds.

    replace: without it a home that holds a collection is left alone, and Conflict raised.
    Raises NotFound, BadInput for what is no whole snapshot, CatalogError for one of a newer
    version, StorageFull, Forbidden, and then the home is as it was.
    """
    with _checked(source, home, progress or _silent) as staged:
        return staged.all(replace=replace)


def restore_collection(
    source: Path,
    home: Home,
    *,
    collection: str | None = None,
    name: str | None = None,
    progress: Tell | None = None,
) -> Restored:
    """One collection of a snapshot, beside what the home holds. collection: which, where it has
    several. name: that it is to have here. Raises Conflict when that is taken, else as `restore`.
    """
    with _checked(source, home, progress or _silent) as staged:
        return staged.one(collection, name)


@contextmanager
def _checked(source: Path, home: Home, progress: Tell) -> Iterator[_Staged]:
    """Every file of a snapshot, compared with its manifest, in a folder of the home's."""
    folder = home.root / ".restoring"
    busy = f"another snapshot is being restored into {home.root}: let that finish"
    try:
        make_folder(home.root, 0o700)
        with (
            alone(home.root / ".restoring.lock", busy),
            closing(Package(source, len(migrations()))) as package,
        ):
            shutil.rmtree(folder, ignore_errors=True)
            try:
                yield _Staged(package, home, folder, progress).check()
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise explained(error, f"the snapshot {source} or the home {home.root}") from error


@dataclass(slots=True, eq=False)
class _Staged:
    package: Package
    home: Home
    folder: Path
    progress: Tell

    def check(self) -> _Staged:
        """Brings in what the home has not. Raises BadInput for a file that is not what it was."""
        files = self.package.manifest.files
        for done, (name, facts) in enumerate(sorted(files.items())):
            self._tell(name, done, len(files))
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if self._has(name, facts.sha256):
                os.link(self.home.root / name, path)  # it may be deleted meanwhile
                continue
            with self.package.open(name) as file:
                digest = copy_file(file, path)
            if (digest, path.stat().st_size) != (facts.sha256, facts.size):
                raise BadInput(
                    f"{self.package.source} is damaged: {name} is not what its manifest says"
                )
            reach("restore.file")
        reach("restore.staged")
        return self

    def _has(self, name: str, digest: str) -> bool:
        here = self.home.root / name
        return name.startswith("blobs/") and here.is_file() and sha256_of(here) == digest

    def all(self, *, replace: bool) -> Restored:
        kept = None
        caches = list(self.home.indexes.glob("*-*"))
        with closing(Database(self.folder / CATALOG)) as source:
            try:
                with closing(Database(self.home.catalog)) as target:
                    if not replace:
                        self._refuse_full(target)
                    stale = self._replace(source, target)
            except CatalogError as error:
                if not is_damage(error) or not replace:
                    raise
                kept = self._instead_of_damaged(source)
                stale = set()
        for digest in stale:
            blob_path(self.home.blobs, digest).unlink(missing_ok=True)
        for folder in caches:
            shutil.rmtree(folder, ignore_errors=True)
        manifest = self.package.manifest
        return Restored(
            collections=list(manifest.collections),
            items=manifest.items,
            missing=list(manifest.missing),
            kept=kept,
        )

    def one(self, collection: str | None, name: str | None) -> Restored:
        with (
            closing(Database(self.folder / CATALOG)) as source,
            closing(Catalog(self.home.catalog)) as catalog,
            closing(Database(self.home.catalog)) as target,
            source.reading() as reading,
        ):
            number, there = self._chosen(reading, collection)
            (items,) = reading.execute(
                "SELECT count(*) FROM items WHERE collection = ?", (number,)
            ).fetchone()
            here = name or there
            catalog.check_new_name(here)
            self._files()
            tell = self._rows(items)
            with target.writing() as writing:
                copy_collections(reading, writing, [number], renamed={number: here}, tell=tell)
                reach("restore.copied")
        reach("restore.done")
        return Restored(
            collections=[here], items=items, missing=list(self.package.manifest.missing)
        )

    def _chosen(self, reading: sqlite3.Connection, collection: str | None) -> tuple[int, str]:
        found = reading.execute(
            "SELECT name, id FROM collections WHERE name NOT LIKE '%~%' ORDER BY name"
        ).fetchall()
        names = dict(found)
        choices = f"the choices are: {', '.join(names)}"
        if collection is None and len(names) != 1:
            raise BadInput(
                f"{self.package.source} holds {len(names)} collections: name one; {choices}",
                param="collection",
            )
        wanted = collection or next(iter(names))
        if wanted not in names:
            raise NotFound(
                f"{self.package.source} holds no collection {wanted!r}; {choices}",
                param="collection",
            )
        return names[wanted], wanted

    def _refuse_full(self, target: Database) -> None:
        with target.reading() as connection:
            found = connection.execute("SELECT name FROM collections ORDER BY name").fetchall()
        if found:
            names = ", ".join(name for (name,) in found)
            raise Conflict(
                f"{self.home.root} holds collections already ({names}), and a restored home holds "
                "what the snapshot holds and nothing else: say that they are to be replaced "
                "(--yes), or name another home"
            )

    def _replace(self, source: Database, target: Database) -> set[str]:
        """Returns the digests of uploads that no item has any more."""
        self._files()
        with source.reading() as reading, target.writing() as writing:
            before = _uploads(writing)
            writing.execute("DELETE FROM collections")
            numbers = [number for (number,) in reading.execute("SELECT id FROM collections")]
            tell = self._rows(self.package.manifest.items)
            copy_collections(reading, writing, numbers, aliases=True, tell=tell)
            writing.execute("UPDATE meta SET epoch = lower(hex(randomblob(16)))")
            after = _uploads(writing)
            reach("restore.copied")
        reach("restore.done")
        return before - after

    def _instead_of_damaged(self, source: Database) -> Path:
        def fill(path: Path) -> None:
            with closing(Database(path)) as target:
                self._replace(source, target)

        return replace_damaged(self.home.catalog, fill)

    def _files(self) -> None:
        """Uploads and calibrations, each under its own name, before the rows that mean them."""
        for name in sorted(self.package.manifest.files):
            staged, path = self.folder / name, self.home.root / name
            if name == CATALOG:
                continue
            make_folder(path.parent)
            os.utime(staged)  # so that nobody takes it for what an upload left behind
            publish(staged, path)
        reach("restore.files")

    def _rows(self, total: int) -> Callable[[str, int], None]:
        return lambda table, done: self._tell(table, done, max(done, total))

    def _tell(self, what: str, done: int, total: int) -> None:
        self.progress(
            Progress(phase="indexing", done=done, total=total, failed=0, current=what, noun="file")
        )


def _uploads(connection: sqlite3.Connection) -> set[str]:
    found = connection.execute("SELECT DISTINCT digest FROM items WHERE uri IS NULL")
    return {digest for (digest,) in found}


def _silent(_: Progress) -> None:
    pass
