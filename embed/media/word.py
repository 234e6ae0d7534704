"""Word documents (.docx): paragraphs, headings and tables, in the order in which they stand.

A document is a ZIP of XML (ECMA-376: part 2 for the package, part 1, 17 for the text). Only the two
parts that hold words are unpacked, bounded by what comes out of them and not by what the archive
says, and read tag by tag without building a tree; pictures and fonts are never touched. Nothing
outside is fetched, no entity is resolved.
"""

from __future__ import annotations

import zipfile
import zlib
from io import BytesIO

from lxml import etree

from embed.errors import CorruptMedia, TooLarge
from embed.media.compose import Composer
from embed.types import Media

MAX_BYTES = 256 * 2**20
MAX_UNPACKED = 32 * 2**20
"""Bytes of XML; the text in it is a tenth of that, or less."""
MAX_PARTS = 10_000

_BLOCK = 2**18
_BODY = "word/document.xml"
_PROPERTIES = "docProps/core.xml"
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_STRICT = "{http://purl.oclc.org/ooxml/wordprocessingml/main}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_MARKS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}


def read_word(data: bytes, called: str) -> Media:
    """The text of a .docx, a paragraph a line, a row of a table a line; its title first.

    Raises CorruptMedia, TooLarge.
    """
    title, body = _Title(), _Body()
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            parts = archive.namelist()
            if len(parts) > MAX_PARTS:
                raise TooLarge(
                    f"{called} has {len(parts):,} parts; at most {MAX_PARTS:,} are read: save it "
                    "anew"
                )
            if _PROPERTIES in parts:
                _read(archive, _PROPERTIES, title, called)
            _read(archive, _BODY, body, called)
    except (zipfile.BadZipFile, zlib.error, etree.LxmlError, KeyError, EOFError, OSError) as error:
        raise _corrupt(called, str(error) or type(error).__name__) from error
    except (NotImplementedError, RuntimeError, ValueError) as error:  # encrypted, or rare packing
        raise _corrupt(called, str(error)) from error
    lines = body.lines if body.lines[:1] == [title.words] else [title.words, *body.lines]
    composer = Composer(called)
    composer.add(lines if lines[0] else lines[1:])
    return composer.media(sections=False)


def _corrupt(called: str, reason: str) -> CorruptMedia:
    return CorruptMedia(
        f"{called} is no Word document that can be read: {reason}; open it in a word processor "
        "and save it anew as .docx"
    )


def _read(archive: zipfile.ZipFile, part: str, target: _Title | _Body, called: str) -> None:
    parser = etree.XMLParser(
        target=target, resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False
    )
    left = MAX_UNPACKED
    with archive.open(part) as packed:
        while block := packed.read(_BLOCK):
            left -= len(block)
            if left < 0:
                raise TooLarge(
                    f"{called} unpacks to more than {MAX_UNPACKED:,} bytes; split it, or save it "
                    "anew"
                )
            parser.feed(block)
    parser.close()


class _Title:
    """What lxml calls a parser target: keeps the document's title."""

    def __init__(self) -> None:
        self.words = ""
        self._parts: list[str] = []
        self._inside = False

    def start(self, tag: str, _: object) -> None:
        self._inside = tag == _TITLE

    def end(self, tag: str) -> None:
        self._inside = False
        if tag == _TITLE:
            self.words = " ".join("".join(self._parts).split())

    def data(self, words: str) -> None:
        if self._inside:
            self._parts.append(words)

    def close(self) -> None:
        pass


class _Body:
    """A parser target that keeps paragraphs and rows as lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._line: list[str] = []
        self._inside = False  # of a run's text
        self._rows = 0  # tables one within the other
        self._fallback = 0  # how old programs are to draw what stands before it

    def start(self, tag: str, _: object) -> None:
        name = _name(tag)
        self._fallback += tag == _FALLBACK
        self._rows += name == "tr"
        self._inside = name == "t"
        if name in _MARKS:
            self._keep(_MARKS[name])

    def end(self, tag: str) -> None:
        name = _name(tag)
        self._inside = False
        self._fallback -= tag == _FALLBACK
        self._rows -= name == "tr"
        if name == "tr" and not self._rows:
            self._end_line(" ".join("".join(self._line).split()).rstrip(" |"))
        elif name == "p" and not self._rows:
            self._end_line("".join(self._line).strip())
        elif name in {"p", "tr"}:
            self._keep(" ")
        elif name == "tc":
            self._keep(" | ")

    def data(self, words: str) -> None:
        if self._inside:
            self._keep(words)

    def close(self) -> None:
        pass

    def _keep(self, words: str) -> None:
        if not self._fallback:
            self._line.append(words)

    def _end_line(self, line: str) -> None:
        if self._fallback:
            return
        self._line.clear()
        if line:
            self.lines.append(line)


def _name(tag: str) -> str:
    """Its name in either of the two namespaces of the format; else with its namespace."""
    return tag.removeprefix(_W).removeprefix(_STRICT)
