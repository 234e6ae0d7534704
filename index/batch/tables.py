"""Parquet tables, a few rows in memory at a time: which columns are media, words, names, metadata.

img2dataset's output (`jpg`, `caption`, `key`, …) and tables of the Hugging Face kind (structs of
`bytes` and `path`) are read as they are; for others `Columns` says what is what. It knows no item.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from embed.errors import BadInput, CorruptMedia, MissingDependency, NotFound
from embed.media.source import shown
from embed.types import GeoPoint, Metadata, Scalar
from index.batch import remote

if TYPE_CHECKING:
    from pyarrow import DataType, Schema
    from pyarrow.parquet import ParquetFile

ROWS = 64
"""Held at a time, media and all."""

BUFFER = 2**20

_PATHS = ("path", "file", "filepath", "file_path", "image_path", "uri", "url")
_TEXTS = ("caption", "text", "txt")
_KEYS = ("key", "id")
_TITLES = ("title", "file_name", "filename", "name")


@dataclass(frozen=True, slots=True)
class Columns:
    """What the columns of a table are; what is left out is told from their names and types.

    media: of bytes, or of paths. text: of words, an item each. key: tells records apart; rows of
    one key belong together. title: what people call it. All others are metadata.
    """

    media: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    key: str | None = None
    title: str | None = None


def parse_columns(words: str | None) -> Columns:
    """From `media=photo,text=caption,key=id,title=name`. Raises BadInput."""
    given: dict[str, list[str]] = {"media": [], "text": [], "key": [], "title": []}
    for word in filter(None, (words or "").split(",")):
        role, sign, column = word.strip().partition("=")
        if not sign or role not in given or not column:
            raise BadInput(
                f"{word!r} names no column; wanted is media=, text=, key= or title= and the "
                "column's name, with commas between",
                param="columns",
            )
        given[role].append(column)
    one = {role: given[role][-1] if given[role] else None for role in ("key", "title")}
    return Columns(tuple(given["media"]), tuple(given["text"]), one["key"], one["title"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """media: by column, bytes or the path of a file, and what it is called, if it is called
    something. text: by column. key, title: None where the table has none."""

    number: int
    media: Mapping[str, tuple[bytes | str, str | None]]
    text: Mapping[str, str]
    key: str | None
    title: str | None
    metadata: Metadata


class Table:
    """The table at `uri`. Iterate it once; `share` is how much of it was given out.

    Raises CorruptMedia, BadInput when nothing in it can be indexed, MissingDependency, and what
    `remote.opened` raises.
    """

    def __init__(self, uri: str, columns: Columns) -> None:
        self.uri = uri
        self.share = 0.0
        self._columns = columns

    def __iter__(self) -> Iterator[Row]:
        with _opened(self.uri) as file:
            roles = _roles(file.schema_arrow, self._columns, self.uri)
            number, total = 0, max(1, file.metadata.num_rows)
            for batch in file.iter_batches(ROWS):
                for values in batch.to_pylist():
                    yield _row(number, values, roles)
                    number += 1
                    self.share = number / total


def cell(uri: str, row: int, column: str) -> bytes:
    """The bytes, or words, in one cell. Raises NotFound, CorruptMedia, MissingDependency, and what
    `remote.opened` raises."""
    with _opened(uri) as file:
        if column in file.schema_arrow.names:
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if row < rows:
                    return _cell(file, group, row, column, uri)
                row -= rows
    raise NotFound(f"{shown(column)} of that row is no longer in {uri}")


def _cell(file: ParquetFile, group: int, row: int, column: str, uri: str) -> bytes:
    for batch in file.iter_batches(ROWS, row_groups=[group], columns=[column]):
        if row < len(batch):
            value = batch.column(0)[row].as_py()
            value = value.get("bytes") if isinstance(value, Mapping) else value
            if value is None:
                break
            return value.encode() if isinstance(value, str) else bytes(value)
        row -= len(batch)
    raise NotFound(f"{shown(column)} of that row is no longer in {uri}")


@contextmanager
def _opened(uri: str) -> Iterator[ParquetFile]:
    try:
        import pyarrow  # noqa: PLC0415 (optional, and heavy)
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise MissingDependency(
            f"{uri} needs pyarrow: pip install 'crossbind[distributed]'"
        ) from error
    with remote.opened(uri) as (file, _):
        try:
            # Without a buffer of its own, or ahead of its reading, it would hold whole columns.
            with parquet.ParquetFile(file, buffer_size=BUFFER, pre_buffer=False) as table:
                yield table
        except (pyarrow.ArrowException, OSError) as error:
            raise CorruptMedia(f"{uri} is no whole parquet table: {error}") from error


@dataclass(frozen=True, slots=True)
class _Roles:
    media: tuple[str, ...]
    text: tuple[str, ...]
    key: str | None
    title: str | None

    def about(self, name: str) -> bool:
        """Whether a column is metadata."""
        return name not in {*self.media, *self.text, self.key, self.title}


def _roles(schema: Schema, columns: Columns, uri: str) -> _Roles:
    types = {field.name: field.type for field in schema}
    missing = {*columns.media, *columns.text, columns.key, columns.title} - {None, *types}
    words = [name for name, kind in types.items() if _is_words(kind)]
    media = columns.media or tuple(name for name, kind in types.items() if _is_bytes(kind))
    media = media or tuple(name for name in _PATHS if name in words)[:1]
    text = columns.text or tuple(name for name in _TEXTS if name in words)[:1]
    if missing or not (media or text):
        wrong = (
            f"has no column {min(map(str, missing))!r}" if missing else "names no media, no text"
        )
        raise BadInput(
            f"{uri} {wrong}; its columns are {', '.join(types)}: say which is what with --columns "
            "media=…,text=…",
            param="columns",
        )
    key = columns.key or next((name for name in _KEYS if name in types), None)
    title = columns.title or next((name for name in _TITLES if name in words), None)
    return _Roles(media, text, key, title)


def _is_bytes(kind: DataType) -> bool:
    from pyarrow import types  # noqa: PLC0415 (optional)

    if types.is_struct(kind):
        return any(field.name == "bytes" and _is_bytes(field.type) for field in kind)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_words(kind: DataType) -> bool:
    from pyarrow import types  # noqa: PLC0415 (optional)

    return bool(types.is_string(kind) or types.is_large_string(kind))


def _row(number: int, values: Mapping[str, Any], roles: _Roles) -> Row:
    media = {name: _medium(values[name]) for name in roles.media}
    about = {name: _scalars(value) for name, value in values.items() if roles.about(name)}
    return Row(
        number=number,
        media={name: found for name, found in media.items() if found is not None},
        text={name: str(values[name]) for name in roles.text if values[name]},
        key=_named(values, roles.key),
        title=_named(values, roles.title),
        metadata={name: value for name, value in about.items() if value is not None},
    )


def _named(values: Mapping[str, Any], column: str | None) -> str | None:
    return None if column is None or values[column] is None else str(values[column])


def _medium(value: Any) -> tuple[bytes | str, str | None] | None:
    if isinstance(value, Mapping):
        data, path = value.get("bytes"), value.get("path")
        return path and (path, path) if data is None else (data, path)
    return None if value is None else (value, None)


def _scalars(value: Any) -> Scalar | list[Scalar] | GeoPoint | None:
    """As metadata has it; None for what it cannot hold."""
    if isinstance(value, list):
        kept = [one for one in map(_scalar, value) if one is not None]
        return kept or None
    if isinstance(value, Mapping) and set(value) == {"lat", "lon"} and None not in value.values():
        return GeoPoint(float(value["lat"]), float(value["lon"]))
    return _scalar(value)


def _scalar(value: Any) -> Scalar | None:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool) else None


def scalars_of(document: object) -> Metadata:
    """What of a JSON object can be metadata."""
    if not isinstance(document, Mapping):
        return {}
    found = {str(name): _scalars(value) for name, value in document.items()}
    return {name: value for name, value in found.items() if value is not None}
