"""A parquet table as a source: an item for each medium and each text of a row, of one record.

Media are bytes in the table, or paths of files that lie below its folder: others it may not name,
for a table can come from a stranger.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path

from embed.errors import CrossbindError, Forbidden
from embed.media.source import shown
from index.batch import remote
from index.batch.locations import Given, Location, Whole, member_uri
from index.batch.members import Member, failure, record_of
from index.batch.remote import Stamp
from index.batch.tables import Columns, Row, Table
from index.batch.walk import path_of
from index.types import FATAL, Failure


class TableSource:
    """The table at `uri`."""

    def __init__(self, uri: str, columns: Columns) -> None:
        self.uri = uri
        self._table = Table(uri, columns)

    @property
    def share(self) -> float:
        return self._table.share

    def __iter__(self) -> Iterator[Member | Failure]:
        try:
            stamp = remote.stamp_at(self.uri)
            for row in self._table:
                yield from self._members(row, stamp)
        except FATAL:
            raise
        except CrossbindError as error:
            if error.param == "columns":  # it is the question that is wrong
                raise
            yield failure(self.uri, error)

    def _members(self, row: Row, stamp: Stamp | None) -> Iterator[Member | Failure]:
        key = row.key or str(row.number)
        for column, (value, called) in row.media.items():
            uri = member_uri("parquet", f"{row.number}/{column}", self.uri)
            if isinstance(value, bytes):
                name = called or f"{key}.{column}"
                yield self._member(row, uri, name, Given(value), stamp)
                continue
            try:
                beside = self._beside(value)
            except Forbidden as error:
                yield failure(uri, error)
                continue
            yield self._member(row, beside, value, Whole(beside), None)
        for column, words in row.text.items():
            uri = member_uri("parquet", f"{row.number}/{column}", self.uri)
            yield self._member(row, uri, f"{key}.{column}.txt", Given(words.encode()), stamp)

    def _member(self, row: Row, uri: str, name: str, at: Location, stamp: Stamp | None) -> Member:
        return Member(
            uri=uri,
            name=name,
            record=record_of(self.uri, row.key or f"row {row.number}"),
            at=at,
            stamp=stamp,
            metadata=row.metadata,
            title=row.title,
        )

    def _beside(self, name: str) -> str:
        """The URI of a file that a cell names. Raises Forbidden."""
        folder = self.uri.rpartition("/")[0]
        if remote.scheme_of(name):
            uri = remote.uri_of(name)
        elif (path := path_of(folder)) is not None:
            uri = Path(posixpath.normpath(posixpath.join(path, name))).as_uri()
        else:
            uri = remote.uri_of(posixpath.join(remote.url_from(folder), name))
        if not uri.startswith(folder + "/") or "/../" in uri:
            raise Forbidden(
                f"{shown(name)} is not below the folder of its table, {folder}: what a table "
                "names is only read there; for the web's, download it first (img2dataset does)"
            )
        return uri
