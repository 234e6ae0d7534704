from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embed.errors import CorruptMedia
from embed.media.webpage import looks_like_html, page_characters, read_html


def words(page: str | bytes) -> str:
    data = page.encode() if isinstance(page, str) else page
    text = read_html(data, "p.html").data
    assert isinstance(text, str)
    return text


PAGE = """<!doctype html><html><head><title> The  &amp;
 title </title><meta name=x content=no><style>p{color:red}</style>
<script>var x = "<p>no</p>"; if (1 < 2) no();</script></head>
<body><nav><ul><li>Home no<li>About no</ul></nav>
<h1>Head</h1><p>One <b>bo</b>ld<br>two &eacute;&#x96EA;&nbsp;end<!-- no -->
<ul><li>first<li>second <i>half</i></ul>
<table><tr><th>a<th>b<tr><td>1</td><td>2</td></tr></table>
<pre>x
  y</pre><img src=no.png alt="A fox"><svg><title>no</title></svg><noscript>no</noscript>
<div hidden><p>deep</div>tail<footer>no</footer></body></html>"""


def test_the_words_of_a_page() -> None:
    assert words(PAGE).split("\n") == [
        "The & title",
        "Head",
        "One bold",
        "two é雪 end",
        "first",
        "second half",
        "a | b",
        "1 | 2",
        "x",
        "  y",
        "A fox",
        "deep",
        "tail",
    ]


def test_a_title_is_not_said_twice() -> None:
    assert words("<title>Fox</title><h1>Fox</h1><p>red") == "Fox\nred"


def test_fragments_and_mistakes() -> None:
    assert words("<p>one<p>two</div></p><b>three") == "one\ntwo\nthree"
    assert words("<embed src=x><img alt=A><input><br>three") == "A\nthree"
    assert words("<p>a < b & c &nosuch; 5 > 3") == "a < b & c &nosuch; 5 > 3"


def test_a_menu_that_never_closes_does_not_take_the_page() -> None:
    assert words("<nav><p>one<p>two") == "one\ntwo"


@pytest.mark.parametrize("tag", ["div", "b", "table", "ul", "blockquote", "font", "svg"])
def test_depth_is_no_matter(tag: str) -> None:
    page = "<p>before</p>" + f"<{tag}>" * 50_000 + f"</{tag}>" * 50_000 + "<p>after"
    assert words(page) == "before\nafter"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("<meta charset='iso-8859-1'><p>caf\xe9 \x93quoted\x94".encode("latin-1"), "café “quoted”"),
        (
            '<meta http-equiv=Content-Type content="text/html; charset=Shift_JIS"><p>雪'.encode(
                "shift_jis"
            ),
            "雪",
        ),
        ('<?xml version="1.0" encoding="windows-1251"?><p>снег'.encode("cp1251"), "снег"),
        ("<p>naïve 雪".encode(), "naïve 雪"),
        ("<p>caf\xe9".encode("latin-1"), "café"),
        ("<meta charset=utf-8><p>caf\xe9".encode("latin-1"), "café"),
        (b"<meta charset=rot13><p>plain", "plain"),
        (b"<meta charset=unicode_escape><p>\\u0041", "\\u0041"),
        ("<meta charset=latin1><p>雪".encode("utf-8-sig"), "雪"),
        ("<p>雪".encode("utf-16"), "雪"),
        (codecs.BOM_UTF16_BE + "<p>雪".encode("utf-16-be"), "雪"),
    ],
)
def test_encodings(data: bytes, expected: str) -> None:
    assert words(data) == expected


def test_nothing_outside_is_read(tmp_path: object) -> None:
    page = '<!DOCTYPE html [<!ENTITY x SYSTEM "file:///etc/passwd">]><p>see &x;</p>'
    assert "root:" not in words(page)


@pytest.mark.parametrize("page", ["<html></html>", "<script>x", "<!-- a", "<p> &nbsp; </p>", "<"])
def test_a_page_without_words(page: str) -> None:
    if page == "<":
        assert words(page) == "<"
        return
    with pytest.raises(CorruptMedia, match=r"p\.html is a web page without a word"):
        words(page)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  <!DOCTYPE html>", True),
        ("<p>", True),
        ("<!-- a -->", True),
        ("<?xml", True),
        ("a < b", False),
        ("< b", False),
        ("# Heading <b>", False),
    ],
)
def test_what_begins_like_a_page(text: str, expected: bool) -> None:
    assert looks_like_html(text) is expected


@given(st.binary(max_size=300))
def test_any_bytes_have_characters(data: bytes) -> None:
    assert isinstance(page_characters(data), str)
