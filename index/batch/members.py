"""What a source gives: its members, each on its way into a collection. Nouns only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from embed.errors import CrossbindError
from embed.media.source import shown
from embed.types import Metadata
from index.batch.locations import Location
from index.batch.remote import Stamp
from index.types import Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file, member or cell. Small but for what is `Given`; it can be sent to another machine.

    name: how it ends says how a text is read. record: of a member that is new; what belongs
    together has the same. stamp: of the file it lies in, None when nothing tells that it changed.
    known: digest of what is indexed under this uri, None for nothing.
    """

    uri: str
    name: str
    record: str
    at: Location
    stamp: Stamp | None
    metadata: Metadata = field(default_factory=dict)
    title: str | None = None
    known: str | None = None

    @property
    def called(self) -> str:
        return shown(self.title or self.name.rpartition("/")[2])


class Source(Protocol):
    """Members, a few in memory at a time. A failure is of one of them, or ends the source."""

    @property
    def uri(self) -> str: ...

    @property
    def share(self) -> float | None:
        """How much of it was given out, 0 to 1; None when there is no telling."""
        ...

    def __iter__(self) -> Iterator[Member | Failure]: ...


def record_of(container: str, name: str) -> str:
    """The same in every run, wherever it runs."""
    return hashlib.sha256(f"{container}\0{name}".encode("utf-8", "surrogateescape")).hexdigest()[
        :32
    ]


def failure(uri: str, error: CrossbindError) -> Failure:
    return Failure(uri=uri, code=error.code, message=error.message)
