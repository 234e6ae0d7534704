"""A text to its sentences, citation marks where they belong; also while the text is still coming.

A sentence ends at `.!?…` before white space, at the full stops of scripts that write without
spaces, and at a line's end. Marks such as `[1]` after the full stop belong to the sentence before.
No model, no list of a language's rules but English abbreviations: a wrong cut makes two short
sentences, never loses a character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

MARK = re.compile(
    "[\\[\u3010]\\s*\\^?(\\d{1,4}(?:\\s*[,;\u2013-]\\s*\\^?\\d{1,4})*)\\s*[\\]\u3011]"
)
"""A citation: `[1]`, `[1, 2]`, `[1-3]`, and what some models write for it."""

_MARKS = rf"(?:\s*{MARK.pattern.replace('(', '(?:', 1)})*"
_CLOSING = "\"'\u2019\u201d»)\u300d\u300f\uff09"
_UNSPACED = "\u3002\uff01\uff1f\u0964\u061f"  # full stops that no space need follow
_END = re.compile(
    rf"(?:(?:(?<![.!?…])[.!?…]++[{_CLOSING}]*+(?={_MARKS}(?:\s|$))|[{_UNSPACED}]+[{_CLOSING}]*){_MARKS}"
    r"(?:(?<=\])[.!?]+)?)|\n+"
)
_OPEN_MARK = re.compile("\\s*[\\[\u3010][\\s\\d,;^\u2013-]*$")
_SHORT = re.compile(
    r"(?:\b(?:[A-Z]|[a-z]\.[a-z]|dr|mr|mrs|ms|prof|st|vs|etc|e\.g|i\.e|cf|no|nr|fig|figs|vol|pp?|"
    r"ca|approx|inc|ltd|co|jr|sr|dept|est|eds?|al|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec))"
    r"\.$",
    re.IGNORECASE,
)
_LISTED = re.compile(r"(?:^|\n)\s*(?:\d{1,3}|[a-zA-Z])\.$")
_CLOSED = frozenset({"etc", "al"})  # may end a sentence too: then a capital follows


class Piece(NamedTuple):
    """Characters `[start, end)`: a sentence with its marks, without the white space around it."""

    start: int
    end: int


def pieces(text: str) -> list[Piece]:
    """In order; all but white space is in one of them."""
    found, start = [], 0
    for end in [*_ends(text), len(text)]:
        words = text[start:end]
        if words.strip():
            inset = len(words) - len(words.lstrip())
            found.append(Piece(start + inset, start + len(words.rstrip())))
        start = end
    return found


def settled(text: str) -> list[Piece]:
    """Those of a text still coming that nothing to come can change: a next one has begun."""
    if mark := _OPEN_MARK.search(text):
        text = text[: mark.start()]
    return pieces(text)[:-1]


def cited(text: str) -> list[int]:
    """The numbers of its marks, in their order, once each."""
    numbers = [n for mark in MARK.finditer(text) for n in _numbers(mark.group(1))]
    return list(dict.fromkeys(numbers))


def without_marks(text: str) -> str:
    return MARK.sub("", text)


def _ends(text: str) -> Iterator[int]:
    for end in _END.finditer(text):
        if end.group()[0] == "." and not _is_end(text, end):
            continue
        yield end.end()


def _is_end(text: str, end: re.Match[str]) -> bool:
    """Whether this full stop ends a sentence rather than an abbreviation or a list's number."""
    line = text[max(0, end.start() - 40) : end.start() + 1]
    if _LISTED.search(line):
        return False
    short = _SHORT.search(line)
    if short is None or MARK.search(end.group()):
        return True
    after = text[end.end() : end.end() + 40].lstrip()
    return not after or (short.group()[:-1].lower() in _CLOSED and after[0].isupper())


def _numbers(marked: str) -> list[int]:
    found: list[int] = []
    for part in re.split(r"[,;]", marked.replace("^", "")):
        first, *last = (int(n) for n in re.split("[\u2013-]", part))
        found += range(first, min(last[0], first + 50) + 1) if last else [first]
    return found
