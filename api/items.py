"""What collections hold: files and uploads taken in, items read, changed, forgotten."""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from api.indexing import HowToIngest, index_all
from api.keeping import Keeping
from api.originals import media_file, take_in
from api.parts import DEFAULT_SPACE
from api.requests import MediaFile, Upload, UploadOutcome
from embed.batcher import Batcher
from embed.errors import Conflict, CrossbindError, NotFound, SpaceMismatch
from embed.types import Item, Modality
from index.batch.ingest import Progress, ingest
from index.batch.watch import watch
from index.collection import Collection
from index.metadata.filters import Filter
from index.types import IngestReport, Storage


class Items(Keeping):
    """Media in, items and their bytes out."""

    def ingest(
        self,
        paths: Sequence[Path | str],
        *,
        collection: str = "default",
        space: str | None = None,
        storage: Storage | None = None,
        workers: int | None = None,
        prune: bool = False,
        columns: str | None = None,
        ray: str | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> IngestReport:
        """Indexes what `paths` name (`index.batch.sources`), making the collection when it is not
        there yet. columns, ray: see `api.indexing.HowToIngest`."""
        target, batcher = self._target(collection, space, storage)
        how = HowToIngest(workers=workers, prune=prune, columns=columns, ray=ray)
        return index_all(paths, target, batcher, self._towers.options, how, progress)

    def watch(
        self,
        paths: Sequence[Path],
        *,
        collection: str = "default",
        space: str | None = None,
        storage: Storage | None = None,
        workers: int | None = None,
        every: float,
        stop: threading.Event,
        tell: Callable[[IngestReport | CrossbindError], None],
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """Keeps files and folders indexed until `stop` is set. Raises what `watch` raises."""

        def take(*, prune: bool, unfinished: frozenset[str]) -> IngestReport:
            # It may be migrated meanwhile.
            target, batcher = self._target(collection, space, storage)
            return ingest(
                paths,
                target,
                batcher,
                workers=workers or self.settings.threads,
                prune=prune,
                unfinished=unfinished,
                progress=progress,
            )

        watch(paths, take, every=every, stop=stop, tell=tell)

    def _target(
        self, collection: str, space: str | None, storage: Storage | None
    ) -> tuple[Collection, Batcher]:
        """Where to ingest into, made when it is not there yet. Raises SpaceMismatch, Conflict."""
        try:
            target, batcher = self._open_with_tower(collection)
        except NotFound:
            with suppress(Conflict):  # another ingest was faster
                self.create_collection(
                    collection, space=space or DEFAULT_SPACE, storage=storage or Storage.FLOAT32
                )
            target, batcher = self._open_with_tower(collection)
        if space is not None and self._towers.describe(space).space.name != target.info.space.name:
            raise SpaceMismatch(
                f"collection {collection!r} is in space {target.info.space.name!r}, not {space!r}: "
                "leave the space out, or name another collection",
                param="space",
            )
        if storage not in {None, target.info.storage}:
            raise Conflict(
                f"collection {collection!r} keeps its vectors as {target.info.storage}, not "
                f"{storage}: leave the storage out, or name another collection",
                param="storage",
            )
        return target, batcher

    def add_items(self, collection: str, uploads: Sequence[Upload]) -> list[UploadOutcome]:
        """Stores media handed in from outside. Each upload fails or succeeds on its own."""
        target, batcher = self._open_with_tower(collection)
        outcomes = take_in(uploads, target, batcher, self._blobs)
        lost = [n for n, outcome in enumerate(outcomes) if isinstance(outcome.error, NotFound)]
        if lost and not self._shelves.has_stayed(target):  # but was migrated meanwhile
            again = self.add_items(collection, [uploads[n] for n in lost])
            for n, outcome in zip(lost, again, strict=True):
                outcomes[n] = outcome
        return outcomes

    def item(self, collection: str, item_id: str) -> Item:
        """Raises NotFound."""
        return self._shelves.open(collection).item(item_id)

    def items(
        self,
        collection: str,
        *,
        limit: int = 100,
        cursor: str | None = None,
        modality: Modality | None = None,
        record: str | None = None,
        f: Filter | None = None,
    ) -> tuple[list[Item], str | None]:
        """A page of items in the order of their coming, and the cursor of the next page.

        record: only its items. f: only those it means.
        """
        target = self._shelves.open(collection)
        return target.items(limit=limit, cursor=cursor, modality=modality, record=record, f=f)

    def update_item(
        self,
        collection: str,
        item_id: str,
        *,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Item:
        """Changes what is said about an item; its vectors stay."""
        return self._shelves.use(
            collection, lambda target: target.update(item_id, title=title, metadata=metadata)
        )

    def delete_item(self, collection: str, item_id: str) -> None:
        """Forgets an item; a file it was indexed from stays where it is. Raises NotFound."""
        item = self.item(collection, item_id)
        self._shelves.use(collection, lambda target: target.delete([item_id]))
        self._blobs.drop_unowned([item.digest])

    def delete_where(self, collection: str, f: Filter) -> list[str]:
        """Forgets the items that a filter means. Returns their ids."""
        before = self._shelves.open(collection).upload_digests()
        gone = self._shelves.use(collection, lambda target: target.delete_where(f))
        after = self._shelves.open(collection).upload_digests()
        self._blobs.drop_unowned({*before} - {*after})
        return gone

    def media(self, collection: str, item_id: str) -> MediaFile:
        """The bytes behind an item. Raises NotFound when they are no longer there."""
        return media_file(self._shelves.open(collection).item(item_id), self._blobs)

    def preview(
        self,
        collection: str,
        item_id: str,
        *,
        side: int = 320,
        at: float | None = None,
        page: int | None = None,
    ) -> bytes:
        """A JPEG of at most `side` pixels on its longer side. Raises UnsupportedModality, NotFound.

        at: seconds into a film. page: of a document.
        """
        item = self._shelves.open(collection).item(item_id)
        file = media_file(item, self._blobs)
        return self._previews.get(file, item.modality, side=side, at=at, page=page)
