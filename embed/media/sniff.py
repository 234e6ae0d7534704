"""What some bytes are, told from the bytes alone: file names and declared types are never asked.

It knows the openings of files, not whether the rest is whole: that is for the decoders.
Openings are those of the formats' own specifications; ISO-BMFF brands are the MP4RA register's.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass

from embed.types import Modality

HEAD = 4096
WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

_CONTROL = frozenset(map(chr, range(32))) - set("\t\n\r\f") | {"\x7f"}
_EIGHT_BIT_CONTROL = bytes(sorted(map(ord, _CONTROL)))
_ZIP_ENTRY = re.compile(rb"PK\x03\x04")
_DIB_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})

Signature = Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class _Kind:
    """One row of the table: what it is for machines, for the house and for people."""

    media_type: str
    modality: Modality | None
    label: str
    matches: Signature


def sniff(head: bytes) -> Modality | None:
    """The modality of the file that begins with `head`, its first `HEAD` bytes; None = unknown."""
    kind = _kind(head)
    return kind.modality if kind else None


def media_type(head: bytes) -> str:
    """Its MIME type, for example `image/jpeg`; `application/octet-stream` when unknown."""
    kind = _kind(head)
    return kind.media_type if kind else "application/octet-stream"


def describe(head: bytes) -> str:
    """What it looks like, for messages: `a JPEG picture`, `a ZIP archive`, or its first bytes."""
    if kind := _kind(head):
        return kind.label
    if head and not any(byte in _EIGHT_BIT_CONTROL for byte in head):
        return "text in an encoding other than UTF-8 (save it as UTF-8)"
    return f"nothing known here (its first bytes are {head[:8].hex(' ') or 'missing'})"


def _kind(head: bytes) -> _Kind | None:
    return next((kind for kind in _KINDS if kind.matches(head)), None)


def _at(*pieces: tuple[int, bytes]) -> Signature:
    """All of these bytes at these offsets."""
    return lambda head: all(head.startswith(piece, offset) for offset, piece in pieces)


def _starts(*openings: bytes) -> Signature:
    return lambda head: head.startswith(openings)


def _text(encoding: str, *boms: bytes) -> Signature:
    """Text without control characters; the end of `head` may cut a character."""

    def matches(head: bytes) -> bool:
        if not head or (boms and not head.startswith(boms)):
            return False
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(head)
        except UnicodeDecodeError:
            return False
        return _CONTROL.isdisjoint(text)

    return matches


def _bmff(*brands: bytes, major_only: bool = False) -> Signature:
    """An ISO base media file with one of these brands, or with any when none is named."""

    def matches(head: bytes) -> bool:
        if head[4:8] != b"ftyp":
            return False
        end = 12 if major_only else min(int.from_bytes(head[:4], "big"), len(head))
        found = {head[8:12], *(head[at : at + 4] for at in range(16, end, 4))}
        return not brands or not found.isdisjoint(brands)

    return matches


def _ogg(*codec_openings: bytes) -> Signature:
    """An Ogg stream; codecs name themselves in the first pages, one page a track."""

    def matches(head: bytes) -> bool:
        return head.startswith(b"OggS") and any(opening in head for opening in codec_openings)

    return matches


def _ebml(doctype: bytes, *, sound_only: bool = False) -> Signature:
    """Matroska and WebM; codec ids of films begin with V_, those of sounds with A_."""

    def matches(head: bytes) -> bool:
        if not head.startswith(b"\x1a\x45\xdf\xa3") or doctype not in head[:64]:
            return False
        return not sound_only or (b"A_" in head and b"V_" not in head)

    return matches


def _bmp(head: bytes) -> bool:
    size = int.from_bytes(head[14:18], "little")
    return head.startswith(b"BM") and len(head) >= 18 and size in _DIB_HEADERS


def _mpeg_audio(head: bytes) -> bool:
    """A bare frame of MPEG layer II or III (layer I would take UTF-16's byte order mark)."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    return version != 1 and layer in (1, 2) and bitrate not in (0, 15) and rate != 3


def _old_page(head: bytes) -> bool:
    """A web page in an encoding of its own; those in UTF-8 are text like any other."""
    opening = head[:64].lstrip().lower()
    named = b"charset" in head.lower() and opening.startswith((b"<!doctype html", b"<html"))
    return named and not any(byte in _EIGHT_BIT_CONTROL for byte in head)


def _word(head: bytes) -> bool:
    """A ZIP one of whose first files is in the folder `word/`, where every .docx keeps its text."""
    return head.startswith(b"PK\3\4") and any(
        head.startswith(b"word/", found.start() + 30) for found in _ZIP_ENTRY.finditer(head)
    )


def _windows_program(head: bytes) -> bool:
    return head.startswith(b"MZ") and len(head) >= 64


_AVIF = (b"avif", b"avis")
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_M4A = (b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B ")
_OGG_FILM = (b"\x80theora", b"\x01video")
_OGG_SOUND = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")

# The first row that matches wins. Text stands before the media because some of their openings are
# words ("BM", "RIFF"); a real one never gets through its header without a control character.
_KINDS: tuple[_Kind, ...] = (
    _Kind("application/pdf", Modality.TEXT, "a PDF document", _starts(b"%PDF-")),
    _Kind("application/postscript", None, "a PostScript document", _starts(b"%!PS-Adobe")),
    _Kind("application/rtf", None, "an RTF document", _starts(b"{\\rtf1")),
    _Kind("text/plain; charset=utf-8", Modality.TEXT, "text", _text("utf-8-sig")),
    _Kind(
        "text/plain; charset=utf-16",
        Modality.TEXT,
        "UTF-16 text",
        _text("utf-16", codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
    ),
    _Kind("text/html", Modality.TEXT, "a web page", _old_page),
    _Kind("image/jpeg", Modality.IMAGE, "a JPEG picture", _starts(b"\xff\xd8\xff")),
    _Kind("image/png", Modality.IMAGE, "a PNG picture", _starts(b"\x89PNG\r\n\x1a\n")),
    _Kind("image/gif", Modality.IMAGE, "a GIF picture", _starts(b"GIF87a", b"GIF89a")),
    _Kind("image/webp", Modality.IMAGE, "a WebP picture", _at((0, b"RIFF"), (8, b"WEBP"))),
    _Kind("image/bmp", Modality.IMAGE, "a BMP picture", _bmp),
    _Kind(
        "image/tiff",
        Modality.IMAGE,
        "a TIFF picture",
        _starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    ),
    _Kind(
        "image/jp2",
        Modality.IMAGE,
        "a JPEG 2000 picture",
        _starts(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    ),
    _Kind("image/avif", Modality.IMAGE, "an AVIF picture", _bmff(*_AVIF)),
    _Kind("image/heic", Modality.IMAGE, "a HEIC picture", _bmff(*_HEIC)),
    _Kind("audio/mp4", Modality.AUDIO, "an MPEG-4 sound", _bmff(*_M4A, major_only=True)),
    _Kind("video/quicktime", Modality.VIDEO, "a QuickTime film", _bmff(b"qt  ", major_only=True)),
    _Kind("video/mp4", Modality.VIDEO, "an MPEG-4 film", _bmff()),
    _Kind(
        "video/quicktime",
        Modality.VIDEO,
        "a QuickTime film",
        lambda head: head[4:8] in {b"moov", b"mdat", b"wide"},
    ),
    _Kind("audio/wav", Modality.AUDIO, "a WAV sound", _at((0, b"RIFF"), (8, b"WAVE"))),
    _Kind("audio/wav", Modality.AUDIO, "a WAV sound", _at((0, b"RF64"), (8, b"WAVE"))),
    _Kind("audio/flac", Modality.AUDIO, "a FLAC sound", _starts(b"fLaC")),
    _Kind("audio/aiff", Modality.AUDIO, "an AIFF sound", _at((0, b"FORM"), (8, b"AIF"))),
    _Kind("video/ogg", Modality.VIDEO, "an Ogg film", _ogg(*_OGG_FILM)),
    _Kind("audio/ogg", Modality.AUDIO, "an Ogg sound", _ogg(*_OGG_SOUND)),
    _Kind("video/x-msvideo", Modality.VIDEO, "an AVI film", _at((0, b"RIFF"), (8, b"AVI "))),
    _Kind("audio/webm", Modality.AUDIO, "a WebM sound", _ebml(b"webm", sound_only=True)),
    _Kind("video/webm", Modality.VIDEO, "a WebM film", _ebml(b"webm")),
    _Kind(
        "audio/matroska", Modality.AUDIO, "a Matroska sound", _ebml(b"matroska", sound_only=True)
    ),
    _Kind("video/matroska", Modality.VIDEO, "a Matroska film", _ebml(b"matroska")),
    _Kind(
        "video/mpeg",
        Modality.VIDEO,
        "an MPEG film",
        _starts(b"\0\0\x01\xba", b"\0\0\x01\xb3"),
    ),
    _Kind("video/mp2t", Modality.VIDEO, "an MPEG film", _at((0, b"G"), (188, b"G"), (376, b"G"))),
    _Kind("audio/mpeg", Modality.AUDIO, "an MP3 sound", _starts(b"ID3\2", b"ID3\3", b"ID3\4")),
    _Kind(WORD, Modality.TEXT, "a Word document", _word),
    _Kind("application/zip", None, "a ZIP archive (or an Office document)", _starts(b"PK\3\4")),
    _Kind("application/zip", None, "an empty ZIP archive", _starts(b"PK\5\6")),
    _Kind("application/gzip", None, "a gzip archive", _starts(b"\x1f\x8b")),
    _Kind("application/x-7z-compressed", None, "a 7z archive", _starts(b"7z\xbc\xaf\x27\x1c")),
    _Kind("application/vnd.rar", None, "a RAR archive", _starts(b"Rar!\x1a\7")),
    _Kind("application/x-xz", None, "an xz archive", _starts(b"\xfd7zXZ\0")),
    _Kind("application/zstd", None, "a Zstandard archive", _starts(b"\x28\xb5\x2f\xfd")),
    _Kind("application/x-bzip2", None, "a bzip2 archive", _at((0, b"BZh"), (4, b"1AY&SY"))),
    _Kind("application/x-tar", None, "a tar archive", _at((257, b"ustar"))),
    _Kind(
        "application/x-ole-storage", None, "an old Office document", _starts(b"\xd0\xcf\x11\xe0")
    ),
    _Kind("application/x-elf", None, "a Linux program", _starts(b"\x7fELF")),
    _Kind("application/x-msdownload", None, "a Windows program", _windows_program),
    _Kind("application/vnd.sqlite3", None, "an SQLite database", _starts(b"SQLite format 3\0")),
    _Kind("image/vnd.adobe.photoshop", None, "a Photoshop file", _starts(b"8BPS\0")),
    _Kind("image/x-icon", None, "an icon", _starts(b"\0\0\1\0")),
    # Last, for its signature is only 11 bits of sync and a few impossible values.
    _Kind("audio/mpeg", Modality.AUDIO, "an MP3 sound", _mpeg_audio),
)
