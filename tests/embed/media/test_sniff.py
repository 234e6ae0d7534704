from __future__ import annotations

import io
import wave
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from embed.media.sniff import HEAD, WORD, describe, media_type, sniff
from embed.types import Modality


def picture(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 7), (200, 30, 60)).save(buffer, form)
    return buffer.getvalue()[:HEAD]


def sound() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(b"\0\1" * 100)
    return buffer.getvalue()


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, b"<xml/>" * 9)
    return buffer.getvalue()[:HEAD]


def ftyp(major: bytes, *compatible: bytes) -> bytes:
    body = b"ftyp" + major + b"\0\0\0\0" + b"".join(compatible)
    return (len(body) + 4).to_bytes(4, "big") + body + b"\0\0\0\x08free"


def ogg(codec: bytes) -> bytes:
    return b"OggS\0\2" + bytes(20) + b"\1\x1e" + codec + bytes(20)


def ebml(doctype: bytes, codec: bytes) -> bytes:
    return (
        b"\x1a\x45\xdf\xa3\x9f\x42\x82" + bytes([0x80 + len(doctype)]) + doctype + b"\x86" + codec
    )


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("GIF", "image/gif"),
        ("WEBP", "image/webp"),
        ("BMP", "image/bmp"),
        ("TIFF", "image/tiff"),
        ("AVIF", "image/avif"),
        ("JPEG2000", "image/jp2"),
    ],
)
def test_pictures_that_pillow_writes(form: str, expected: str) -> None:
    head = picture(form)
    assert (sniff(head), media_type(head)) == (Modality.IMAGE, expected)


@pytest.mark.parametrize(
    ("head", "modality", "expected"),
    [
        (sound(), Modality.AUDIO, "audio/wav"),
        (b"fLaC\0\0\0\x22", Modality.AUDIO, "audio/flac"),
        (b"FORM\0\0\0\x10AIFFCOMM", Modality.AUDIO, "audio/aiff"),
        (b"FORM\0\0\0\x10AIFCCOMM", Modality.AUDIO, "audio/aiff"),
        (b"ID3\x04\0\0\0\0\0\0", Modality.AUDIO, "audio/mpeg"),
        (b"\xff\xfb\x90\x64" + bytes(40), Modality.AUDIO, "audio/mpeg"),
        (b"\xff\xf3\x84\xc4" + bytes(40), Modality.AUDIO, "audio/mpeg"),
        (ogg(b"\x01vorbis"), Modality.AUDIO, "audio/ogg"),
        (ogg(b"OpusHead\1"), Modality.AUDIO, "audio/ogg"),
        (ogg(b"\x80theora") + ogg(b"\x01vorbis"), Modality.VIDEO, "video/ogg"),
        (ftyp(b"M4A ", b"isom", b"mp42"), Modality.AUDIO, "audio/mp4"),
        (ftyp(b"isom", b"iso2", b"avc1", b"mp41"), Modality.VIDEO, "video/mp4"),
        (ftyp(b"mp42", b"M4A ", b"isom"), Modality.VIDEO, "video/mp4"),
        (ftyp(b"qt  "), Modality.VIDEO, "video/quicktime"),
        (b"\0\0\x01\x20moov\0\0\0\x6cmvhd", Modality.VIDEO, "video/quicktime"),
        (ftyp(b"heic", b"mif1"), Modality.IMAGE, "image/heic"),
        (ftyp(b"mif1", b"avif", b"miaf"), Modality.IMAGE, "image/avif"),
        (ftyp(b"mif1", b"heic"), Modality.IMAGE, "image/heic"),
        (ebml(b"webm", b"V_VP9 A_OPUS"), Modality.VIDEO, "video/webm"),
        (ebml(b"webm", b"A_OPUS"), Modality.AUDIO, "audio/webm"),
        (ebml(b"matroska", b"V_MPEG4"), Modality.VIDEO, "video/matroska"),
        (ebml(b"matroska", b"A_AAC"), Modality.AUDIO, "audio/matroska"),
        (b"RIFF\0\1\0\0AVI LIST", Modality.VIDEO, "video/x-msvideo"),
        (b"\0\0\x01\xba\x44", Modality.VIDEO, "video/mpeg"),
        ((b"G\x40\0\x10" + bytes(184)) * 3, Modality.VIDEO, "video/mp2t"),
        (b"\xff\x4f\xff\x51\0\x2f", Modality.IMAGE, "image/jp2"),
        (b"%PDF-1.7\n% all of it is plain ASCII", Modality.TEXT, "application/pdf"),
        (zipped("[Content_Types].xml", "_rels/.rels", "word/document.xml"), Modality.TEXT, WORD),
        (zipped("word/document.xml", "[Content_Types].xml"), Modality.TEXT, WORD),
        (b"\n<!DOCTYPE html><meta charset=latin1>caf\xe9 noir", Modality.TEXT, "text/html"),
    ],
)
def test_containers(head: bytes, modality: Modality, expected: str) -> None:
    assert (sniff(head), media_type(head)) == (modality, expected)


@pytest.mark.parametrize(
    ("head", "label"),
    [
        (b"PK\3\4\x14\0", "ZIP"),
        (zipped("[Content_Types].xml", "xl/workbook.xml"), "ZIP"),
        (zipped("keyword/document.xml", "password"), "ZIP"),
        (b"<html>caf\xe9 without a declaration", "save it as UTF-8"),
        (b"\x7fELF\2\1\1", "Linux program"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"SQLite format 3\0", "SQLite"),
        (bytes(257) + b"ustar\x0000", "tar"),
        (b"MZ\x90\0" + bytes(100), "Windows program"),
        (b"caf\xe9 cr\xe8me", "save it as UTF-8"),
        (b"\0\1\2\3\4\5\6\7\x08", "00 01 02 03 04 05 06 07"),
    ],
)
def test_what_is_no_medium_is_named(head: bytes, label: str) -> None:
    assert sniff(head) is None
    assert label in describe(head)


def test_unknown_bytes_are_an_octet_stream() -> None:
    assert media_type(b"\0\1\2\3") == "application/octet-stream"
    assert media_type(b"") == "application/octet-stream"


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "tab\tline\r\nfeed\f",
        "naïve 雪 🦊",
        "BMW builds cars, RIFFs are played",
        "GIF89a is how a GIF begins",
        "ID3 tags, OggS pages and fLaC streams",
        "MZ is a signature",
        '<svg xmlns="http://www.w3.org/2000/svg"/>',
    ],
)
def test_text_is_text_even_when_it_begins_like_a_medium(text: str) -> None:
    assert sniff(text.encode()) is Modality.TEXT
    assert sniff(text.encode("utf-8-sig")) is Modality.TEXT
    assert sniff(text.encode("utf-16")) is Modality.TEXT
    assert media_type(text.encode()) == "text/plain; charset=utf-8"
    assert media_type(text.encode("utf-16")) == "text/plain; charset=utf-16"


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"a\0b",
        b"\x1b[31mred",
        b"del\x7f",
        b"\xff\xfe\0\0a\0\0\0",
        "no mark".encode("utf-16-le"),
    ],
)
def test_what_is_not_text(head: bytes) -> None:
    assert sniff(head) is None


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1))
def test_a_character_cut_by_the_end_of_the_head_is_still_text(text: str) -> None:
    encoded = ("x" + text).encode()
    assert all(sniff(encoded[:end]) is Modality.TEXT for end in range(1, len(encoded) + 1))


@given(st.binary(max_size=600))
def test_any_bytes_get_an_answer(head: bytes) -> None:
    sniff(head)
    assert "/" in media_type(head)
    assert describe(head)


def test_the_name_plays_no_part(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(picture("PNG"))
    assert media_type(path.read_bytes()[:HEAD]) == "image/png"
