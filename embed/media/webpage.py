"""Web pages: HTML to the words that a reader would see, its title first.

libxml2's HTML parser tells of tags one by one and no tree is built, so that neither depth nor
breakage matters. It fetches nothing and runs nothing.
Encodings are found as the HTML standard does it (WHATWG HTML, 13.2.3): byte order mark, `<meta>`,
then UTF-8, at last windows-1252, which takes any byte.
"""

from __future__ import annotations

import codecs
import re

from lxml import etree

from embed.errors import CorruptMedia
from embed.media.sniff import HEAD
from embed.types import Media, Modality


def _tags(names: str) -> frozenset[str]:
    return frozenset(names.split())


_UNREAD = _tags(
    "applet audio canvas frameset iframe math noembed noframes noscript object script "
    "select style svg template textarea video"
)
_NOISE = _tags("button dialog footer menu nav")
_BLOCKS = _tags(
    "address article aside blockquote body br caption center dd details dir div dl dt fieldset "
    "figcaption figure footer form h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main menu "
    "nav ol p pre search section summary table tbody tfoot thead title tr ul"
)
_CELLS = frozenset({"td", "th"})
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_META = re.compile(rb"""<(?:meta|\?xml)[^>]*?(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.I)
# By name, because Python knows codecs that are no encodings, and some that take for ever.
_ENCODING = re.compile(
    r"utf-?8|windows-125\d|cp125\d|koi8-[ru]|iso-8859-\d+|gbk|gb2312|gb18030|big5|euc-jp|euc-kr"
    r"|shift[_-]jis|iso-2022-jp|macintosh",
    re.IGNORECASE,
)
_IN_FACT_WINDOWS = frozenset({"iso-8859-1", "latin1", "us-ascii", "ascii"})


def looks_like_html(text: str) -> bool:
    """Whether it begins with a tag, a comment or a declaration."""
    return re.match(r"\s*<(?:[a-z]|!doctype|!--|\?xml)", text, re.IGNORECASE) is not None


def read_html(data: bytes, called: str) -> Media:
    """The readable text of a page, a block a line. Raises CorruptMedia when there is none."""
    markup = page_characters(data).replace("\0", "").encode()
    # A menu that is never closed would take the whole page with it.
    words = _read(markup, _UNREAD | _NOISE) or _read(markup, _UNREAD)
    if not words:
        raise CorruptMedia(f"{called} is a web page without a word to read")
    return Media(Modality.TEXT, words, source=called)


def page_characters(data: bytes) -> str:
    """The characters of a page's bytes; always some."""
    for bom, encoding in _BOMS.items():
        if data.startswith(bom):
            return data.decode(encoding, "replace")
    for encoding in (*_declared(data[:HEAD]), "utf-8"):
        try:
            return data.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return data.decode("windows-1252", "replace")


def _declared(head: bytes) -> list[str]:
    found = _META.search(head)
    name = found[1].decode("ascii", "replace").lower() if found else ""
    if name in _IN_FACT_WINDOWS:
        return ["windows-1252"]
    return [name] if _ENCODING.fullmatch(name) else []


def _read(markup: bytes, unread: frozenset[str]) -> str:
    reader = _Reader(unread)
    parser = etree.HTMLParser(target=reader, encoding="utf-8", no_network=True, recover=True)
    try:
        parser.feed(markup)
        parser.close()
    except etree.LxmlError:  # nothing in it, or too broken to go on: what was read is kept
        pass
    return reader.words()


class _Reader:
    """What lxml calls a parser target: told of tags and words, it keeps the words."""

    def __init__(self, unread: frozenset[str]) -> None:
        self._unread = unread
        self._inside: list[str] = []  # elements that are not read, outermost first
        self._preformatted = 0
        self._title = ""
        self._line: list[str] = []
        self._lines: list[str] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in self._unread:
            self._inside.append(tag)
        if self._inside:
            return
        if tag in _BLOCKS:
            self._break()
        elif tag in _CELLS and self._line:
            self._line.append(" | ")
        elif tag == "img" and attributes.get("alt"):
            self._line.append(f" {attributes['alt']} ")
        self._preformatted += tag == "pre"

    def end(self, tag: str) -> None:
        if self._inside:
            if tag == self._inside[-1]:
                self._inside.pop()
            return
        if tag == "title":
            self._title = self._title or " ".join("".join(self._line).split())
            self._line.clear()
        elif tag in _BLOCKS:
            self._break()
        self._preformatted -= tag == "pre"

    def data(self, words: str) -> None:
        if not self._inside:
            self._line.append(words)

    def close(self) -> None:
        self._break()

    def words(self) -> str:
        self._break()
        lines = self._lines[self._lines[:1] == [self._title] :]
        return "\n".join([self._title, *lines] if self._title else lines)

    def _break(self) -> None:
        text = "".join(self._line)
        self._line.clear()
        if self._preformatted > 0:
            self._lines += [line.rstrip() for line in text.splitlines() if line.strip()]
        elif line := " ".join(text.split()):
            self._lines.append(line)
