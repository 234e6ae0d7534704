"""Keeping a library whole: snapshots, restoring, verifying, repairing.

It opens the library's files by itself and needs no `Service`, which could not even be made of a
catalog that is damaged. What is done is in `index/`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from api.config import Settings
from embed.errors import CatalogError, Forbidden, NotFound
from index.batch.ingest import Progress
from index.care.findings import Verification
from index.care.repair import Repair, repair
from index.care.restore import Restored, restore, restore_collection
from index.care.snapshot import Snapshot, snapshot
from index.care.verify import is_damage, verify
from index.catalog import Catalog
from index.database import Database
from index.home import Home
from index.types import CollectionInfo

Tell = Callable[[Progress], None] | None


class Care:
    """The library at `settings.home`. Raises what the functions of `index/` raise that it calls."""

    def __init__(self, settings: Settings) -> None:
        self._home = Home(settings.home)
        self._read_only = settings.read_only

    def snapshot(
        self, path: Path, *, collection: str | None = None, progress: Tell = None
    ) -> Snapshot:
        """All of it, or one collection, in a new folder at `path`, or a file that ends in .tar."""
        info = self._info(collection)
        return snapshot(self._home, path, collection=info, progress=progress)

    def snapshot_for_client(self, collection: str) -> Snapshot:
        """One collection as a .tar of our own naming, among the home's snapshots."""
        self._refuse_read_only()
        name = f"{collection}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.tar"
        return self.snapshot(self._home.snapshots / name, collection=collection)

    def snapshots(self, collection: str) -> list[Path]:
        """Those that clients asked for, the oldest first."""
        name = re.compile(rf"{re.escape(collection)}-\d{{8}}T\d{{6}}\.\d{{6}}Z\.tar")
        found = self._home.snapshots.glob("*.tar")
        return sorted(path for path in found if name.fullmatch(path.name))

    def stored_snapshot(self, collection: str, name: str) -> Path:
        """Where a snapshot that a client asked for lies. Raises NotFound, naming the choices."""
        there = {path.name: path for path in self.snapshots(collection)}
        if name not in there:
            choices = f"the choices are: {', '.join(there)}" if there else "there is none yet"
            raise NotFound(
                f"collection {collection!r} has no snapshot {name!r}; {choices}", param="name"
            )
        return there[name]

    def drop_snapshot(self, collection: str, name: str) -> None:
        """Deletes one that a client asked for. Raises NotFound."""
        self._refuse_read_only()
        self.stored_snapshot(collection, name).unlink(missing_ok=True)

    def restore(self, source: Path, *, replace: bool = False, progress: Tell = None) -> Restored:
        """All that a snapshot holds, in the place of all there is."""
        self._refuse_read_only()
        return restore(source, self._home, replace=replace, progress=progress)

    def restore_collection(
        self,
        source: Path,
        *,
        collection: str | None = None,
        name: str | None = None,
        progress: Tell = None,
    ) -> Restored:
        """One collection of a snapshot, beside the others."""
        self._refuse_read_only()
        return restore_collection(
            source, self._home, collection=collection, name=name, progress=progress
        )

    def verify(self, collection: str | None = None, *, progress: Tell = None) -> Verification:
        """Whether all of it is whole, or one collection."""
        self._bring_up_to_date()
        return verify(self._home, collection=self._info(collection), progress=progress)

    def repair(self, collection: str | None = None, *, progress: Tell = None) -> Repair:
        """Mends what can be mended."""
        self._refuse_read_only()
        self._bring_up_to_date()
        return repair(self._home, collection=self._info(collection), progress=progress)

    def _bring_up_to_date(self) -> None:
        """A catalog of an older version, as any other command would."""
        if self._read_only or not self._home.catalog.exists():
            return
        try:
            Database(self._home.catalog).close()
        except CatalogError as error:
            if not is_damage(error):
                raise

    def _info(self, collection: str | None) -> CollectionInfo | None:
        if collection is None:
            return None
        with closing(Catalog(self._home.catalog, read_only=True)) as catalog:
            return catalog.collection(collection)

    def _refuse_read_only(self) -> None:
        if self._read_only:
            raise Forbidden(f"{self._home.root} is open to be read only: nothing changes")
