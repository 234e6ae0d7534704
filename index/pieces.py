"""A medium on its way to becoming fragments: vectors that are known, or still being made.

The one place where a medium's bytes meet the tower and the vectors made before; both doors, files
and uploads, go through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from embed.batcher import Batcher, Embedded
from embed.errors import CorruptMedia
from embed.media.read import Raw
from embed.types import Film, Media, Metadata, Modality, Sound, Span
from index.collection import Collection
from index.types import NewFragment


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
    raw: Raw, modality: Modality, collection: Collection, batcher: Batcher, *, block: bool
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
    media: Media, digest: str, collection: Collection, batcher: Batcher, *, block: bool
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
