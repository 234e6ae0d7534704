"""Where the bytes of one thing of a source lie, so that another thread or machine can fetch them.

And the addresses of such things, which fsspec's chained URLs are the model of:

    tar://a/b.jpg::file:///data/x.tar          a member of an archive
    parquet://12/jpg::s3://bucket/table.parquet    row 12, column `jpg`, of a table

A member's own name is percent-encoded, so the first `::` is where it ends.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from embed.errors import CorruptMedia, NotFound
from embed.media.archive import members
from embed.media.source import check_size, shown
from index.batch import remote, tables
from index.batch.walk import path_of

MAX_MEMBER = 256 * 2**20
"""Bytes of what is held whole while it is decoded: a member, a cell, an object."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A file of its own, by its URI."""

    uri: str

    def fetch(self) -> Path | bytes:
        """Its path where it has one, else its bytes. Raises NotFound, Forbidden, TooLarge,
        NotAvailable, MissingDependency."""
        return path_of(self.uri) or remote.read(self.uri, MAX_MEMBER)


@dataclass(frozen=True, slots=True)
class Slice:
    """`size` bytes from `offset` on, of the file at `uri`."""

    uri: str
    offset: int
    size: int

    def fetch(self) -> bytes:
        """Raises what `Whole.fetch` raises, and CorruptMedia when the file ends before."""
        called = shown(path_of(self.uri) or self.uri)
        check_size(self.size, MAX_MEMBER, f"a member of {called}")
        data = remote.read_slice(self.uri, self.offset, self.size)
        if len(data) < self.size:
            raise CorruptMedia(f"{called} breaks off in the middle of a member")
        return data


@dataclass(frozen=True, slots=True)
class Given:
    """Bytes that came along."""

    data: bytes = field(repr=False)

    def fetch(self) -> bytes:
        return self.data


Location = Whole | Slice | Given


def member_uri(kind: str, name: str, container: str) -> str:
    """The address of what is called `name` in the file at the URI `container`."""
    return f"{kind}://{quote_from_bytes(os.fsencode(name))}::{container}"


def locate(uri: str) -> Location:
    """Where the bytes of an item lie, found again by its address. Raises NotFound, NotAvailable,
    MissingDependency."""
    inner, _, container = uri.partition("::")
    if not container:
        return Whole(uri)
    kind, _, quoted = inner.partition("://")
    name = os.fsdecode(unquote_to_bytes(quoted))
    if kind == "tar":
        return _tar_member(name, container)
    if kind == "parquet":
        row, _, column = name.partition("/")
        return Given(tables.cell(container, int(row), column))
    raise NotFound(f"{uri} is not an address that can be read again")


def name_of(uri: str) -> str:
    """The last part of what an address names, as people call it."""
    inner = uri.partition("::")[0].partition("#")[0]
    return os.fsdecode(unquote_to_bytes(inner)).rpartition("/")[2]


def _tar_member(name: str, container: str) -> Slice:
    """The last of that name, as `tar` itself unpacks it."""
    found = None
    with remote.opened(container) as (file, size):
        for member in members(file, size, container):
            found = member if member.name == name else found
    if found is None:
        raise NotFound(f"{shown(name)} is no longer in {container}")
    return Slice(container, found.offset, found.size)
