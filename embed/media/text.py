"""Texts: bytes to characters, and tokens to passages.

Characters are kept as the file has them, line breaks included, so that a `CharSpan` means the same
in the stored text and in the file. It knows no tokenizer: windows are cut over offsets given to it.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embed.errors import CorruptMedia
from embed.media.source import read_source, shown
from embed.types import CharSpan, Media, Modality

MAX_BYTES = 16 * 2**20
TITLE_LENGTH = 80
SLICE = 65_536  # characters tokenised at a time

_WAY_OUT = "open it in an editor and save it as UTF-8"


def decode_text(source: Path | bytes, *, name: str | None = None) -> Media:
    """A text: UTF-8, or UTF-16 with a byte order mark; the mark is dropped, nothing else.

    name: what messages call it, by default its path.
    Raises CorruptMedia for another encoding, a NUL, or nothing but white space; TooLarge over
    `MAX_BYTES`; and what `read_source` raises.
    """
    called = shown(source, name)
    data = read_source(source, called, lambda _: MAX_BYTES)
    return read_text(data, called)


def read_text(data: bytes, called: str) -> Media:
    """As `decode_text`, of bytes that are read already."""
    return Media(Modality.TEXT, characters(data, called), source=called)


def characters(data: bytes, called: str) -> str:
    """The characters of a text's bytes. Raises CorruptMedia as `decode_text` does."""
    text = _decoded(data, called)
    if "\0" in text:
        raise CorruptMedia(
            f"{called} is no text: character {text.index(chr(0)):,} is a NUL; if it is UTF-16 or "
            f"UTF-32 without a byte order mark, {_WAY_OUT}"
        )
    if not text.strip():
        raise CorruptMedia(f"{called} holds no text, only white space")
    return text


def _decoded(data: bytes, called: str) -> str:
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        encoding = "UTF-16" if utf16 else "UTF-8"
        raise CorruptMedia(
            f"{called} is not valid {encoding}: byte {error.object[error.start]:#04x} at offset "
            f"{error.start:,} ({error.reason}); UTF-8, and UTF-16 with a byte order mark, are "
            f"read: {_WAY_OUT}"
        ) from error


def token_offsets(
    text: str, offsets_of: Callable[[str], Sequence[tuple[int, int]]]
) -> NDArray[np.int64]:
    """`(N, 2)`: where each token of `text` begins and ends, as `offsets_of` says of a part of it.

    Slice by slice, as tokenizers need some 300 bytes for each character they are given.
    """
    found = [np.empty((0, 2), np.int64)]
    start = 0
    while start < len(text):
        end = _slice_end(text, start)
        offsets = offsets_of(text[start:end])
        found.append(np.array(offsets, np.int64).reshape(-1, 2) + start)
        start = end
    return np.concatenate(found)


def _slice_end(text: str, start: int) -> int:
    """At most SLICE characters on, after white space if there is any: words stay whole."""
    end = start + SLICE
    if end >= len(text):
        return len(text)
    space = max(text.rfind(space, start, end) for space in " \n\t")
    return end if space < start else space + 1


def chunk_spans(
    offsets: Sequence[tuple[int, int]] | NDArray[np.int64], *, size: int, overlap: int
) -> list[CharSpan]:
    """Cuts a text of N tokens into windows of `size` tokens that share `overlap` tokens.

    offsets: `[start, end)` characters of each token, ascending, special tokens left out.
    Together the windows hold every token. A text of at most `size` tokens is one window; else
    every window holds exactly `size`, for the last one is drawn back to end with the text, and so
    shares more than `overlap` with the one before it: a short tail would embed badly.
    Returns spans in ascending order; none for no tokens.
    """
    if not 0 <= overlap < size:
        raise ValueError(f"overlap {overlap} must be at least 0 and below size {size}")
    if not len(offsets):
        return []
    last = max(len(offsets) - size, 0)
    starts = [*range(0, last, size - overlap), last]
    stops = [min(start + size, len(offsets)) for start in starts]
    return [
        CharSpan(int(offsets[start][0]), int(offsets[stop - 1][1]))
        for start, stop in zip(starts, stops, strict=True)
    ]


def title_of(text: str) -> str:
    """The first line that says something, without Markdown's #, at most 80 characters."""
    lines = (line.strip().strip("#").strip() for line in text.splitlines())
    title = next((line for line in lines if line), "")
    return title if len(title) <= TITLE_LENGTH else title[: TITLE_LENGTH - 1].rstrip() + "…"
