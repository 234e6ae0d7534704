"""Rows of the catalog to nouns, and back. Pure functions: no connection is known here."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any, overload

import numpy as np

from embed.errors import BadInput, Conflict, InvalidVector, NotFound, SpaceMismatch
from embed.types import (
    CharSpan,
    Floats,
    Fragment,
    GeoPoint,
    Item,
    Metadata,
    Modality,
    Origin,
    Space,
    Span,
    check_unit,
    span_from_json,
    span_to_json,
)
from index.types import CollectionInfo, Entry, FileStamp, FileState, Storage

ITEM_COLUMNS = (
    "i.key, r.key, i.modality, i.uri, i.digest, i.title, i.text, i.origin, i.metadata, i.created"
)
PAGE_TEXT = 1000  # characters of a text in a list, where a thousand long ones would be gigabytes
PAGE_COLUMNS = ITEM_COLUMNS.replace("i.text", f"substr(i.text, 1, {PAGE_TEXT})")

Row = tuple[Any, ...]

_NUMBERS = {Storage.FLOAT32: "<f4", Storage.FLOAT16: "<f2"}

_SURROGATES = re.compile("[\ud800-\udfff]")


def collection_from_row(row: Row) -> CollectionInfo:
    """From id, name, space, chunker, engine, created, storage."""
    number, name, space, chunker, engine, created, storage = row
    return CollectionInfo(
        id=number,
        name=name,
        space=Space(**json.loads(space)),
        chunker=chunker,
        index=engine,
        created=created,
        storage=Storage(storage),
    )


def space_to_text(space: Space) -> str:
    return json.dumps(asdict(space))


def item_from_row(row: Row) -> Item:
    """From ITEM_COLUMNS."""
    key, record, modality, uri, digest, title, text, origin, metadata, created = row
    return Item(
        id=key,
        record=record,
        modality=Modality(modality),
        uri=uri,
        digest=digest,
        title=title,
        text=text,
        origin=Origin(origin),
        metadata=metadata_from_text(metadata),
        created=created,
    )


def fragment_from_row(row: Row) -> Fragment:
    """From a fragment's id and span, then ITEM_COLUMNS."""
    return Fragment(id=row[0], item=item_from_row(row[2:]), span=span_from_text(row[1]))


def file_states_from_rows(found: Iterable[Row]) -> dict[str, FileState]:
    """From uri, key, record key, modality, digest, size, mtime_ns, checked_ns, by file."""
    files: dict[str, FileState] = {}
    for uri, key, record, modality, digest, *stamp in found:
        file = uri.partition("#")[0]
        state = files.get(file)
        items = {Modality(modality): key, **(state.items if state else {})}
        known = None if stamp[0] is None else FileStamp(*stamp)
        files[file] = FileState(record=record, items=items, digest=digest, stamp=known)
    return files


def stamp_to_columns(stamp: FileStamp | None) -> tuple[int | None, int | None, int | None]:
    if stamp is None:
        return None, None, None
    return stamp.size, stamp.mtime_ns, stamp.checked_ns


def span_to_text(span: Span | None) -> str | None:
    return None if span is None else json.dumps(span_to_json(span))


@lru_cache(maxsize=8192)
def span_from_text(text: str | None) -> Span | None:
    return None if text is None else span_from_json(json.loads(text))


def passage(fragment: Fragment) -> str | None:
    """The words that a text fragment stands for; None for other media."""
    text = fragment.item.text
    if text is not None and isinstance(fragment.span, CharSpan):
        return text[fragment.span.start : fragment.span.end]
    return text


def metadata_to_text(metadata: Metadata) -> str:
    """JSON; a GeoPoint is an object of `lat` and `lon`. Raises BadInput naming the field."""
    stored = {name: _metadata_value(name, value) for name, value in metadata.items()}
    return storable(json.dumps(stored, ensure_ascii=False))


def metadata_from_text(text: str) -> Metadata:
    if text == "{}":  # most items
        return {}
    stored: dict[str, Any] = json.loads(text)
    return {
        name: GeoPoint(**value) if isinstance(value, dict) else value
        for name, value in stored.items()
    }


def _metadata_value(name: object, value: object) -> object:
    if isinstance(value, GeoPoint):
        return value._asdict()
    if isinstance(value, Mapping) and set(value) == {"lat", "lon"}:
        return GeoPoint(float(value["lat"]), float(value["lon"]))._asdict()
    values = value if isinstance(value, list) else [value]
    for scalar in values:
        finite = not isinstance(scalar, float) or np.isfinite(scalar)
        if not isinstance(scalar, str | int | float | bool) or not finite:
            raise BadInput(
                f"metadata {name!r} is {value!r}; a value is text, a finite number, true or false, "
                'a list of these, or a place {"lat", "lon"}',
                param="metadata",
            )
    return value


@overload
def storable(text: str) -> str: ...
@overload
def storable(text: None) -> None: ...
def storable(text: str | None) -> str | None:
    """Titles come from file names, and those may hold bytes that are no text: U+FFFD replaces them.

    One character for one, so that spans stay true.
    """
    return None if text is None else _SURROGATES.sub("\ufffd", text)


def vector_to_blob(vector: Floats, storage: Storage) -> bytes:
    return np.ascontiguousarray(vector, dtype=_NUMBERS[storage]).tobytes()


def vector_from_blob(blob: bytes, storage: Storage) -> Floats:
    """`(D,)` float32, each number as it was kept."""
    return np.frombuffer(blob, dtype=_NUMBERS[storage]).astype(np.float32, copy=False)


def vectors_from_blobs(blobs: Sequence[bytes], dim: int, storage: Storage) -> Floats:
    """N blobs to `(N, dim)`."""
    return vector_from_blob(b"".join(blobs), storage).reshape(len(blobs), dim)


def blob_size(dim: int, storage: Storage) -> int:
    """In bytes, of a vector."""
    return dim * np.dtype(_NUMBERS[storage]).itemsize


def check_entry(entry: Entry, info: CollectionInfo) -> None:
    """Raises SpaceMismatch, InvalidVector or BadInput before anything is written."""
    if entry.uri is not None:
        check_uri(entry.uri)
    for name, value in (("id", entry.id), ("record", entry.record)):
        if value is not None and (not 0 < len(value) <= 256 or _SURROGATES.search(value)):
            raise BadInput(f"{name} {value[:40]!r} must have 1 to 256 characters", param=name)
    joint = [fragment.joint for fragment in entry.fragments]
    native = [fragment.native for fragment in entry.fragments if fragment.native is not None]
    if any(vector.shape != (info.space.dim,) for vector in joint):
        shape = next(vector.shape for vector in joint if vector.shape != (info.space.dim,))
        raise SpaceMismatch(wrong_dim(shape[-1] if shape else 0, info))
    for vectors in (joint, native):
        if any(vector.ndim != 1 or vector.shape != vectors[0].shape for vector in vectors):
            raise InvalidVector("the vectors of one item must be of one length")
        if vectors:
            given, dim = np.stack(vectors), len(vectors[0])
            check_unit(given, dim)
            if info.storage is not Storage.FLOAT32:  # rounding adds to what the length is off
                check_unit(given.astype(_NUMBERS[info.storage]).astype(np.float32), dim)


def check_uri(uri: str) -> None:
    if not uri or not uri.isascii():
        raise BadInput(f"uri {uri!r} is not plain ASCII: percent-encode it", param="uri")


def gone(info: CollectionInfo) -> NotFound:
    """A collection is no longer what it was opened as."""
    return NotFound(
        f"collection {info.name!r} was deleted, or has left space {info.space.id} meanwhile: try "
        "again",
        param="collection",
    )


def taken(name: str, param: str = "collection") -> Conflict:
    return Conflict(
        f"there is a collection {name!r} already: use it, or choose another name", param=param
    )


def taken_by_alias(name: str, target: str) -> Conflict:
    return Conflict(
        f"{name!r} is an alias of collection {target!r}: choose another name, or delete the alias",
        param="collection",
    )


def wrong_dim(dim: int, info: CollectionInfo) -> str:
    return (
        f"a vector of {dim} numbers does not belong to collection {info.name!r}, which holds "
        f"space {info.space.id} of {info.space.dim}: embed with {info.space.name!r}, or use a "
        "collection of the other space"
    )


def cursor_after(row: int) -> str:
    """An opaque word for "what comes after this row"."""
    return base64.urlsafe_b64encode(f"after:{row}".encode()).decode()


def row_of_cursor(cursor: str | None) -> int:
    """0 for None, the beginning. Raises BadInput for a word that `cursor_after` did not make."""
    if cursor is None:
        return 0
    try:
        label, _, row = base64.urlsafe_b64decode(cursor).decode().partition(":")
        if label == "after" and 0 < int(row) < 2**63:
            return int(row)
    except (binascii.Error, ValueError):
        pass
    raise BadInput(
        f"cursor {cursor!r} is none of ours: pass the next_cursor of the page before, as it came",
        param="cursor",
    )
