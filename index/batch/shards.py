"""A webdataset shard as a source: members that share a name but for the ending are one record.

Members are not read here: the headers are passed over, and of a record with media its `.json` is
read, which becomes their metadata. So a shard elsewhere is read twice, once for its headers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import BinaryIO, NamedTuple

from embed.errors import CrossbindError
from embed.media.archive import TarMember, members
from embed.types import Metadata
from index.batch import remote
from index.batch.locations import Slice, member_uri
from index.batch.members import Member, failure, record_of
from index.batch.remote import Stamp
from index.batch.tables import scalars_of
from index.types import FATAL, Failure

MAX_JSON = 2**20
"""Bytes of what is said about one record."""


class _Part(NamedTuple):
    """A member, and what it says when it is a `.json`."""

    member: TarMember
    said: bytes | None


class Shard:
    """The archive at `uri`. One that breaks off gives what is whole in it, and a failure."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.share = 0.0

    def __iter__(self) -> Iterator[Member | Failure]:
        record: list[_Part] = []
        stamp: Stamp | None = None
        try:
            stamp = remote.stamp_at(self.uri)
            with remote.opened(self.uri) as (file, size):
                for member in members(file, size, self.uri):
                    if record and member.stem != record[0].member.stem:
                        yield from self._members(record, stamp)
                        record = []
                    record.append(_Part(member, _said(member, file)))
                    self.share = member.offset / size
        except FATAL:
            raise
        except CrossbindError as error:
            yield from self._members(record[:-1], stamp)  # the last one may be cut
            yield failure(self.uri, error)
        else:
            yield from self._members(record, stamp)
        self.share = 1.0

    def _members(self, record: Sequence[_Part], stamp: Stamp | None) -> Iterator[Member]:
        media = [part for part in record if part.said is None]
        metadata = _metadata(record) if media else {}
        for (name, offset, size), _ in media or record:
            yield Member(
                uri=member_uri("tar", name, self.uri),
                name=name,
                record=record_of(self.uri, record[0].member.stem),
                at=Slice(self.uri, offset, size),
                stamp=stamp,
                metadata=metadata,
            )


def _said(member: TarMember, file: BinaryIO) -> bytes | None:
    if not member.name.lower().endswith(".json") or member.size > MAX_JSON:
        return None
    file.seek(member.offset)
    return file.read(member.size)


def _metadata(record: Sequence[_Part]) -> Metadata:
    """What cannot be read says nothing."""
    found: Metadata = {}
    for _, said in record:
        with suppress(ValueError, RecursionError):
            found = {**found, **scalars_of(json.loads(said or b"null"))}
    return found
