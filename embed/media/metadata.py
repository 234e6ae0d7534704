"""Where pictures keep words: the blocks of metadata inside their files, and what stands in them.

Nothing is decoded but these blocks, and nothing here raises: metadata is often broken, and a
picture is a picture without it. All loops and lengths are bounded.
Sources: Exif 2.32 (4.6), TIFF 6.0, IIM 4.2 in Photoshop image resources, XMP part 1, PNG 1.2
(11.3), GIF89a (24), the WebP container.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

from lxml import etree

MAX_BLOCK = 2**20
MAX_BLOCKS = 100_000
MAX_ENTRIES = 1_000
MAX_COMMENT = 16_000

ORIENTATION = 0x0112
_XMP_TAG, _IPTC_TAG, _EXIF_IFD = 0x02BC, 0x83BB, 0x8769
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4}
_DC = "{http://purl.org/dc/elements/1.1/}"
_RDF_LI = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li"
_IPTC_RESOURCE = 0x0404
_UTF8_MARK = b"\x1b%G"


@dataclass(slots=True)
class Blocks:
    """exif: a TIFF structure. comments: (keyword or nothing, words)."""

    exif: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""
    comments: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of an Exif block: `byte_order` is struct's, values are views of it, as stored.

    Views, because a thousand tags may all claim the same megabyte.
    """

    byte_order: str
    values: dict[int, memoryview]

    def value(self, tag: int) -> bytes:
        """Empty where there is none."""
        return bytes(self.values.get(tag, b""))

    def number(self, tag: int) -> int | None:
        """A whole number of at most four bytes; None for 0, and where there is none."""
        value = self.value(tag)[:4]
        return int.from_bytes(value, "little" if self.byte_order == "<" else "big") or None


def blocks_of(data: bytes, media_type: str) -> Blocks:
    """The blocks of a JPEG, PNG, GIF, WebP or TIFF; none of other formats."""
    blocks = Blocks()
    walk = _WALKS.get(media_type)
    if walk is not None:
        # Cut short or broken: what was found until then is kept.
        with suppress(struct.error, IndexError, ValueError, zlib.error):
            walk(data, blocks)
    return blocks


def _jpeg(data: bytes, blocks: Blocks) -> None:
    at = 2
    for _ in range(MAX_ENTRIES):
        mark, kind, size = struct.unpack_from(">BBH", data, at)
        if mark != 0xFF or kind in (0xDA, 0xD9) or size < 2:
            return
        if kind in _JPEG_SEGMENTS:
            body = data[at + 4 : at + 2 + size]
            if kind == 0xE1 and body.startswith(b"Exif\0\0"):
                blocks.exif = blocks.exif or body[6:]
            elif kind == 0xE1 and body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
                blocks.xmp = blocks.xmp or body[29:]
            elif kind == 0xED and body.startswith(b"Photoshop 3.0\0"):
                blocks.iptc = blocks.iptc or _iptc_of(body[14:])
            elif kind == 0xFE:
                blocks.comments.append(("", words_of(body)))
        at += 2 + size


_JPEG_SEGMENTS = frozenset({0xE1, 0xED, 0xFE})


def _iptc_of(resources: bytes) -> bytes:
    """The IIM records among Photoshop's image resources."""
    at = 0
    while resources.startswith(b"8BIM", at):
        (kind, name) = struct.unpack_from(">HB", resources, at + 4)
        at += 7 + name + (name + 1) % 2
        (size,) = struct.unpack_from(">I", resources, at)
        if kind == _IPTC_RESOURCE:
            return resources[at + 4 : at + 4 + size]
        at += 4 + size + size % 2
    return b""


def _png(data: bytes, blocks: Blocks) -> None:
    at, texts = 8, 0
    for _ in range(MAX_BLOCKS):
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind in _PNG_CHUNKS:
            body = data[at + 8 : at + 8 + min(size, MAX_BLOCK)]
            if kind == b"eXIf":
                blocks.exif = body
            elif texts < MAX_ENTRIES:
                texts += 1
                _png_text(kind, body, blocks)
        at += 12 + size


_PNG_CHUNKS = frozenset({b"tEXt", b"zTXt", b"iTXt", b"eXIf"})


def _png_text(kind: bytes, body: bytes, blocks: Blocks) -> None:
    keyword, _, rest = body.partition(b"\0")
    packed = kind == b"zTXt"
    if kind == b"iTXt":
        packed = rest[:1] == b"\1"
        _, _, rest = rest[2:].partition(b"\0")  # language
        _, _, rest = rest.partition(b"\0")  # the keyword in that language
    elif packed:
        rest = rest[1:]
    if packed:
        rest = zlib.decompressobj().decompress(rest, MAX_BLOCK)
    if keyword == b"XML:com.adobe.xmp":
        blocks.xmp = rest
    else:  # a thousand bytes can unpack to a megabyte, and there may be many
        blocks.comments.append((keyword.decode("latin-1"), words_of(rest)[:MAX_COMMENT]))


def _gif(data: bytes, blocks: Blocks) -> None:
    """Comments that stand before the first picture."""
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    for _ in range(MAX_ENTRIES):
        if data[at] != 0x21:
            return
        is_comment, at, parts = data[at + 1] == 0xFE, at + 2, list[bytes]()
        while size := data[at]:
            if is_comment and len(parts) < MAX_ENTRIES:
                parts.append(data[at + 1 : at + 1 + size])
            at += 1 + size
        at += 1
        if is_comment:
            blocks.comments.append(("", words_of(b"".join(parts))))


def _webp(data: bytes, blocks: Blocks) -> None:
    at = 12
    for _ in range(MAX_BLOCKS):
        kind, size = struct.unpack_from("<4sI", data, at)
        if kind == b"EXIF":
            blocks.exif = data[at + 8 : at + 8 + min(size, MAX_BLOCK)].removeprefix(b"Exif\0\0")
        elif kind == b"XMP ":
            blocks.xmp = data[at + 8 : at + 8 + min(size, MAX_BLOCK)]
        at += 8 + size + size % 2


def _tiff(data: bytes, blocks: Blocks) -> None:
    tags = tags_of(data)
    blocks.exif = data
    blocks.xmp = tags.value(_XMP_TAG)
    blocks.iptc = tags.value(_IPTC_TAG)


_WALKS = {
    "image/jpeg": _jpeg,
    "image/png": _png,
    "image/gif": _gif,
    "image/webp": _webp,
    "image/tiff": _tiff,
}


def tags_of(exif: bytes) -> Tags:
    """The tags of the first directory and of the Exif one; as many as can be read."""
    tiff = memoryview(exif.removeprefix(b"Exif\0\0"))
    order = {b"II": "<", b"MM": ">"}.get(bytes(tiff[:2]), "")
    tags = Tags(order or "<", {})
    try:
        if order:
            (start,) = struct.unpack_from(f"{order}I", tiff, 4)
            _directory(tiff, start, tags)
            if deeper := tags.number(_EXIF_IFD):
                _directory(tiff, deeper, tags)
    except struct.error:  # cut short: what was found until then is kept
        pass
    return tags


def _directory(tiff: memoryview, start: int, tags: Tags) -> None:
    order = tags.byte_order
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    for at in range(start + 2, start + 2 + 12 * min(count, MAX_ENTRIES), 12):
        tag, kind, number = struct.unpack_from(f"{order}HHI", tiff, at)
        size = number * _TYPE_BYTES.get(kind, 0)
        if not 0 < size <= MAX_BLOCK:
            continue
        where = at + 8
        if size > 4:
            (where,) = struct.unpack_from(f"{order}I", tiff, at + 8)
        tags.values.setdefault(tag, tiff[where : where + size])


def iptc_of(block: bytes) -> Iterator[tuple[int, str]]:
    """The datasets of record 2, (number, words)."""
    utf8 = _UTF8_MARK in block[:64]
    at = 0
    while block[at : at + 1] == b"\x1c" and at + 5 <= len(block):
        record, number, size = struct.unpack_from(">BBH", block, at + 1)
        if size & 0x8000:  # an extended dataset: larger than any words
            return
        value = block[at + 5 : at + 5 + size]
        if record == 2:
            yield number, value.decode("utf-8", "replace") if utf8 else words_of(value)
        at += 5 + size


def xmp_of(packet: bytes) -> Iterator[tuple[str, str]]:
    """The entries of the Dublin Core properties, (property, words)."""
    if b"purl.org/dc/elements" not in packet or len(packet) > MAX_BLOCK:
        return
    parser = etree.XMLParser(
        resolve_entities=False, load_dtd=False, no_network=True, recover=True, remove_pis=True
    )
    try:
        root = etree.fromstring(packet.strip(b"\0 \r\n\t"), parser)
    except (etree.LxmlError, ValueError):
        return
    if root is None:
        return
    for element in islice(root.iter(f"{_DC}*"), MAX_ENTRIES):
        name = element.tag.removeprefix(_DC)
        for entry in islice(element.iter(_RDF_LI), MAX_ENTRIES):
            yield name, entry.text or ""


def words_of(value: bytes) -> str:
    """Bytes of an unknown encoding: UTF-8 if they can be, else Latin-1. Ends at a NUL."""
    value = value.lstrip(b"\0").partition(b"\0")[0]
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
