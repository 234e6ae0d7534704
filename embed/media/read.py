"""The one way from a file, or uploaded bytes, to a medium: sniff, limits, decode, digest.

What a file is called plays no part. It knows no tower: the caller says what its space accepts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from embed.errors import UnsupportedMedia, UnsupportedModality
from embed.media import image, text
from embed.media.sniff import HEAD, describe, sniff
from embed.media.source import read_source, shown
from embed.types import Media, Modality

_MAX_BYTES = {Modality.IMAGE: image.MAX_BYTES, Modality.TEXT: text.MAX_BYTES}


@dataclass(frozen=True, slots=True, eq=False)
class Raw:
    """The bytes of a medium that is worth decoding, and their SHA-256 in hex."""

    modality: Modality
    digest: str
    data: bytes
    called: str

    def decode(self, *, image_side: int) -> Media:
        """image_side: pixels that a picture's shorter side is never shrunk below.

        Raises CorruptMedia, TooLarge, UnsupportedMedia.
        """
        if self.modality is Modality.IMAGE:
            return image.decode_image(self.data, min_side=image_side, name=self.called)
        return text.decode_text(self.data, name=self.called)


def open_media(
    source: Path | bytes, *, accepts: frozenset[Modality], name: str | None = None
) -> Raw:
    """Reads the bytes of one medium, once, and not at all past a refusal.

    accepts: what the space embeds. name: what messages call it, by default its path.
    Raises UnsupportedMedia, UnsupportedModality, CorruptMedia, TooLarge, NotFound, Forbidden,
    NotAvailable.
    """
    called = shown(source, name)

    def limit_of(head: bytes) -> int:
        return _MAX_BYTES[_modality(head, called, accepts)]

    data = read_source(source, called, limit_of)
    modality = _modality(data[:HEAD], called, accepts)
    return Raw(modality, hashlib.sha256(data).hexdigest(), data, called)


def _modality(head: bytes, called: str, accepts: frozenset[Modality]) -> Modality:
    """What the medium is, when it can be decoded here and the space embeds it."""
    modality = sniff(head)
    readable = sorted(accepts & _MAX_BYTES.keys())
    choices = f"this space reads: {', '.join(readable) or 'no files'}"
    if modality is None:
        raise UnsupportedMedia(f"{called} is no medium: it looks like {describe(head)}; {choices}")
    if modality not in readable:
        raise UnsupportedModality(f"{called} is {describe(head)} ({modality}); {choices}")
    return modality
