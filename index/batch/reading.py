"""One member of a source from its bytes to an outcome: what can be written, wherever it was made.

It writes nothing and asks no catalog, so it runs on any machine. An `Outcome` can be sent to the
one who writes, who may receive it twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from embed.batcher import Batcher
from embed.errors import CrossbindError
from embed.media.read import Raw, open_media
from embed.media.source import shown
from embed.types import Modality
from index.batch.members import Member, failure
from index.batch.pieces import Memory, Pieces, cut_all
from index.types import FATAL, Entry, Failure, FileStamp, NewFragment, part_uri

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the member at `uri`.

    entries: as for items that are new; none when its content is what is known. digest: of its
    bytes, None when they could not be read. kept: kinds of media that it holds still, though they
    failed this time. left_out: what the space does not embed.
    """

    uri: str
    digest: str | None
    entries: list[Entry] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    kept: frozenset[Modality] = frozenset()
    left_out: list[Modality] = field(default_factory=list)
    stamp: FileStamp | None = None


class Nothing:
    """A `Memory` of those who have no catalog at hand."""

    def known_fragments(self, *_: object) -> list[NewFragment] | None:
        return None


class Begun(NamedTuple):
    """A member that was read, and is on its way through the tower."""

    member: Member
    raw: Raw | None
    parts: dict[Modality, Pieces | CrossbindError]
    stamp: FileStamp | None
    error: CrossbindError | None = None


def begin(member: Member, memory: Memory, batcher: Batcher) -> Begun:
    """Reads, decodes, and hands to the tower, unless its content is known. Raises only what the
    next member would meet too."""
    stamp = member.stamp and FileStamp(*member.stamp, time.time_ns())
    try:
        name = member.name
        raw = open_media(member.at.fetch(), accepts=batcher.embedder.modalities, name=name)
        parts = {} if raw.digest == member.known else cut_all(raw, memory, batcher)
    except FATAL:
        raise
    except CrossbindError as error:
        return Begun(member, None, {}, stamp, error)
    except Exception as error:
        log.exception("%s broke the ingest of one member", member.uri)
        told = f"{shown(member.name)}: {type(error).__name__}: {error}"
        return Begun(member, None, {}, stamp, CrossbindError(told))
    return Begun(member, raw, parts, stamp)


def finish(begun: Begun) -> Outcome:
    """Waits for the vectors. A part that fails does so alone, but the main one fails them all."""
    member, raw, _, stamp, error = begun
    if raw is None:
        assert error is not None
        return Outcome(uri=member.uri, digest=None, failures=[failure(member.uri, error)])
    entries, failures = [], []
    for made in _made(begun, raw):
        if isinstance(made, Entry):
            entries.append(made)
        else:
            failures.append(made)
    failed = any(one.uri == member.uri for one in failures)
    return Outcome(
        uri=member.uri,
        digest=None if failed else raw.digest,
        entries=[] if failed else entries,
        failures=failures,
        kept=frozenset(raw.accepted),
        left_out=[m for m in raw.modalities if m not in raw.accepted] if entries else [],
        stamp=stamp,
    )


def _made(begun: Begun, raw: Raw) -> Iterator[Entry | Failure]:
    member, main = begun.member, raw.modalities[0]
    for modality, pieces in begun.parts.items():
        uri = member.uri if modality is main else part_uri(member.uri, modality)
        try:
            if isinstance(pieces, CrossbindError):
                raise pieces
            yield Entry(
                modality=modality,
                digest=raw.digest,
                fragments=pieces.fragments(),
                record=member.record,
                uri=uri,
                title=member.called,
                text=pieces.text,
                metadata={**pieces.facts, **member.metadata},
                stamp=begun.stamp,
            )
        except FATAL:
            raise
        except CrossbindError as error:
            yield failure(uri, error)
