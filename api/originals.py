"""Media handed in from outside, and the bytes behind any item, on their way out again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from api.blobs import Blobs
from api.requests import MediaFile, Upload, UploadOutcome
from embed.batcher import Batcher
from embed.errors import (
    CrossbindError,
    Forbidden,
    NotFound,
    Overloaded,
    UnsupportedMedia,
    UnsupportedModality,
)
from embed.media.image import thumbnail
from embed.media.read import Raw, open_media
from embed.media.sniff import HEAD, media_type
from embed.media.source import open_regular, shown
from embed.media.text import title_of
from embed.types import Item, Modality
from index.collection import Collection
from index.pieces import Pieces, cut
from index.types import Entry
from index.walk import path_of


def take_in(
    uploads: Sequence[Upload], target: Collection, batcher: Batcher, blobs: Blobs
) -> list[UploadOutcome]:
    """Embeds uploads together and stores each on its own, so that one that fails fails alone.

    Raises Overloaded, and then nothing was stored.
    """
    started = [
        _start(upload, target, batcher, block=position > 0)
        for position, upload in enumerate(uploads)
    ]
    return [
        _finish(upload, begun, target, blobs)
        for upload, begun in zip(uploads, started, strict=True)
    ]


def _start(
    upload: Upload, target: Collection, batcher: Batcher, *, block: bool
) -> tuple[Raw, Pieces] | CrossbindError:
    try:
        raw = open_media(upload.data, accepts=batcher.embedder.modalities, name=upload.name)
        return raw, cut(raw, target, batcher, block=block)
    except Overloaded:
        raise
    except CrossbindError as error:
        return error


def _finish(
    upload: Upload,
    begun: tuple[Raw, Pieces] | CrossbindError,
    target: Collection,
    blobs: Blobs,
) -> UploadOutcome:
    if isinstance(begun, CrossbindError):
        return UploadOutcome(id=upload.id, error=begun)
    raw, pieces = begun
    try:
        fragments = pieces.fragments()
        entry = Entry(
            modality=raw.modality,
            digest=raw.digest,
            fragments=fragments,
            id=upload.id,
            record=upload.record,
            title=upload.name or (title_of(pieces.text) if pieces.text else None),
            text=pieces.text,
            metadata=upload.metadata,
        )
        with blobs.ownership:
            replaced = [item.digest for item in _known(upload, target)]
            try:
                blobs.put(raw.digest, upload.data)  # first: no item is ever without its bytes
                [item_id] = target.write([entry])
            finally:
                blobs.drop_unowned([raw.digest, *replaced])
    except CrossbindError as error:
        return UploadOutcome(id=upload.id, error=error)
    return UploadOutcome(id=item_id, modality=raw.modality)


def _known(upload: Upload, target: Collection) -> list[Item]:
    try:
        return [target.item(upload.id)] if upload.id else []
    except NotFound:
        return []


def bytes_of(item: Item, blobs: Blobs) -> Path:
    """Where an item's bytes lie: its own file, or an upload. Raises NotFound."""
    if item.uri is None:
        return blobs.get(item.digest)
    path = path_of(item.uri)
    if path is None:
        raise NotFound(f"{item.uri} is not a file on this machine")
    return path


def media_file(item: Item, blobs: Blobs) -> MediaFile:
    """An item's bytes and their type, told by content. Raises NotFound when they are gone."""
    path = bytes_of(item, blobs)
    try:
        with open_regular(path, shown(path)) as file:
            kind = media_type(file.read(HEAD))
            status = os.fstat(file.fileno())
    except (Forbidden, NotFound, UnsupportedMedia) as error:
        raise NotFound(
            f"{error.message}: it was moved, deleted or replaced since it was indexed; ingest its "
            "folder again"
        ) from error
    # A file may have changed since it was indexed, and then its digest says nothing of it.
    version = f"{item.digest[:32]}-{status.st_mtime_ns:x}-{status.st_size:x}"
    return MediaFile(path=path, media_type=kind, version=version)


def preview(item: Item, blobs: Blobs, *, side: int) -> bytes:
    """A small JPEG. Raises UnsupportedModality for anything but an image."""
    if item.modality is not Modality.IMAGE:
        raise UnsupportedModality(f"only images have a preview; {item.id} is {item.modality}")
    return thumbnail(bytes_of(item, blobs), side=side)
