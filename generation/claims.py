"""What a sentence claims, as words that can be compared: which, denied or not, and bound to what.

    "a small red disc is not moving"  ->  size=small, colour=red, shape=disc, motion=still

Words of one meaning are one (`words_apart.py`), endings are cut off, and little words fall away. Of
two things in a sentence each keeps what is said of it: words are bound to those after them in their
run, what follows `is` to the run before it, and words after a preposition to that. It is a
reading of surfaces, of English foremost; in other languages it compares words alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from generation.endings import stem
from generation.words_apart import marks_of

_TOKEN = re.compile(
    "[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]"  # a character each where no spaces are written
    "|\\d+(?:[.,:/\u2013-]\\d+)*|[^\\W\\d_]+(?:['\u2019][^\\W\\d_]+)*"
    "|[^\\w\\s'\u2019\"\u201c\u201d\u2018«»_-]+|\n+"
)
_DENY = "not no never without neither nor none cannot nobody nothing"
_WHOLE = "nothing nobody none"  # deny by themselves, with no word after them
_JOIN = "is are was were be been being seems appears looks becomes"
_BIND = "on to from by in into onto with"
_SMALL = """
    a an the this that these those it its it's he she they them his her their i me my we us our you
    your there here one ones some any each every all both and or but so than then as of at for about
    am do does did done has have had having can could will would shall should may might must which
    who whom whose what when where why how if while also too very more most just only such same
    other others own please yes ok okay many up down out off well exactly anything something
    everything thing things object objects nearest
"""
_FRAME = """
    image picture photo photograph snapshot video film clip footage recording audio sound text
    document passage item record evidence source caption title page file show depict contain
    describe say said mention state according call titled name named find found see seen hear heard
    look like similar much likely probably perhaps possibly presumably apparently seem appear
    suggest supposedly note noted write wrote written read colour color shape size number kind type
    place position direction motion date time answer question according library collection shown
    display feature visible depicted among give given far know tell differ fit
"""
_REACH = 12  # words of a run that one is bound to
_ARTICLES = frozenset({"a", "an", "the"})
_DENYING = frozenset(_DENY.split())
_WHOLES = frozenset(_WHOLE.split())
_COPULAS = frozenset(_JOIN.split())
_BINDING = frozenset(_BIND.split())
_LITTLE = frozenset(_SMALL.split())


class Word(NamedTuple):
    """A word that counts. denied: it is said not to be so."""

    word: str
    denied: bool = False


class Claim(NamedTuple):
    """words: all that count, in order. runs: those that stand together, and what `is` joins, the
    predicate first. near: (a, b): a before b in one run. after: preposition, word of its run.
    """

    words: tuple[Word, ...]
    runs: tuple[tuple[str, ...], ...]
    near: frozenset[tuple[str, str]]
    after: frozenset[tuple[str, str]]

    @property
    def plain(self) -> frozenset[str]:
        """The words, denied or not."""
        return frozenset(word.word for word in self.words)


@lru_cache(maxsize=4096)
def claim_of(text: str) -> Claim:
    """Of a sentence, or of several together."""
    words: list[Word] = []
    runs: list[tuple[str, ...]] = []
    after: set[tuple[str, str]] = set()
    subject = ""
    for opened_by, run in _runs(text):
        plain = tuple(word.word for word in run)
        words += run
        runs.append((*plain, subject) if opened_by in _COPULAS and subject else plain)
        if opened_by in _BINDING:
            after |= {(opened_by, word) for word in plain}
        subject = plain[-1]
    near = {(a, b) for run in runs for n, a in enumerate(run) for b in run[n + 1 : n + _REACH]}
    return Claim(tuple(words), tuple(runs), frozenset(near), frozenset(after))


_FRAMING = frozenset(map(stem, _FRAME.split()))


class _Token(NamedTuple):
    """word: as compared; counts: it is no little word, none that frames, no punctuation."""

    surface: str
    word: str
    counts: bool


def _runs(text: str) -> Iterator[tuple[str, list[Word]]]:
    """Words that stand together, and the little word before each run, "" where it is none."""
    run: list[Word] = []
    opened_by, denied, bare, apart = "", False, False, False
    for token in _tokens(text):
        if token.counts:
            run.append(Word(token.word, denied))
            bare = False
            continue
        if token.surface in _ARTICLES:
            continue
        if run:
            yield opened_by, run
            run, opened_by, apart = [], "", False
        if token.surface in _DENYING or token.surface.endswith(("n't", "n\u2019t")):
            denied, bare = True, token.surface in _WHOLES
            continue
        apart |= not token.surface[0].isalnum()  # `is` joins nothing across a comma
        # "nothing in it and waited": `and` goes on with a list only where one was begun.
        denied &= not apart and token.surface != "but" and not (bare and token.surface == "and")
        opened_by = "" if apart and token.surface in _COPULAS else token.surface
    if run:
        yield opened_by, run


def _tokens(text: str) -> Iterator[_Token]:
    """Marks as one token each, all else word by word."""
    start = 0
    for mark in marks_of(text):
        yield from _plain(text[start : mark.start])
        surface = text[mark.start : mark.end].lower()
        yield _Token(surface, f"{mark.kind}={mark.value}", surface not in _LITTLE)
        start = mark.end
    yield from _plain(text[start:])


def _plain(text: str) -> Iterable[_Token]:
    return map(_token, _TOKEN.findall(text))


@lru_cache(maxsize=65_536)
def _token(written: str) -> _Token:
    surface = written.lower()
    return _Token(surface, stem(surface), _counts(surface))


def _counts(surface: str) -> bool:
    if not surface[0].isalnum() or surface in _LITTLE or surface in _DENYING:
        return False
    if surface in _COPULAS or surface in _BINDING or surface.endswith(("n't", "n\u2019t")):
        return False
    return stem(surface) not in _FRAMING
