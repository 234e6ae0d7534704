"""A medium on its way to becoming fragments: vectors that are known, or still being made.

The one place where a medium's bytes meet the tower and the vectors made before; all doors, files,
uploads and members of archives, go through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from embed.batcher import Batcher, Embedded
from embed.errors import CorruptMedia, CrossbindError
from embed.media.read import Raw
from embed.types import Film, Media, Metadata, Modality, Sound, Span
from index.types import FATAL, NewFragment


class Memory(Protocol):
    """Vectors made before, by the content they were made of: a collection, or nothing."""

    def known_fragments(
        self, digest: str, modality: Modality, text: str | None = None
    ) -> list[NewFragment] | None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """text: of a text, as its spans count it. facts: what the medium itself says of the item.

    Vectors that are stored are not made again.
    """

    text: str | None
    facts: Metadata
    known: list[NewFragment] | None
    pending: Sequence[tuple[Span | None, Future[Embedded]]]

    def fragments(self) -> list[NewFragment]:
        """Waits for the tower. Raises what it raised."""
        if self.known is not None:
            return self.known
        vectors = [(span, future.result()) for span, future in self.pending]
        return [NewFragment(span, vector.joint, vector.native) for span, vector in vectors]


def cut(
    raw: Raw, modality: Modality, collection: Memory, batcher: Batcher, *, block: bool
) -> Pieces:
    """Decodes what must be decoded of one medium of a file, and queues what must be embedded.

    block: wait when the queue is full, rather than raise Overloaded. Once a medium's first piece is
    in, the others wait their turn. Raises CorruptMedia, TooLarge, UnsupportedMedia.
    """
    if modality is Modality.IMAGE:  # the one that costs something to decode
        known = collection.known_fragments(raw.digest, modality)
        if known is not None:
            return Pieces(None, {}, known, [])
    media = raw.decode(modality, image_side=batcher.embedder.image_side)
    return cut_media(media, raw.digest, collection, batcher, block=block)


def cut_media(
    media: Media, digest: str, collection: Memory, batcher: Batcher, *, block: bool
) -> Pieces:
    """As `cut`, for a medium that is decoded. digest: of the file that it came in."""
    text = media.data if isinstance(media.data, str) else None
    facts: Metadata = {}
    if isinstance(media.data, Sound | Film):
        facts = {"duration": round(media.data.duration, 3)}
    known = collection.known_fragments(digest, media.modality, text)
    if known is not None:
        return Pieces(text, facts, known, [])
    pending = [
        (span, batcher.submit(piece, block=block or number > 0))
        for number, (span, piece) in enumerate(batcher.embedder.fragment(media))
    ]
    if not pending:
        called = media.source or "it"
        raise CorruptMedia(f"{called} holds nothing to embed as {media.modality}")
    return Pieces(text, facts, None, pending)


def cut_all(
    raw: Raw, collection: Memory, batcher: Batcher
) -> dict[Modality, Pieces | CrossbindError]:
    """Each medium of a file that the space accepts, the main one first: cut and queued, or why not.

    Waits when the queue is full. Raises what the next file would meet too.
    """
    parts: dict[Modality, Pieces | CrossbindError] = {}
    for modality in raw.accepted:
        try:
            parts[modality] = cut(raw, modality, collection, batcher, block=True)
        except FATAL:
            raise
        except CrossbindError as error:
            parts[modality] = error
    return parts
