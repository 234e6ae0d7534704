from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embed.errors import CorruptMedia, TooLarge
from embed.media import text as module
from embed.media.text import chunk_spans, decode_text, title_of
from embed.types import CharSpan, Modality


def test_utf8_is_returned_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "poem.txt"
    path.write_bytes("Schnee 雪\r\nfällt\r".encode())
    media = decode_text(path)
    assert media.modality is Modality.TEXT
    assert media.data == "Schnee 雪\r\nfällt\r"
    assert media.source == str(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_are_dropped(encoding: str) -> None:
    assert decode_text("naïve 🦊".encode(encoding)).data == "naïve 🦊"


def test_big_endian_utf16() -> None:
    assert decode_text(b"\xfe\xff" + "naïve 🦊".encode("utf-16-be")).data == "naïve 🦊"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("café".encode("latin-1"), r"a\.txt is not valid UTF-8: byte 0xe9 at offset 3.*save it as"),
        (b"\xff\xfea\0b", "not valid UTF-16"),
        (b"one\0two", "character 3 is a NUL"),
        ("plain".encode("utf-16-le"), "NUL; if it is UTF-16"),
        (b"  \n\t ", "holds no text"),
        ("\ufeff".encode(), "holds no text"),
        (b"", "is empty"),
    ],
)
def test_refusals_say_what_and_how(data: bytes, message: str) -> None:
    with pytest.raises(CorruptMedia, match=message):
        decode_text(data, name="a.txt")


def test_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 8)
    assert decode_text(b"12345678").data == "12345678"
    with pytest.raises(TooLarge, match="the data has 9 bytes; at most 8"):
        decode_text(b"123456789")


def tokens(count: int) -> list[tuple[int, int]]:
    return [(5 * n, 5 * n + 4) for n in range(count)]


def test_a_short_text_is_one_window() -> None:
    assert chunk_spans(tokens(4), size=4, overlap=2) == [CharSpan(0, 19)]
    assert chunk_spans([], size=4, overlap=2) == []


def test_windows_overlap_and_the_last_is_drawn_back() -> None:
    assert chunk_spans(tokens(8), size=4, overlap=1) == [
        CharSpan(0, 19),
        CharSpan(15, 34),
        CharSpan(20, 39),
    ]


def test_windows_that_fit_exactly() -> None:
    assert chunk_spans(tokens(6), size=4, overlap=2) == [CharSpan(0, 19), CharSpan(10, 29)]


@given(count=st.integers(0, 200), size=st.integers(1, 40), data=st.data())
def test_windows_cover_every_token_once_or_more(count: int, size: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, size - 1))
    offsets = tokens(count)
    spans = chunk_spans(offsets, size=size, overlap=overlap)
    held = [[t for t in offsets if span.start <= t[0] and t[1] <= span.end] for span in spans]
    assert {token for window in held for token in window} == set(offsets)
    assert all(len(window) == min(size, count) for window in held)
    assert spans == sorted(set(spans))
    for before, after in pairwise(held):
        assert len(set(before) & set(after)) >= overlap
    stride = size - overlap
    assert len(spans) == (0 if not count else 1 + max(0, -(-(count - size) // stride)))


@pytest.mark.parametrize(("size", "overlap"), [(4, 4), (4, -1), (0, 0)])
def test_impossible_windows(size: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="overlap"):
        chunk_spans(tokens(3), size=size, overlap=overlap)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("\n\n  ## The sea ##\nmore", "The sea"),
        ("---\r\nplain", "---"),
        ("#\n# \nReal", "Real"),
        ("C# in depth", "C# in depth"),
        ("", ""),
        ("x" * 80, "x" * 80),
        ("y" * 81, "y" * 79 + "…"),
    ],
)
def test_titles(text: str, title: str) -> None:
    assert title_of(text) == title
