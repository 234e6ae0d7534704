"""The collections of a service: made, named, moved into other spaces, forgotten."""

from __future__ import annotations

from collections.abc import Callable

from api.migration import bring_over, give_up
from api.parts import DEFAULT_SPACE, Parts
from api.requests import CollectionSummary
from embed.batcher import Batcher
from index.batch.ingest import Progress
from index.collection import Collection
from index.engines import drop_engines
from index.migrate import MigrationReport
from index.types import Failure, Storage


class Keeping(Parts):
    """Collections as a whole."""

    def collections(self) -> list[CollectionSummary]:
        return [self.collection(info.name) for info in self._catalog.collections()]

    def collection(self, name: str) -> CollectionSummary:
        """Raises NotFound, naming the choices."""
        collection = self._shelves.open(name)
        return CollectionSummary(
            info=collection.info, counts=collection.counts(), failures=len(collection.failures())
        )

    def create_collection(
        self,
        name: str,
        *,
        space: str = DEFAULT_SPACE,
        index: str = "exact",
        storage: Storage = Storage.FLOAT32,
    ) -> CollectionSummary:
        """Raises Conflict when the name is taken, NotFound for an unknown space or index."""
        embedder = self._towers.get(space).embedder
        self._catalog.create_collection(
            name, space=embedder.space, chunker=embedder.chunker, index=index, storage=storage
        )
        return self.collection(name)

    def set_index(self, name: str, index: str, *, wait: bool = False) -> CollectionSummary:
        """Another engine answers from now on, filled from the catalog.

        wait: until it has built all that it builds, which else goes on beside searches.
        Raises NotFound, BadInput, MissingDependency, and then nothing has changed.
        """
        before = self._shelves.open(name)
        if before.info.index != index:
            self._catalog.set_index(name, index)
            before.close()
            drop_engines(self._catalog.contents(before.info))
            self._shelves.forget(before)
        if wait:
            self._shelves.open(name).settle()
        return self.collection(name)

    def delete_collection(self, name: str) -> None:
        """Forgets a collection, and the uploads that only it held. Indexed files stay untouched."""
        collection = self._shelves.open(name)
        uploads = {*collection.upload_digests(), *self._catalog.shadow_digests(collection.info)}
        collection.close()
        drop_engines(self._catalog.contents(collection.info))
        self._catalog.delete_collection(name)
        self._shelves.forget(collection)
        self._blobs.drop_unowned(uploads)

    def aliases(self) -> dict[str, str]:
        """Other names of collections, each with the one that it means."""
        return self._catalog.aliases()

    def point_alias(self, alias: str, name: str) -> None:
        """From now on `alias` means this collection. Raises BadInput, Conflict, NotFound."""
        self._catalog.point_alias(alias, name)

    def delete_alias(self, alias: str) -> None:
        """What it meant stays. Raises NotFound."""
        self._catalog.delete_alias(alias)

    def migrate(
        self,
        collection: str,
        space: str,
        *,
        drop: bool = False,
        keep: str | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> MigrationReport:
        """Embeds a collection anew in another space, and switches it over when nothing is missing.

        Raises what `index.migrate.migrate` raises.
        """
        return bring_over(
            self._catalog,
            self._shelves.open(collection),
            self._towers.get(space),
            self._blobs,
            self.settings.home / "jobs",
            workers=self.settings.threads,
            drop=drop,
            keep=keep,
            progress=progress,
        )

    def give_up_migration(self, collection: str) -> None:
        """Forgets what a migration that was broken off had done. The collection stays as it is."""
        source = self._shelves.open(collection)
        give_up(self._catalog, source, self._blobs, self.settings.home / "jobs")

    def failures(self, collection: str) -> list[Failure]:
        """The files of a collection that could not be indexed, and why."""
        return self._shelves.open(collection).failures()

    def _open_with_tower(self, name: str) -> tuple[Collection, Batcher]:
        collection = self._shelves.open(name)
        return collection, self._towers.of(collection.info)
