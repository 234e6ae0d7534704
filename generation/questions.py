"""What a question asks for: a kind of word, a number, yes or no, a list, or what a medium shows.

Rules over everyday English, no model; what fits no rule is an open question. It knows no evidence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from generation.claims import Word, claim_of
from generation.endings import stem
from generation.words_apart import Mark, marks_of


class Form(StrEnum):
    """KIND: which word of a kind. WHETHER: yes or no. LIST: what there is. MEDIUM: what something
    is like. OPEN: all else."""

    KIND = "kind"
    COUNT = "count"
    WHETHER = "whether"
    LIST = "list"
    MEDIUM = "medium"
    OPEN = "open"


class Question(NamedTuple):
    """kind: what is asked for, of `KINDS`, where the form is KIND. about: words that say of what.

    existence: of a WHETHER, that anything is there at all. words: stems of all its words. people:
    stems of names that have several words.
    """

    form: Form
    kind: str | None
    about: frozenset[Word]
    existence: bool
    words: frozenset[str]
    people: tuple[frozenset[str], ...] = ()

    def half_named(self, told: frozenset[str]) -> frozenset[str]:
        """What is lacking of names that words have a part of: Greta Dorn is not Greta Falk."""
        return frozenset().union(*(name - told for name in self.people if name & told))

    def against(self, said: str) -> frozenset[str]:
        """Its words that a text says otherwise: one about a blue disc answers nothing about a red
        one."""
        told = _told(said)
        return frozenset(
            word for word, kind, value in self._named() if kind in told and value not in told[kind]
        )

    def speaks_of(self, said: str) -> bool:
        """Whether a text says anything of a kind that the question names."""
        return any(kind in _told(said) for _, kind, _ in self._named())

    def is_denied(self, said: str) -> bool:
        """Whether a text denies what it asks about, or says what it denies."""
        told = claim_of(said).words
        return any(
            word not in told and Word(word.word, not word.denied) in told for word in self.about
        )

    def names(self, key: str) -> bool:
        """Whether it asks for what is noted under this name."""
        words = [stem(word) for word in re.findall(r"[^\W_]+", key)]
        return bool(words) and self.words.issuperset(words)

    def hints(self, said: str) -> bool:
        """Whether a sentence is built as its answer would be: a reason, a name, a definition."""
        if "why" in self.words:
            return _REASON.search(said) is not None
        if "who" in self.words:
            return any(stem(name) not in self.words for name in _NAME.findall(said))
        defined = _DEFINES.match(said) if "what" in self.words else None
        return defined is not None and stem(defined.group(1)) in self.words

    def nearest(self, found: Sequence[Value], said: str) -> Value:
        """Of values in a text the one that is said of what it asks about, else the first."""
        about = {word.word for word in self.about}
        new = [value for value in found if not value.meaning <= about] or list(found)
        return next((value for value in new if self.binds(value, said)), new[0])

    def binds(self, value: Value, said: str) -> bool:
        """Whether a text says this value of what it asks about."""
        about = {word.word for word in self.about}
        near = claim_of(said).near
        return any((m, a) in near or (a, m) in near for m in value.meaning for a in about)

    def _named(self) -> list[tuple[str, str, str]]:
        """Word, kind and value of those that are told apart."""
        parts = [(one.word, *one.word.partition("=")) for one in self.about]
        return [(word, kind, value) for word, kind, equals, value in parts if equals]


class Value(NamedTuple):
    """A word of the kind asked for: as it is written, and what it means, to compare by."""

    surface: str
    meaning: frozenset[str]


KINDS = {  # what is asked for: the kinds of marks that tell it
    "colour": ("colour",),
    "shape": ("shape",),
    "size": ("size",),
    "place": ("up", "across", "middle"),
    "motion": ("motion",),
    "time": ("year", "month", "day", "season"),
    "price": (),
    "amount": ("number",),
}
CLOSED = frozenset({"colour", "shape", "size", "price"})
"""Kinds whose words are all known."""

_MOVING = r"(?:mov|go|drift|head|fly|travel|turn|point)\w*"
_KIND_OF = {
    "colour": r"\bcolou?rs?\b",
    "shape": r"\bshapes?\b",
    "motion": rf"\b(?:which|what)\s+(?:way|direction)\b|\bhow\s+(?:does|do|is|are)\b.*\b{_MOVING}"
    r"|\b(?:motion|movement)\b|\bwhat\s+(?:is|are|does|do)\b.+\bdo(?:ing)?\b"
    r"|\b(?:is|are)\b.+\b(?:standing|moving|still)\b.*\bor\b",
    "size": r"\bsizes?\b|\bhow\s+(?:big|large|small|tiny|tall)\b",
    "place": r"\bwhere\b|\b(?:which|what)\s+(?:part|corner|side|place|position)\b"
    r"|\b(?:position|location)\b",
    "time": r"\bwhen\b|\b(?:which|what)\s+(?:years?|months?|days?|dates?|times?|season)\b",
    "price": r"\b(?:prices?|costs?)\b",
    "amount": r"\bhow\s+(?:much|old|long|far|high|fast|heavy|deep|wide)\b",
}
_COUNT = re.compile(r"\bhow\s+many\b|\b(?:the\s+)?number\s+of\b|^\W*count\b", re.IGNORECASE)
_WHETHER = re.compile(
    r"^\W*(?:(?:so|and|but|please|well)\W+)?(?:is|are|was|were|do|does|did|has|have|had|can|could|"
    r"will|would|should)\b",
    re.IGNORECASE,
)
_EXISTENCE = re.compile(
    r"\b(?:is|are|was|were)\s+there\b|\b(?:do|did|does|have|has)\s+(?:i|we|you|they|it)\b.*\b"
    r"(?:have|got|own|contain|hold|include)\b|\bhave\s+(?:i|we|you)\s+got\b",
    re.IGNORECASE,
)
_REASON = re.compile(r"\b(?:because|since|so\s+that|due\s+to|in\s+order\s+to|as|for)\b", re.I)
_NAME = re.compile(r"(?<=[\w,;:]\s)[A-Z][\w'\u2019-]+")
_DEFINES = re.compile(r"(?:(?:the|an?)\s+)?(?:[\w-]+\s+)??([\w-]+)s?\s+(?:is|are|means?)\b", re.I)
_REQUEST = re.compile(r"^\W*(?:can|could|would|will)\s+you\s+(?:please\s+)?", re.IGNORECASE)
_LIST = re.compile(
    r"^\W*(?:please\s+)?(?:show|find|list|give|get|search|look\s+for|display|i\s+(?:want|need))\b"
    r"|^\W*(?:which|what)\s+(?:\w+\s+)?(?:photo|picture|image|video|film|clip|sound|recording|song|"
    r"document|text|item|record|thing|file)s\b",
    re.IGNORECASE,
)
_MOVES = frozenset(
    map(stem, ("move", "go", "drift", "head", "fly", "travel", "turn", "point", "doing", "way"))
)
_AMOUNTS = frozenset(
    {*map(stem, ("long", "far", "high", "fast", "heavy", "deep", "wide")), "age=old"}
)
_PLACE = re.compile(
    r"\b(?:at|in|on|near|under|above|behind|beside|inside|below|between|next\s+to|in\s+front\s+of)"
    r"\s+(?:the\s+|a\s+|an\s+|his\s+|her\s+|its\s+|my\s+)?[\w'\u2019-]+(?:\s+(?!(?:at|in|on|and|or|is|are|was"
    r"|were|with|while|that|which|there)\b|\w+ing\b|an?\b|the\b)[\w'\u2019-]+){0,4}",
    re.IGNORECASE,
)
_DOING = re.compile(
    r"\b(?!(?:thing|something|nothing|morning|evening|during|string|ring)\b)\w{2,}ing\b"
    r"(?:\s+(?:up|down|on|in|at|to|a|the|with)?\s*\w+)?",
    re.IGNORECASE,
)
_TIME = re.compile(
    r"\b(?:\d{4}-\d\d(?:-\d\d)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}|\d{1,2}:\d\d(?:\s?[ap]m)?|"
    r"\d{1,2}\s?[ap]m)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[$€£]?\s?\d[\d.,:]*\d?(?:\s?(?:%|[a-zA-Z]+))?")
_PRICE = re.compile(
    r"(?:[$€£¥]|\b(?:USD|EUR|GBP|CHF)\b)\s?\d[\d.,]*|\b[\w.,]+\s?(?:[$€£¥]|\b(?:dollars?|euros?|pounds?"
    r"|francs?|yen|cents?|pence|USD|EUR|GBP|CHF)\b)|\bfree\s+of\s+charge\b",
    re.IGNORECASE,
)
_GREATER = re.compile(
    r"(?:[\s-]+(?:and\s+)?(?:dozen|hundred|thousand|million|billion))+", re.IGNORECASE
)
_UNIT = re.compile(
    r"\s+(?:second|minute|hour|day|night|week|month|year|gram|kilo(?:gram|met(?:er|re))?|ton|met(?:er|re)|"
    r"centimet(?:er|re)|mile|inche?|lit(?:er|re)|degree|percent|time)s?\b|\s+feet\b",
    re.IGNORECASE,
)
_TAKEN_OVER = re.compile(r"(?<=[?.!])\s*\([^()]*\)\s*$")
_FULL_NAME = re.compile(r"(?<=\w\s)[A-Z][\w'\u2019-]+(?:\s+[A-Z][\w'\u2019-]+)+")


def read(question: str, asked_with_media: bool) -> Question:
    """Reads a question. One without words asks what its medium is."""
    question = _own(_REQUEST.sub("", question))
    form, kind = _form(question)
    about = frozenset(claim_of(question).words) - _asking(question, form, kind)
    if form in (Form.OPEN, Form.KIND) and asked_with_media and kind is None and not about:
        form = Form.MEDIUM
    return Question(
        form=form,
        kind=kind,
        about=about,
        existence=_EXISTENCE.search(question) is not None,
        words=frozenset(stem(word) for word in re.findall(r"\w+", question)),
        people=tuple(claim_of(name).plain for name in _FULL_NAME.findall(question)),
    )


def _own(question: str) -> str:
    """Without what it takes over from earlier turns, in brackets behind it, if that says enough."""
    own = _TAKEN_OVER.sub("", question)
    return own if claim_of(own).words else question


def values(kind: str, text: str) -> list[Value]:
    """What of this kind a text says, in its order."""
    marks = [mark for mark in marks_of(text) if mark.kind in KINDS[kind]]
    if kind == "place":
        return _places(text, marks)
    found = [
        Value(text[mark.start : _end(mark, text)], frozenset({f"{mark.kind}={mark.value}"}))
        for mark in marks
    ]
    patterns = {"motion": _DOING, "time": _TIME, "amount": _NUMBER, "price": _PRICE}
    if found or kind not in patterns:
        return found
    said = [match.group().strip() for match in patterns[kind].finditer(text)]
    return [Value(one, claim_of(one).plain or frozenset({one})) for one in said]


def _end(mark: Mark, text: str) -> int:
    """Where a value ends: `four` goes on in `four hundred`, and `ten` in `ten days`."""
    if mark.kind != "number":
        return mark.end
    greater = _GREATER.match(text, mark.end)
    end = greater.end() if greater else mark.end
    unit = _UNIT.match(text, end)
    return unit.end() if unit else end


@lru_cache(maxsize=4096)
def _told(text: str) -> Mapping[str, set[str]]:
    """What a text says of each kind."""
    told: dict[str, set[str]] = {}
    for mark in marks_of(text):
        told.setdefault(mark.kind, set()).add(mark.value)
    return told


def _form(question: str) -> tuple[Form, str | None]:
    if _COUNT.search(question):
        return Form.COUNT, None
    if _LIST.search(question):
        return Form.LIST, None
    choice = _choice(question)
    if _WHETHER.search(question):
        return (Form.KIND, choice) if choice else (Form.WHETHER, None)
    for kind, pattern in _KIND_OF.items():
        if re.search(pattern, question, re.IGNORECASE):
            return Form.KIND, kind
    return Form.OPEN, None


def _choice(question: str) -> str | None:
    """The kind of which two are offered: "red or blue"."""
    marks = marks_of(question)
    for one, other in pairwise(marks):
        between = question[one.end : other.start].lower().split()
        if one.kind == other.kind and "or" in between:
            return next((kind for kind, names in KINDS.items() if one.kind in names), None)
    return None


def _asking(question: str, form: Form, kind: str | None) -> frozenset[Word]:
    """Words that ask and say nothing of what is asked about."""
    words = claim_of(question).words
    if form is Form.COUNT:
        return frozenset(word for word in words if word.word == "count")
    if kind == "motion":
        return frozenset(word for word in words if word.word in _MOVES or _is_of(word, kind))
    if kind == "amount":
        return frozenset(word for word in words if word.word in _AMOUNTS)
    offered = kind is not None and _choice(question) == kind
    if kind is not None and (offered or kind == "size"):
        return frozenset(word for word in words if _is_of(word, kind))
    return frozenset()


def _is_of(word: Word, kind: str) -> bool:
    return word.word.partition("=")[0] in KINDS[kind]


def _places(text: str, marks: list[Mark]) -> list[Value]:
    """Phrases that say where; those with a word for a place in a picture before all others."""
    phrases = [(found.start(), found.end()) for found in _PLACE.finditer(text)]
    told = []
    for start, end in phrases:
        within = {f"{m.kind}={m.value}" for m in marks if start <= m.start < end}
        told.append(
            (
                bool(within),
                Value(text[start:end], frozenset(within) or claim_of(text[start:end]).plain),
            )
        )
    sure = [value for certain, value in told if certain]
    return sure or [value for _, value in told if value.meaning]
