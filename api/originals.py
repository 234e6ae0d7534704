"""Media handed in from outside, and the bytes behind any item, on their way out again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from api.blobs import Blobs
from api.own_vectors import Own, check_tower, own
from api.requests import MediaFile, Upload, UploadOutcome
from api.shapes import PARTS
from embed.batcher import Batcher
from embed.errors import (
    Conflict,
    CrossbindError,
    Forbidden,
    NotFound,
    Overloaded,
    UnsupportedMedia,
)
from embed.media.read import Raw, open_media
from embed.media.sniff import HEAD, media_type
from embed.media.source import open_regular, shown
from embed.media.text import title_of
from embed.types import Item, Modality
from index.batch.pieces import Pieces, cut
from index.batch.walk import path_of
from index.collection import Collection
from index.types import Entry, part_id


def take_in(
    uploads: Sequence[Upload], target: Collection, batcher: Batcher, blobs: Blobs
) -> list[UploadOutcome]:
    """Embeds uploads together and stores each on its own, so that one that fails fails alone.

    What brings its vector is not embedded. Raises Overloaded, and then nothing was stored.
    """
    started = [
        _start(upload, target, batcher, block=position > 0)
        if upload.vector is None
        else _own(upload, target)
        for position, upload in enumerate(uploads)
    ]
    return [
        _finish(upload, begun, target, blobs)
        for upload, begun in zip(uploads, started, strict=True)
    ]


class _Begun(NamedTuple):
    """An upload that was opened: each part is on its way, or could not be cut."""

    raw: Raw
    parts: dict[Modality, Pieces | CrossbindError]


def _start(
    upload: Upload, target: Collection, batcher: Batcher, *, block: bool
) -> _Begun | CrossbindError:
    try:
        check_tower(target)
        raw = open_media(upload.data, accepts=batcher.embedder.modalities, name=upload.name)
    except CrossbindError as error:
        return error
    begun = _Begun(raw, {})
    for modality in raw.accepted:
        try:
            begun.parts[modality] = cut(raw, modality, target, batcher, block=block)
        except Overloaded:
            raise
        except CrossbindError as error:
            begun.parts[modality] = error
        block = True
    return begun


def _own(upload: Upload, target: Collection) -> Own | CrossbindError:
    try:
        return own(upload, target)
    except CrossbindError as error:
        return error


def _finish(
    upload: Upload, begun: _Begun | Own | CrossbindError, target: Collection, blobs: Blobs
) -> UploadOutcome:
    if isinstance(begun, CrossbindError):
        return UploadOutcome(id=upload.id, error=begun)
    try:
        if isinstance(begun, Own):
            entries, data = [begun.entry], begun.data
            left_out: dict[Modality, str] = {}
        else:
            entries, left_out = _entries(upload, begun, _known(upload, target))
            data = upload.data
        digest, stale = entries[0].digest, _stale(entries)
        with blobs.ownership:
            replaced = _known(upload, target)
            _check_again(upload, replaced, digest)
            try:
                blobs.put(digest, data)  # first: no item is ever without its bytes
                ids = target.write(entries, remove=stale)
            finally:
                blobs.drop_unowned([digest, *(item.digest for item in replaced)])
    except CrossbindError as error:
        return UploadOutcome(id=upload.id, error=error)
    items = {entry.modality: item for entry, item in zip(entries, ids, strict=True)}
    return UploadOutcome(id=ids[0], modality=entries[0].modality, items=items, left_out=left_out)


def _entries(
    upload: Upload, begun: _Begun, replaced: Sequence[Item]
) -> tuple[list[Entry], dict[Modality, str]]:
    """One for each medium, the main one first, and why the others are not there.

    Raises what befell the main one, or all of them.
    """
    main, *_ = begun.parts
    key = upload.id or uuid4().hex
    record = upload.record or (replaced[0].record if replaced else key)
    entries: list[Entry] = []
    left_out = {
        modality: f"{upload.name or 'it'}: {PARTS[modality]} is left out, because this space does "
        "not embed it"
        for modality in begun.raw.modalities
        if modality not in begun.raw.accepted
    }
    for modality, pieces in begun.parts.items():
        try:
            if isinstance(pieces, CrossbindError):
                raise pieces
            entry = Entry(
                modality=modality,
                digest=begun.raw.digest,
                fragments=pieces.fragments(),
                id=key if modality is main else part_id(key, modality),
                record=record,
                title=upload.name or (title_of(pieces.text) if pieces.text else None),
                text=pieces.text,
                metadata={**pieces.facts, **upload.metadata},
            )
            entries.append(entry)
        except CrossbindError as error:
            if modality is main:
                raise
            left_out[modality] = error.message
    return entries, left_out


def _stale(entries: Sequence[Entry]) -> list[str]:
    """Ids that an upload of the same id may have given before, and this one does not."""
    given = {entry.id for entry in entries}
    before = {part_id(str(entries[0].id), modality) for modality in Modality}
    return sorted(before - given)


def _check_again(upload: Upload, replaced: Sequence[Item], digest: str) -> None:
    """Raises Conflict where another request had the same key."""
    if upload.once and any(item.digest != digest for item in replaced):
        raise Conflict(
            "this Idempotency-Key was used before, with other content: a new request wants a new "
            "key",
            param="Idempotency-Key",
        )


def _known(upload: Upload, target: Collection) -> list[Item]:
    try:
        return [target.item(upload.id)] if upload.id else []
    except NotFound:
        return []


def bytes_of(item: Item, blobs: Blobs) -> Path:
    """Where an item's bytes lie: its own file, an upload, or what was fetched from the archive or
    store that it lies in. Raises NotFound."""
    if item.uri is None:
        return blobs.get(item.digest)
    return path_of(item.uri) or blobs.fetched.get(item)


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
    here = item.uri is not None and path_of(item.uri) is not None
    name = shown(Path(path.name)) if here else item.title
    return MediaFile(path=path, media_type=kind, version=version, name=name)
