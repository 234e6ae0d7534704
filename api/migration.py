"""A collection into another space: what the index does, with the bytes of uploads at hand."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from api.blobs import Blobs
from api.locks import alone
from api.originals import bytes_of
from embed.batcher import Batcher
from embed.types import Item
from index.batch.ingest import Progress
from index.catalog import Catalog
from index.collection import Collection
from index.migrate import MigrationReport, migrate


def give_up(catalog: Catalog, source: Collection, blobs: Blobs, locks: Path) -> None:
    """Forgets a migration that was broken off. Raises Conflict while one is under way."""
    with _alone(source, locks):
        held = catalog.shadow_digests(source.info)
        catalog.drop_shadow(source.info)
        blobs.drop_unowned(held)


def bring_over(
    catalog: Catalog,
    source: Collection,
    batcher: Batcher,
    blobs: Blobs,
    locks: Path,
    *,
    workers: int,
    drop: bool,
    keep: str | None,
    progress: Callable[[Progress], None] | None,
) -> MigrationReport:
    """One at a time for each collection. Raises Conflict, and what `migrate` raises.

    locks: a folder.
    """
    uploads = {*source.upload_digests(), *catalog.shadow_digests(source.info)}

    def locate(item: Item) -> Path:
        if item.uri is None:
            uploads.add(item.digest)
        return bytes_of(item, blobs)

    with _alone(source, locks):
        report = migrate(
            catalog,
            source,
            batcher,
            locate,
            workers=workers,
            drop=drop,
            keep=keep,
            progress=progress,
        )
    blobs.drop_unowned(uploads)  # of items that went, here or meanwhile
    return report


def _alone(source: Collection, locks: Path) -> AbstractContextManager[None]:
    busy = f"collection {source.name!r} is being migrated already: let that finish, or cancel it"
    return alone(locks / f"migrating-{source.info.id}.lock", busy)
