"""Damaged, lying and endless documents: every one is read or refused, in bounded time and memory.

A slice of what `benchmarks/` may run for long; `cases` draws the same ones every time.
"""

from __future__ import annotations

import io
import json
import random
import zipfile
import zlib
from collections.abc import Callable, Iterator

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from embed.errors import BadInput
from embed.media.read import open_media
from embed.types import Media, Modality

ACCEPTS = frozenset({Modality.TEXT, Modality.IMAGE})
W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def a_pdf() -> bytes:
    content = b"BT /F 12 Tf 9 99 Td (Some words on a page) Tj ET 1 0 0 rg 9 9 50 50 re f"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R 3 0 R]/Count 2>>",
        (
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R"
            b"/Resources<</Font<</F 5 0 R>>>>>>"
        ),
        b"<</Filter/FlateDecode/Length %d>>stream\n%s\nendstream"
        % (len(zlib.compress(content)), zlib.compress(content)),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    data, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(data)
    data += b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % o for o in offsets)
    return data + b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % table


def a_docx() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        words = "<w:p><w:r><w:t>some words</w:t></w:r></w:p>" * 20
        archive.writestr(
            "word/document.xml", f'<w:document xmlns:w="{W}"><w:body>{words}</w:body></w:document>'
        )
    return buffer.getvalue()


def a_picture() -> bytes:
    info, tags, buffer = PngInfo(), Image.Exif(), io.BytesIO()
    info.add_itxt("Title", "a fox", zip=True)
    tags[0x010E] = "in the snow"
    Image.new("RGB", (20, 20), "red").save(buffer, "PNG", pnginfo=info, exif=tags)
    return buffer.getvalue()


WHOLE: dict[str, Callable[[], bytes]] = {
    "a.pdf": a_pdf,
    "a.docx": a_docx,
    "a.png": a_picture,
    "a.html": lambda: b"<html><head><title>T</title></head><body>" + b"<p>one &amp; <b>two" * 20,
    "a.json": lambda: json.dumps([{"name": "fox", "n": n, "in": {"a": [1, 2]}} for n in range(9)])
    .encode(),
    "a.jsonl": lambda: b'{"name": "fox", "n": 1}\n' * 9,
    "a.csv": lambda: b'name,text\nfox,"in, the ""snow"""\n' * 9,
}  # fmt: skip


def cases(name: str, count: int) -> Iterator[bytes]:
    """Damaged versions of a whole file."""
    whole, draw = WHOLE[name](), random.Random(name)
    for _ in range(count):
        data = bytearray(whole)
        for _ in range(draw.randrange(1, 4)):
            _DAMAGES[draw.randrange(len(_DAMAGES))](data, draw)
        yield bytes(data)


def _cut(data: bytearray, draw: random.Random) -> None:
    del data[draw.randrange(len(data) + 1) :]


def _flip(data: bytearray, draw: random.Random) -> None:
    for _ in range(draw.randint(1, 9) if data else 0):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _repeat(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data) + 1)
    piece = data[start : start + draw.randint(1, 99)]
    data[start:start] = piece * draw.randint(1, 99)


def _lie(data: bytearray, draw: random.Random) -> None:
    """Puts another number where one stands."""
    digits = [at for at, byte in enumerate(data) if 48 <= byte < 58]
    if digits:
        at = draw.choice(digits)
        data[at : at + 1] = draw.choice(
            [b"-1", b"0", b"99999", b"4294967296", b"1e99", b"2147483647"]
        )


def _swap(data: bytearray, draw: random.Random) -> None:
    start, other = draw.randrange(len(data) + 1), draw.randrange(len(data) + 1)
    data[start : start + 20], data[other : other + 20] = (
        data[other : other + 20],
        data[start : start + 20],
    )


_DAMAGES = (_cut, _flip, _flip, _repeat, _lie, _lie, _swap)


def exhaust(data: bytes, name: str) -> list[Media]:
    """Everything in a file, as ingest would take it; [] when it is refused."""
    try:
        raw = open_media(data, accepts=ACCEPTS, name=name)
        media = [raw.decode(modality, image_side=32) for modality in raw.accepted]
        for one in media:
            if one.modality is Modality.IMAGE and hasattr(one.data, "pictures"):
                assert all(pixels.ndim == 3 for _, pixels in one.data.pictures())
    except BadInput as error:
        refused = error.message
    else:
        return media
    assert refused.startswith(name + " ")
    return []


def check(media: Media) -> None:
    if not isinstance(media.data, str):
        return
    end = 0
    for section in media.sections:
        assert end <= section.start < section.end <= len(media.data)
        end = section.end
    assert media.data.strip()
    media.data.encode()


@pytest.mark.parametrize("name", WHOLE)
def test_damaged_documents(name: str) -> None:
    assert exhaust(WHOLE[name](), name)
    for data in cases(name, 60):
        for media in exhaust(data, name):
            check(media)


def _nested(opening: bytes, closing: bytes, depth: int = 100_000) -> bytes:
    return opening * depth + b"words" + closing * depth


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.html", b"<p>" + _nested(b"<div>", b"</div>")),
        ("a.html", b"<p>" + b"<" * 500_000),
        ("a.html", b"<p>" + b"<!--" * 200_000),
        ("a.html", b"<p " + b"a=b " * 200_000 + b">words"),
        ("a.html", b"<p>" + b"&" * 500_000),
        ("a.html", b"<p>" + b"&#x" * 200_000),
        ("a.html", b"<title>" * 100_000 + b"x"),
        ("a.html", b"<nav>" * 100_000 + b"x"),
        ("a.html", b"<meta " * 100_000 + b"x"),
        ("a.json", _nested(b"[", b"]")),
        ("a.json", b'{"a":' + _nested(b'{"a":', b"}") + b"}"),
        ("a.json", b"[" + b"9" * 1_000_000 + b"]"),
        ("a.json", b'["' + b"\\u0041" * 200_000 + b'"]'),
        ("a.json", b'{"a":"' + b"\\ud800" * 9 + b'"}'),
        ("a.jsonl", b"[]\n" * 300_000),
        ("a.csv", b"a,b\n" + b'"' * 500_000),
        ("a.csv", b"," * 1_000_000),
        ("a.csv", b"a,b\n" + b"\n" * 1_000_000),
        ("a.csv", b"a" * 200_000 + b",b\n" + b"1,2\n" * 50_000),
        ("a.csv", (b"a," * 2_000 + b"\n") * 200),
        ("a.csv", b"a\rb\r" * 100_000),
    ],
)
def test_endless_structures(name: str, data: bytes) -> None:
    for media in exhaust(data, name):
        check(media)
