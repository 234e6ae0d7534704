"""Words that exclude each other: colours, sizes, places, ways to move, numbers, days.

To a sentence tower `red` and `blue` are nearer than `pink` and `magenta` (cosines .73 and .49 in
the built-in space), and `moving left` and `moving right` are one. What asks for the one is not
answered by the other, so such words are told apart by a table: of one kind two values exclude each
other, and of one value all words are equal. It is everyday English, no more.

It knows no vector and no library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Mark(NamedTuple):
    """Characters `[start, end)` of a text say that something is `value` among its `kind`."""

    kind: str
    value: str
    start: int
    end: int


# Of each kind its values, one a line: all words for it, the first is its name.
_KINDS = {
    "size": """
        small little tiny miniature
        medium mid-sized midsized medium-sized middle-sized
        large big huge giant enormous
    """,
    "colour": """
        black
        white
        grey gray
        red crimson scarlet
        green
        blue
        yellow
        orange
        brown
        magenta pink fuchsia
        purple violet
        cyan turquoise teal aqua
    """,
    "shape": """
        disc disk circle discs disks circles
        ring hoop rings hoops
        triangle triangles
        square squares
        cross crosses
        bar beam bars beams
        post pillar posts pillars
        star stars
    """,
    "number": """
        two 2
        three 3
        four 4
        five 5
        six 6
        seven 7
        eight 8
        nine 9
        ten 10
        eleven 11
        twelve 12
        thirteen 13
        fourteen 14
        fifteen 15
        sixteen 16
        seventeen 17
        eighteen 18
        nineteen 19
        twenty 20
        thirty 30
        forty 40
        fifty 50
        sixty 60
        seventy 70
        eighty 80
        ninety 90
    """,
    "day": """
        monday mondays
        tuesday tuesdays
        wednesday wednesdays
        thursday thursdays
        friday fridays
        saturday saturdays
        sunday sundays
    """,
    "month": """
        january
        february
        march
        april
        june
        july
        august
        september
        october
        november
        december
    """,
    "season": """
        spring springtime
        summer summertime
        autumn
        winter wintertime
    """,
    "up": """
        top upper uppermost
        bottom lower lowermost
    """,
    "across": """
        left left-hand leftmost
        right right-hand rightmost
    """,
    "middle": """
        centre center middle
    """,
    "motion": """
        still motionless stationary immobile unmoving
        left leftwards leftward
        right rightwards rightward
        up upwards upward rising rises rise risen ascending ascends climbing climbs
        down downwards downward falling falls fall descending descends sinking sinks dropping
    """,
    "age": """
        old elderly
        young
    """,
    "warmth": """
        hot
        cold freezing chilly
    """,
    "loudness": """
        loud noisy
        quiet silent
    """,
}
_MOVES = ("mov", "drift", "go", "head", "fly", "slid", "glid", "travel", "float")
_RESTS = ("stand", "sit", "stay", "hold", "keep", "remain")
_ENDINGS = ("", "e", "s", "es", "ing", "ed", "d", "ies")
_TOWARDS = r"(?:\s+(?:to|towards?|off\s+to))?(?:\s+the)?\s+(left|right|up|down)(?:wards?)?\b"
# What a word may begin that means more than the word.
_PHRASES: dict[str, tuple[tuple[str, str, str], ...]] = {
    **{f"{stem}{end}": (("motion", "", r"\w+" + _TOWARDS),) for stem in _MOVES for end in _ENDINGS},
    **{
        f"{stem}{end}": (("motion", "still", r"\w+\s+still\b"),)
        for stem in _RESTS
        for end in _ENDINGS
    },
    "not": (("motion", "still", r"not\s+moving\b"),),
    "does": (("motion", "still", r"does\s+not\s+move\b"),),
    "doesn": (("motion", "still", r"doesn't\s+move\b"),),
    "plus": (("shape", "cross", r"plus[\s-]+signs?\b"),),
}
_WORD = re.compile(r"\w+(?:-\w+)*")
_YEAR = re.compile(r"1[5-9]\d\d|20\d\d")


def _values() -> Iterator[tuple[str, tuple[str, str]]]:
    for kind, table in _KINDS.items():
        for line in table.strip().splitlines():
            name, *others = line.split()
            for word in (name, *others):
                yield word, (kind, name)


_WORDS: dict[tuple[str, str], list[str]] = {}
for _word, _value in _values():
    _WORDS.setdefault(_value, []).append(_word)
_WORDS["shape", "cross"].append("plus")  # sign
# `left` alone is where a thing is, not where it goes, and `up` says neither.
_VALUES = {
    word: value
    for word, value in _values()
    if not (value[0] == "motion" and word in ("left", "right", "up", "down"))
}
_TELLING = frozenset(_PHRASES) | frozenset(_VALUES)


def synonyms(kind: str, value: str) -> Sequence[str]:
    """All single words that may say it, those of other endings too; of a year, itself."""
    return _WORDS.get((kind, value), (value,))


def marks_of(text: str) -> list[Mark]:
    """In the order of the text; none overlap."""
    marks: list[Mark] = []
    for found in _WORD.finditer(text):
        word = found.group().lower()
        if word not in _TELLING and not word.isdigit():
            continue
        if not marks or found.start() >= marks[-1].end:
            marks += _mark(text, word, found.start())
    return marks


def _mark(text: str, word: str, start: int) -> Iterator[Mark]:
    for kind, value, pattern in _PHRASES.get(word, ()):
        if found := re.compile(pattern, re.IGNORECASE).match(text, start):
            yield Mark(kind, value or found.group(1).lower(), *found.span())
            return
    if word in _VALUES:
        yield Mark(*_VALUES[word], start, start + len(word))
    elif _YEAR.fullmatch(word):
        yield Mark("year", word, start, start + len(word))


def without_marks(text: str, marks: list[Mark]) -> str:
    """The text with spaces where the marks were."""
    for mark in marks:
        text = text[: mark.start] + " " * (mark.end - mark.start) + text[mark.end :]
    return text
