"""The one way from a file, or uploaded bytes, to media: sniff, limits, digest, decode.

What a file is, is told by its content. Only texts, which all look alike, are also asked for their
name: a `.csv` is read row by row when it is one. It knows no tower: the caller says what its space
accepts, and a file that holds nothing of that is refused before it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from embed.errors import UnsupportedMedia, UnsupportedModality
from embed.media import image, pdf, tables, text, webpage, word
from embed.media.sniff import WORD, describe, media_type, sniff
from embed.media.source import Openers, digest_of, read_head, read_source, shown
from embed.types import Media, Modality

MAX_SOUND_BYTES = 2 * 2**30
MAX_FILM_BYTES = 16 * 2**30
"""On disk: sounds and films are read piece by piece."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """How files of one type are opened.

    open: takes all bytes, and what messages call them; None for what is read piece by piece.
    may_hold: a file may hold less, never more.
    """

    open: Callable[[bytes, str], Openers] | None
    max_bytes: int
    may_hold: frozenset[Modality] = frozenset({Modality.TEXT})


def _text(read: Callable[[bytes, str], Media], max_bytes: int = text.MAX_BYTES) -> _Reading:
    return _Reading(lambda data, called: {Modality.TEXT: lambda _: read(data, called)}, max_bytes)


_SIGHT = frozenset({Modality.IMAGE, Modality.TEXT})
_SOUND = frozenset({Modality.AUDIO, Modality.TEXT})
_FILM = frozenset({Modality.VIDEO, Modality.AUDIO, Modality.TEXT})

# By media type, or by what stands before its slash.
_READINGS: dict[str, _Reading] = {
    "image": _Reading(image.open_image, image.MAX_BYTES, _SIGHT),
    "audio": _Reading(None, MAX_SOUND_BYTES, _SOUND),
    "video": _Reading(None, MAX_FILM_BYTES, _FILM),
    "application/pdf": _Reading(pdf.open_pdf, pdf.MAX_BYTES, _SIGHT),
    WORD: _text(word.read_word, word.MAX_BYTES),
    "text/plain": _text(text.read_text),
    "text/html": _text(webpage.read_html),
    "text/csv": _text(tables.read_table),
    "application/json": _text(tables.read_json),
    "application/jsonl": _text(tables.read_json_lines),
}

# Texts that are read as their name says, when they begin like that.
_BY_NAME: dict[str, tuple[str, Callable[[str], bool]]] = {
    ".csv": ("text/csv", tables.looks_like_table),
    ".htm": ("text/html", webpage.looks_like_html),
    ".html": ("text/html", webpage.looks_like_html),
    ".json": ("application/json", tables.looks_like_json),
    ".jsonl": ("application/jsonl", tables.looks_like_json_lines),
    ".ndjson": ("application/jsonl", tables.looks_like_json_lines),
    ".tsv": ("text/csv", tables.looks_like_table),
    ".xhtml": ("text/html", webpage.looks_like_html),
}
_FILES = frozenset(modality for reading in _READINGS.values() for modality in reading.may_hold)


@dataclass(frozen=True, slots=True, eq=False)
class Raw:
    """A file that is worth decoding.

    digest: SHA-256 of the file in hex. modalities: all that the file holds, the main one first;
    accepted: those of them that the space embeds, in that order, at least one.
    media_type: how it is read; two files of one digest may be read in two ways, by their names.
    """

    digest: str
    called: str
    media_type: str
    accepted: tuple[Modality, ...]
    openers: Openers = field(repr=False)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        return tuple(self.openers)

    @property
    def modality(self) -> Modality:
        """The main one of those that are accepted."""
        return self.accepted[0]

    def decode(self, modality: Modality, *, image_side: int) -> Media:
        """One of `modalities`, decoded now.

        image_side: pixels that a picture's shorter side is never shrunk below.
        Raises CorruptMedia, TooLarge, NotAvailable.
        """
        return self.openers[modality](image_side)


def open_media(
    source: Path | bytes, *, accepts: frozenset[Modality], name: str | None = None
) -> Raw:
    """Reads one file, once, and no more than its beginning where that is enough to refuse it.

    accepts: what the space embeds. name: what messages call it, by default its path; how it ends
        says how a text is read.
    Raises UnsupportedMedia, UnsupportedModality, CorruptMedia, TooLarge, NotFound, Forbidden,
    NotAvailable.
    """
    called = shown(source, name)
    head = read_head(source, called)
    main, kind = sniff(head), media_type(head)
    if main is None:
        raise UnsupportedMedia(
            f"{called} is no medium: it looks like {describe(head)}; {_choices(accepts)}"
        )
    reading = _reading_of(kind)
    if accepts.isdisjoint(reading.may_hold):
        raise _unaccepted(called, head, [main], accepts)
    if reading.open is None:
        from embed.media.av_open import open_sound_or_film  # noqa: PLC0415 (loads FFmpeg)

        openers = open_sound_or_film(source, media_type=kind, called=called)
        digest = digest_of(source, called, reading.max_bytes)
    else:
        data = read_source(source, called, lambda _: reading.max_bytes)
        digest = digest_of(data, called, reading.max_bytes)
        kind = _kind_by_name(kind, name or str(source), data)
        openers = (_reading_of(kind).open or reading.open)(data, called)
    accepted = tuple(modality for modality in openers if modality in accepts)
    if not accepted:
        raise _unaccepted(called, head, openers, accepts)
    return Raw(digest, called, kind, accepted, openers)


def _reading_of(kind: str) -> _Reading:
    kind = kind.partition(";")[0]
    return _READINGS.get(kind) or _READINGS[kind.partition("/")[0]]


def _kind_by_name(kind: str, name: str, data: bytes) -> str:
    """`kind`, or for a text what its name says, if that is true."""
    ending = PurePath(name).suffix.lower()
    if not kind.startswith("text/plain") or ending not in _BY_NAME:
        return kind
    named, is_true = _BY_NAME[ending]
    return named if is_true(webpage.page_characters(data)) else kind


def _choices(accepts: frozenset[Modality]) -> str:
    return f"this space reads: {', '.join(sorted(accepts & _FILES)) or 'no files'}"


def _unaccepted(
    called: str, head: bytes, held: Iterable[Modality], accepts: frozenset[Modality]
) -> UnsupportedModality:
    what = f"{describe(head)} ({', '.join(held)})"
    return UnsupportedModality(f"{called} is {what}; {_choices(accepts)}")
