from __future__ import annotations

import io
import random
import struct
import time
import zipfile

import pytest

from embed.errors import BadInput, CorruptMedia, TooLarge
from embed.media import word as module
from embed.media.word import read_word

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
MC = "http://schemas.openxmlformats.org/markup-compatibility/2006"


def body(content: str, doctype: str = "") -> str:
    return (
        f'<?xml version="1.0"?>{doctype}<w:document xmlns:w="{W}" xmlns:mc="{MC}">'
        f"<w:body>{content}</w:body></w:document>"
    )


def docx(document: str, title: str = "", **more: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", document)
        if title:
            archive.writestr(
                "docProps/core.xml",
                f'<c xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{title}</dc:title></c>',
            )
        for name, data in more.items():
            archive.writestr(f"word/media/{name}", data)
    return buffer.getvalue()


def paragraph(*runs: str) -> str:
    return "<w:p>" + "".join(f"<w:r><w:t>{run}</w:t></w:r>" for run in runs) + "</w:p>"


def words(data: bytes) -> str:
    text = read_word(data, "a.docx").data
    assert isinstance(text, str)
    return text


def test_paragraphs_and_tables_in_order() -> None:
    def cell(*paragraphs: str) -> str:
        return f"<w:tc>{''.join(map(paragraph, paragraphs))}</w:tc>"

    table = (
        f"<w:tbl><w:tr>{cell('a')}{cell('b', 'c')}</w:tr><w:tr>{cell('1')}{cell('')}</w:tr></w:tbl>"
    )
    content = paragraph("Head") + paragraph("one ", "two") + table + paragraph("after")
    assert words(docx(body(content))) == "Head\none two\na | b c\n1\nafter"


def test_a_table_in_a_table_is_one_line_a_row() -> None:
    inner = f"<w:tbl><w:tr><w:tc>{paragraph('in')}</w:tc></w:tr></w:tbl>"
    content = f"<w:tbl><w:tr><w:tc>{paragraph('out')}{inner}</w:tc></w:tr></w:tbl>"
    assert words(docx(body(content))).split() == ["out", "in"]


def test_tabs_breaks_and_entities() -> None:
    runs = (
        "<w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c &amp; d</w:t><w:noBreakHyphen/></w:r>"
    )
    assert words(docx(body(f"<w:p>{runs}</w:p>"))) == "a\tb\nc & d-"


def test_controls_links_and_insertions_are_read_deletions_and_codes_are_not() -> None:
    content = (
        f"<w:sdt><w:sdtContent>{paragraph('control')}</w:sdtContent></w:sdt>"
        "<w:p><w:hyperlink><w:r><w:t>link</w:t></w:r></w:hyperlink>"
        "<w:ins><w:r><w:t> new</w:t></w:r></w:ins>"
        "<w:del><w:r><w:delText>old</w:delText></w:r></w:del>"
        "<w:r><w:instrText>PAGE</w:instrText></w:r></w:p>"
    )
    assert words(docx(body(content))) == "control\nlink new"


def test_what_stands_twice_for_old_programs_is_read_once() -> None:
    twice = "<mc:Choice>{0}</mc:Choice><mc:Fallback>{0}</mc:Fallback>"
    box = f"<mc:AlternateContent>{twice}</mc:AlternateContent>"
    content = f"<w:p><w:r>{box.format(paragraph('boxed'))}</w:r></w:p>"
    assert words(docx(body(content))).strip() == "boxed"


def test_the_title_comes_first_and_once() -> None:
    assert words(docx(body(paragraph("words")), title="T &amp; t")) == "T & t\nwords"
    assert words(docx(body(paragraph("Same")), title="Same")) == "Same"


def test_a_title_without_end_takes_no_time() -> None:
    start = time.monotonic()
    assert words(docx(body(paragraph("words")), title="a&amp;" * 1_000_000)).endswith("a&\nwords")
    assert time.monotonic() - start < 10


def test_strict_documents() -> None:
    strict = body(paragraph("words")).replace(W, "http://purl.oclc.org/ooxml/wordprocessingml/main")
    assert words(docx(strict)) == "words"


@pytest.mark.parametrize(
    "data",
    [
        docx("<w:document"),
        docx(body(paragraph("x"))[:-20]),
        docx(""),
        docx(body(paragraph("x")))[:-30],
        b"PK\3\4" + bytes(60),
    ],
)
def test_broken_documents(data: bytes) -> None:
    with pytest.raises(
        CorruptMedia, match=r"a\.docx is no Word document that can be read: \S.*anew"
    ):
        read_word(data, "a.docx")


def test_depth_is_no_matter() -> None:
    deep = "<w:sdt>" * 50_000 + paragraph("words") + "</w:sdt>" * 50_000
    assert words(docx(body(deep))) == "words"


def test_a_document_without_its_part() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("word/styles.xml", "<x/>")
    with pytest.raises(CorruptMedia, match=r"word/document\.xml"):
        read_word(buffer.getvalue(), "a.docx")


def test_no_words() -> None:
    with pytest.raises(CorruptMedia, match="holds no text"):
        read_word(docx(body("<w:p/>")), "a.docx")


def test_a_bomb_is_stopped_by_what_comes_out_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNPACKED", 2**20)
    data = docx(body(paragraph("x" * 2**21)))
    assert len(data) < 10_000
    # The size that the archive declares is a lie: it says 99 bytes, here and in its directory.
    size = struct.pack("<I", len(body(paragraph("x" * 2**21))))
    for lying in (data, data.replace(size, struct.pack("<I", 99))):
        with pytest.raises((TooLarge, CorruptMedia)):
            read_word(lying, "a.docx")
    with pytest.raises(TooLarge, match=r"a\.docx unpacks to more than 1,048,576 bytes"):
        read_word(data, "a.docx")


def test_what_is_not_text_is_never_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNPACKED", 2**16)
    data = docx(body(paragraph("words")), photo=bytes(2**22))
    assert words(data) == "words"


def test_entities_do_not_grow_and_reach_nothing() -> None:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    doctype = f'<!DOCTYPE d [<!ENTITY l0 "ha"><!ENTITY f SYSTEM "file:///etc/passwd">{laughs}]>'
    try:
        text = words(docx(body(paragraph("start &l11; &f; end"), doctype)))
    except CorruptMedia:
        return
    assert len(text) < 100
    assert "root:" not in text


def test_too_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PARTS", 2)
    with pytest.raises(TooLarge, match="has 3 parts; at most 2"):
        read_word(docx(body(paragraph("x")), title="t"), "a.docx")


def test_many_paragraphs_are_read_as_a_stream() -> None:
    count = 20_000
    assert words(docx(body(paragraph("word") * count))) == "\n".join(["word"] * count)


def test_damaged_documents_only_ever_raise_bad_input() -> None:
    whole, draw = docx(body(paragraph("some words") * 9), title="t"), random.Random(5)
    refused = []
    for _ in range(200):
        damaged = bytearray(whole[: draw.randrange(40, len(whole) + 1)])
        for _ in range(draw.randint(0, 6)):
            damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        try:
            assert words(bytes(damaged))
        except BadInput as error:
            refused.append(error.message)
    assert len(refused) > 100
    assert all(message.startswith("a.docx ") for message in refused)
