"""A snapshot of a library, or of one collection, while others read and write it.

The catalog is copied as it is at one moment. The bytes of uploads never change, so they are linked
where the disk allows, else copied; those that an item lost in between are told by taking the
catalog once more. Broken off, the same call goes on with the bytes it has.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from embed.calibration import Calibrations
from embed.errors import CatalogError, Conflict, NotFound
from index.batch.ingest import Progress
from index.care.copying import copy_collections
from index.care.package import CATALOG, Facts, Manifest, pack, seal
from index.database import Database
from index.disk import alone, copy_file, explained, make_folder, sha256_of, sync
from index.failpoints import reach
from index.home import Home, blob_path
from index.types import CollectionInfo

_ATTEMPTS = 5

Tell = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """path: of the folder or .tar. bytes: of all its files."""

    path: Path
    manifest: Manifest
    bytes: int

    def to_json(self) -> dict[str, Any]:
        told = ("scope", "version", "created", "collections", "items", "missing")
        return {
            "snapshot": str(self.path),
            "bytes": self.bytes,
            "files": len(self.manifest.files),
            **{name: getattr(self.manifest, name) for name in told},
        }


def snapshot(
    home: Home,
    path: Path,
    *,
    collection: CollectionInfo | None = None,
    progress: Tell | None = None,
) -> Snapshot:
    """Writes all of it, or one collection, to a new folder at `path`, or a file if that ends in
    .tar. On return it is on the disk; before, nothing has that name.

    Raises Conflict when something is there already, NotFound without a library, StorageFull,
    Forbidden, CatalogError when the catalog is damaged.
    """
    path = path.absolute()
    if os.path.lexists(path):
        raise Conflict(f"there is something at {path} already: name a place that is free")
    if not home.catalog.is_file():
        raise NotFound(f"there is no library at {home.root}")
    aside = path.with_name(f".{path.name}.partial")
    busy = f"another process writes {path} at this moment: let it finish"
    try:
        make_folder(path.parent)
        with alone(path.with_name(f".{path.name}.lock"), busy):
            made = _Making(home, aside, collection, progress or _silent).run(path)
            path.with_name(f".{path.name}.lock").unlink()
    except OSError as error:
        raise explained(error, f"the snapshot {path}") from error
    return made


@dataclass(slots=True, eq=False)
class _Making:
    home: Home
    folder: Path
    collection: CollectionInfo | None
    progress: Tell

    def run(self, path: Path) -> Snapshot:
        make_folder(self.folder)
        for _ in range(_ATTEMPTS):
            wanted = self._catalog()
            reach("snapshot.catalog")
            missing = self._blobs(wanted)
            reach("snapshot.blobs")
            if not self._still_wanted(missing) ^ missing:
                break
        else:
            raise Conflict(f"{self.home.root} is written faster than it can be copied: try again")
        self._calibrations()
        manifest = self._manifest(sorted(missing))
        seal(self.folder, manifest)
        reach("snapshot.sealed")
        self._publish(manifest, path)
        reach("snapshot.published")
        return Snapshot(
            path=path,
            manifest=manifest,
            bytes=sum(facts.size for facts in manifest.files.values()),
        )

    def _catalog(self) -> set[str]:
        """Copies it anew. Returns the digests of the uploads that it names."""
        path = self.folder / CATALOG
        path.unlink(missing_ok=True)
        self._tell("catalog", 0, 1)
        with closing(Database(self.home.catalog, read_only=True)) as database:
            if self.collection is None:
                database.copy_to(path)
            else:
                _copy_one(database, path, self.collection)
        with closing(Database(path, read_only=True)) as copy, copy.reading() as connection:
            (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if state != "ok":
                raise CatalogError(
                    f"the catalog of {self.home.root} is damaged ({state}): repair it first"
                )
            return _uploads(connection)

    def _blobs(self, wanted: set[str]) -> set[str]:
        """Returns those that are not there, or are not what they were."""
        missing = set()
        for done, digest in enumerate(sorted(wanted)):
            self._tell("uploads", done, len(wanted))
            here, there = blob_path(self.home.blobs, digest), self._blob(digest)
            if there.exists() and sha256_of(there) == digest:
                continue
            there.unlink(missing_ok=True)
            try:
                if _link_or_copy(here, there) != digest:
                    there.unlink()
                    missing.add(digest)
            except FileNotFoundError:
                missing.add(digest)
        for stale in self.folder.glob("blobs/??/*"):
            if stale.name not in wanted:
                stale.unlink()
        return missing

    def _blob(self, digest: str) -> Path:
        path = blob_path(self.folder / "blobs", digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _still_wanted(self, missing: set[str]) -> set[str]:
        database = Database(self.home.catalog, read_only=True)
        with closing(database), database.reading() as connection:
            return missing & _uploads(connection)

    def _calibrations(self) -> None:
        found = sorted(self.home.calibrations.glob("*.json"))
        if self.collection is not None:
            own = Calibrations(self.home.calibrations).path(self.collection.space)
            found = [path for path in found if path == own]
        for path in found:
            (self.folder / "calibrations").mkdir(exist_ok=True)
            with path.open("rb") as file:
                copy_file(file, self.folder / "calibrations" / path.name)

    def _manifest(self, missing: list[str]) -> Manifest:
        files = {}
        names = [CATALOG, *(str(p.relative_to(self.folder)) for p in self.folder.glob("*/**/*"))]
        for name in sorted(names):
            path = self.folder / name
            if path.is_file():
                # A blob was named by its digest when it was found to have it.
                digest = path.name if name.startswith("blobs/") else sha256_of(path)
                files[name] = Facts(path.stat().st_size, digest)
        copy = Database(self.folder / CATALOG, read_only=True)
        with closing(copy), copy.reading() as connection:
            (items,) = connection.execute("SELECT count(*) FROM items").fetchone()
            (epoch,) = connection.execute("SELECT epoch FROM meta").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            found = connection.execute("SELECT name FROM collections ORDER BY name").fetchall()
        return Manifest(
            scope="home" if self.collection is None else "collection",
            version=version,
            epoch=epoch,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            collections=[name for (name,) in found],
            items=items,
            missing=missing,
            files=files,
        )

    def _publish(self, manifest: Manifest, path: Path) -> None:
        if path.suffix != ".tar":
            self.folder.rename(path)
            sync(path.parent)
            return
        tar = self.folder.with_suffix(".tar-partial")
        self._tell("tar", 0, 1)
        pack(self.folder, manifest, tar)
        reach("snapshot.packed")
        tar.rename(path)
        sync(path.parent)
        shutil.rmtree(self.folder)

    def _tell(self, what: str, done: int, total: int) -> None:
        self.progress(
            Progress(phase="indexing", done=done, total=total, failed=0, current=what, noun="file")
        )


def _copy_one(database: Database, path: Path, info: CollectionInfo) -> None:
    """A catalog of one collection, from one view of the one that has it."""
    with closing(Database(path)) as new, new.writing() as writing, database.reading() as reading:
        found = reading.execute("SELECT 1 FROM collections WHERE id = ?", (info.id,)).fetchone()
        if found is None:
            raise NotFound(f"collection {info.name!r} was deleted meanwhile", param="collection")
        copy_collections(reading, writing, [info.id])
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it


def _uploads(connection: sqlite3.Connection) -> set[str]:
    found = connection.execute("SELECT digest FROM items WHERE uri IS NULL AND digest != ''")
    return {digest for (digest,) in found}


def _link_or_copy(source: Path, path: Path) -> str:
    """The digest of what is at `path` then. Raises FileNotFoundError."""
    with source.open("rb") as file:
        try:
            os.link(source, path)
        except FileNotFoundError:
            raise
        except OSError:  # another disk, or one that cannot
            return copy_file(file, path)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _silent(_: Progress) -> None:
    pass
