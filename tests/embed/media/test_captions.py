from __future__ import annotations

import io
import random
import struct
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from embed.media.captions import MAX_CAPTION, caption_of
from embed.media.image import open_image
from embed.media.metadata import MAX_BLOCK, MAX_COMMENT, Blocks, blocks_of, tags_of
from embed.media.sniff import HEAD, media_type
from embed.types import Modality

PICTURE = Image.new("RGB", (8, 8), (9, 99, 199))


def encoded(form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    PICTURE.save(buffer, form, **options)
    return buffer.getvalue()


def caption(data: bytes) -> str:
    openers = open_image(data, "a")
    assert next(iter(openers)) is Modality.IMAGE
    if Modality.TEXT not in openers:
        return ""
    words = openers[Modality.TEXT](0).data
    assert isinstance(words, str)
    return words


def exif(order: str = "<", deeper: dict[int, bytes] | None = None, **tags: bytes) -> bytes:
    """A TIFF structure; tags are named x + four hex digits, values of type UNDEFINED."""
    values = {int(tag[1:], 16): value for tag, value in tags.items()}
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    first = _directory(order, 8, values, pointer=deeper is not None)
    second = _directory(order, 8 + len(first), deeper or {})
    return head + first + second


def _directory(order: str, at: int, values: dict[int, bytes], pointer: bool = False) -> bytes:
    count = len(values) + pointer
    body_at = at + 2 + 12 * count + 4
    entries, body = b"", b""
    for tag, value in values.items():
        stored = value.ljust(4, b"\0")
        if len(value) > 4:
            stored = struct.pack(order + "I", body_at + len(body))
            body += value
        entries += struct.pack(order + "HHI", tag, 7, len(value)) + stored
    if pointer:
        entries += struct.pack(order + "HHII", 0x8769, 4, 1, body_at + len(body))
    return struct.pack(order + "H", count) + entries + bytes(4) + body


def in_jpeg(block: bytes) -> bytes:
    return encoded("JPEG", exif=b"Exif\0\0" + block)


def xmp(inner: str) -> bytes:
    return (
        '<?xpacket begin="\ufeff"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/">{inner}'
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def entries(name: str, *words: str) -> str:
    listed = "".join(f"<rdf:li>{word}</rdf:li>" for word in words)
    return f"<dc:{name}><rdf:Bag>{listed}</rdf:Bag></dc:{name}>"


def segment(kind: int, body: bytes) -> bytes:
    return bytes([0xFF, kind]) + struct.pack(">H", len(body) + 2) + body


def with_segments(*segments: bytes) -> bytes:
    plain = encoded("JPEG")
    return plain[:2] + b"".join(segments) + plain[2:]


def iim(*datasets: tuple[int, bytes], utf8: bool = False) -> bytes:
    block = b"\x1c\x01\x5a\0\3\x1b%G" if utf8 else b""
    for number, value in datasets:
        block += struct.pack(">BBBH", 0x1C, 2, number, len(value)) + value
    resource = (
        b"8BIM" + struct.pack(">HBBI", 0x0404, 0, 0, len(block)) + block + bytes(len(block) % 2)
    )
    other = b"8BIM" + struct.pack(">HB3sI", 0x03ED, 3, b"odd", 3) + b"abc\0"
    return segment(0xED, b"Photoshop 3.0\0" + other + resource)


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif(order: str) -> None:
    encoding = "utf-16-le" if order == "<" else "utf-16-be"
    block = exif(
        order,
        x010e="Füchse im Schnee\0".encode(),
        x9c9b="Ein Titel\0".encode("utf-16-le"),
        x9c9c="note".encode("utf-16-le"),
        x9c9e="fox;snow".encode("utf-16-le"),
        x9c9f="The subject".encode("utf-16-le"),
        deeper={0x9286: b"UNICODE\0" + "comment 雪".encode(encoding)},
    )
    assert caption(in_jpeg(block)).split("\n") == [
        "Ein Titel",
        "Füchse im Schnee",
        "The subject",
        "fox, snow",
        "note",
        "comment 雪",
    ]


@pytest.mark.parametrize("code", [b"ASCII\0\0\0", bytes(8)])
def test_user_comments_in_one_byte_characters(code: bytes) -> None:
    assert caption(in_jpeg(exif(deeper={0x9286: code + b"at the lake   "}))) == "at the lake"


def test_old_encodings() -> None:
    assert caption(in_jpeg(exif(x010e=b"caf\xe9 noir\0"))) == "café noir"


def test_iptc() -> None:
    fields = [
        (5, b"Title"),
        (25, b"fox"),
        (25, b"snow"),
        (120, "Füchse".encode("latin-1")),
        (105, b"Headline"),
    ]
    assert caption(with_segments(iim(*fields))) == "Title\nHeadline\nFüchse\nfox, snow"
    assert caption(with_segments(iim((120, "Füchse 雪".encode()), utf8=True))) == "Füchse 雪"


def test_xmp() -> None:
    packet = xmp(
        entries("title", "T &amp; t")
        + entries("subject", "fox", "snow")
        + entries("description", "D")
    )
    expected = "T & t\nD\nfox, snow"
    assert (
        caption(with_segments(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet)))
        == expected
    )
    assert caption(encoded("WEBP", xmp=packet)) == expected
    assert caption(encoded("AVIF", xmp=packet)) == expected
    assert caption(encoded("PNG", pnginfo=_itxt("XML:com.adobe.xmp", packet.decode()))) == expected
    assert caption(encoded("TIFF", tiffinfo={700: packet})) == expected


def _itxt(keyword: str, words: str, *, packed: bool = False) -> PngInfo:
    info = PngInfo()
    info.add_itxt(keyword, words, zip=packed)
    return info


def test_png_texts() -> None:
    info = PngInfo()
    info.add_text("Title", "café")
    info.add_text("Description", "long " * 99, zip=True)
    info.add_itxt("Comment", "雪", zip=True)
    info.add_text("Author", "Ada")
    info.add_text("parameters", "no")
    assert caption(encoded("PNG", pnginfo=info)).split("\n") == [
        "café",
        ("long " * 99).strip(),
        "雪",
        "Ada",
    ]


def test_comments_of_jpeg_and_gif() -> None:
    assert caption(with_segments(segment(0xFE, b"a fox"))) == "a fox"
    assert caption(encoded("GIF", comment=b"a fox " * 60)) == ("a fox " * 60).strip()


@pytest.mark.parametrize("form", ["WEBP", "PNG", "AVIF", "TIFF"])
def test_exif_in_other_formats(form: str) -> None:
    tags = Image.Exif()
    tags[0x010E] = "a fox"
    assert caption(encoded(form, exif=tags)) == "a fox"


def test_heic() -> None:
    heif = pytest.importorskip("pillow_heif")
    tags = Image.Exif()
    tags[0x010E] = "a fox"
    buffer = io.BytesIO()
    heif.from_pillow(PICTURE.resize((64, 64))).save(buffer, exif=tags.tobytes())
    assert caption(buffer.getvalue()) == "a fox"


def test_the_same_words_are_said_once() -> None:
    packet = xmp(entries("description", "A Fox") + entries("title", "a fox"))
    data = with_segments(
        segment(0xE1, b"Exif\0\0" + exif(x010e=b"a  fox\n")),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet),
        iim((120, b"A FOX"), (25, b"snow"), (25, b"Snow")),
    )
    assert caption(data) == "a fox\nsnow"


@pytest.mark.parametrize(
    "words",
    ["OLYMPUS DIGITAL CAMERA         ", "SONY DSC", "KONICA MINOLTA DIGITAL CAMERA", "DCF 1.0",
     "<KENOX S760  / Samsung S760>", "Created with GIMP", "File written by Adobe Photoshop\xa8 4.0",
     "CREATOR: gd-jpeg v1.0 (using IJG JPEG v62), quality = 90", "Exif_JPEG_PICTURE", "cof", "hdr",
     "LEAD Technologies Inc. V1.01", "Lavc58.54.100", "Intel(R) JPEG Library, [1.51.12.44]",
     "DSC_0123", "IMG_2024", "12345", "   ", "- . -", "untitled", "x" * 80, '{"a": "b"}',
     "Optimized by JPEGmini 3.9", "\0\0\0", "\x01\x02"],
)  # fmt: skip
def test_what_machines_write_is_left_out(words: str) -> None:
    assert caption_of(Blocks(comments=[("", words)])) == ""


@pytest.mark.parametrize(
    "words",
    ["A", "雪", "My digital camera collection on the shelf", "A sculpture created by Rodin",
     "Photo of a fox", "HDR panorama of the bay", "Sony DSC-RX100 review", "Image 5: the cell"],
)  # fmt: skip
def test_what_people_write_is_kept(words: str) -> None:
    assert caption_of(Blocks(comments=[("", words)])) == words


def test_who_made_it_is_no_caption() -> None:
    assert caption_of(Blocks(comments=[("Author", "Ada")])) == ""


def test_captions_are_bounded() -> None:
    many = [("Comment", f"comment number {n} " + "word " * 900) for n in range(50)]
    assert len(caption_of(Blocks(comments=many))) <= MAX_CAPTION


def test_a_text_that_unpacks_without_end() -> None:
    body = b"Comment\0\0" + zlib.compress(b"word " * 2**22)
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + bytes(4)
    plain = encoded("PNG")
    assert len(caption(plain[:33] + chunk + plain[33:])) <= MAX_CAPTION


def test_tags_that_share_their_bytes_are_not_copied() -> None:
    count, size = 1_000, MAX_BLOCK
    rows = b"".join(struct.pack("<HHII", tag, 7, size, 8) for tag in range(count))
    block = (b"II*\0" + struct.pack("<IH", 8, count) + rows).ljust(size + 8, b"\0")
    tracemalloc.start()
    assert len(tags_of(block).values) == count
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * size


def test_many_texts_that_unpack_are_not_kept_whole() -> None:
    info = PngInfo()
    for _ in range(50):
        info.add_text("Comment", "word " * 200_000, zip=True)
    comments = blocks_of(encoded("PNG", pnginfo=info), "image/png").comments
    assert [len(words) for _, words in comments] == [MAX_COMMENT] * 50


def test_entities_in_xmp_do_not_grow() -> None:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    packet = (
        b'<!DOCTYPE x [<!ENTITY l0 "ha">'
        + laughs.encode()
        + b"]>"
        + xmp(entries("title", "a &l11; b"))
    )
    assert len(caption_of(Blocks(xmp=packet))) < 100


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "JPEG2000"])
def test_most_pictures_say_nothing(form: str) -> None:
    assert list(open_image(encoded(form), "a")) == [Modality.IMAGE]


def test_damaged_metadata_is_ignored() -> None:
    rich = with_segments(
        segment(0xE1, b"Exif\0\0" + exif(x010e=b"a fox", deeper={0x9286: b"ASCII\0\0\0words"})),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(entries("title", "title"))),
        iim((120, b"caption"), (25, b"word")),
        segment(0xFE, b"comment"),
    )
    others = [
        encoded("PNG", pnginfo=_itxt("Title", "t", packed=True)),
        encoded("GIF", comment=b"fox"),
    ]
    draw = random.Random(7)
    for whole in (rich, *others, encoded("WEBP", xmp=xmp(entries("title", "t"))), encoded("TIFF")):
        for _ in range(150):
            damaged = bytearray(whole[: draw.randrange(12, len(whole) + 1)])
            for _ in range(draw.randint(0, 8)):
                damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
            kind = media_type(whole[:HEAD])
            assert len(caption_of(blocks_of(bytes(damaged), kind))) <= MAX_CAPTION


@given(st.binary(max_size=400))
def test_any_bytes_have_tags(data: bytes) -> None:
    for order in (b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"):
        caption_of(Blocks(exif=order + data, iptc=b"\x1c\2" + data, xmp=xmp("") + data))
        assert tags_of(order + data).byte_order in "<>"
