"""What a picture says of itself: its title, description and keywords, as one text.

Cameras and programs write into the same places as people do, and what they write tells nothing of
the picture: it is left out. It never fails, for a caption is not what a picture is taken for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from embed.media.metadata import Blocks, Tags, iptc_of, tags_of, words_of, xmp_of

MAX_FIELD = 4_000
MAX_CAPTION = 16_000

_TITLES, _DESCRIPTIONS, _KEYWORDS, _COMMENTS, _AUTHORS = range(5)
_EXIF_WORDS = {0x010E: _DESCRIPTIONS}
_EXIF_UTF16 = {
    0x9C9B: _TITLES,  # XPTitle, and so on: Windows' own
    0x9C9C: _COMMENTS,
    0x9C9E: _KEYWORDS,
    0x9C9F: _DESCRIPTIONS,
}
_USER_COMMENT = 0x9286
_IPTC = {5: _TITLES, 105: _TITLES, 120: _DESCRIPTIONS, 25: _KEYWORDS}
_XMP = {"title": _TITLES, "description": _DESCRIPTIONS, "subject": _KEYWORDS}
_PNG = {
    "title": _TITLES,
    "description": _DESCRIPTIONS,
    "comment": _COMMENTS,
    "author": _AUTHORS,
    "": _COMMENTS,
}
_BY_MACHINES = re.compile(
    r"""
    ([\w.]+\ ){0,3}digital\ (still\ )?camera | sony\ dsc | <(kenox|samsung).*> | dcf\ 1\.0
    | exif.jpeg.* | untitled.*
    | (dscn?|img|pict?|p|image|photo|picture|scan|screenshot)?[\s_-]*\d*
    | (hdr|rhdr|sdr|dav|cof|mde|nor|oznor|edf|ptr|btf|fffilter)([_-].*)?
    | ((file|image)\ )?(created|edited|made|generated|processed|written|optimi[sz]ed|compressed
        |exported|resized|scanned|saved|converted|encoded)\ (with|by|using)\b.*
    | creator:.* | software:.* | lead\ technologies.* | lav[cf]\d.* | applemark.* | intel\(r\).*
    | .*\bjpeg\ (library|encoder)\b.* | ascii | unicode | default | none | null | undefined | n/a
    | .*\b0x[0-9a-f]{4,}\b.* | xmp\.did:.* | [!-~]{60,}
    """,
    re.VERBOSE | re.IGNORECASE,
)


def caption_of(blocks: Blocks) -> str:
    """Title, description, keywords, comments, author: a line each; "" where nobody wrote any."""
    found: list[list[str]] = [[] for _ in range(5)]
    for place, words in _fields(blocks):
        if tidy := _tidy(words):
            found[place].append(tidy)
    keywords = _distinct(found[_KEYWORDS])
    found[_KEYWORDS] = [", ".join(keywords)] if keywords else []
    lines = _distinct(line for lines in found for line in lines)
    if lines == found[_AUTHORS]:  # who made it says nothing of what it shows
        return ""
    return "\n".join(lines)[:MAX_CAPTION]


def _fields(blocks: Blocks) -> Iterator[tuple[int, str]]:
    if blocks.exif:
        yield from _exif_fields(tags_of(blocks.exif))
    for number, words in iptc_of(blocks.iptc):
        if number in _IPTC:
            yield _IPTC[number], words
    for name, words in xmp_of(blocks.xmp):
        if name in _XMP:
            yield _XMP[name], words
    for keyword, words in blocks.comments:
        if keyword.lower() in _PNG:
            yield _PNG[keyword.lower()], words


def _exif_fields(tags: Tags) -> Iterator[tuple[int, str]]:
    for tag, place in _EXIF_WORDS.items():
        if value := tags.value(tag):
            yield place, words_of(value)
    for tag, place in _EXIF_UTF16.items():
        if value := tags.value(tag):
            words = value.decode("utf-16-le", "ignore").partition("\0")[0]
            parts = words.split(";") if place == _KEYWORDS else [words]
            yield from ((place, part) for part in parts)
    if value := tags.value(_USER_COMMENT):
        yield _COMMENTS, _user_comment(value, tags.byte_order)


def _user_comment(value: bytes, byte_order: str) -> str:
    """Eight bytes name the encoding (Exif 2.32, table 9)."""
    code, words = value[:8], value[8:]
    if code.startswith(b"UNICODE"):
        encoding = "utf-16-le" if byte_order == "<" else "utf-16-be"
        return words.decode(encoding, "ignore").partition("\0")[0]
    return words_of(words) if code[:5] in (b"ASCII", bytes(5)) else ""


def _tidy(words: str) -> str:
    """One line of printable characters; "" for what no person wrote."""
    line = " ".join("".join(c if c.isprintable() else " " for c in words[:MAX_FIELD]).split())
    if not any(map(str.isalpha, line)) or line.startswith("{") or _BY_MACHINES.fullmatch(line):
        return ""
    return line


def _distinct(words: Iterable[str]) -> list[str]:
    """Each once, as it was first written; capitals make no difference."""
    first: dict[str, str] = {}
    for word in words:
        first.setdefault(word.casefold(), word)
    return list(first.values())
