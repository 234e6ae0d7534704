"""How questions are worded: what in them only asks, and what says what is asked about.

Of "what colour is the large ring at the top left?" the words `what colour is` ask; what is looked
for is a large ring at the top left, and a good answer says nothing of `colour`. Rules and lists of
everyday English, no model; another language loses nothing but this help.

It knows no library.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from embed.types import Modality
from generation.endings import folded, stem
from generation.words_apart import marks_of, without_marks

LONG = 1_000  # characters: a longer text is no question whose wording could be read

MEDIA_WORDS = {
    Modality.IMAGE: "photo photograph picture image pic snapshot drawing",
    Modality.AUDIO: "recording audio sound",
    Modality.VIDEO: "video film clip footage movie",
    Modality.TEXT: "text document caption article transcript",
}
_MEDIA = "|".join(f"{word}s?" for words in MEDIA_WORDS.values() for word in words.split())
_ATTRIBUTES = (
    "colou?r shape size kind type sort species breed brand year date day month time hour number "
    "direction way place position location name title age price cost speed height length weight "
    "motion movement rhythm tone pitch sound part corner side"
).replace(" ", "|")
_AUX = "is|are|was|were|does|do|did|has|have|had|can|could|will|would|should|might|may|must"
_NOUN = "the|a|an|any|some|my|our|your|his|her|their|this|that|these|those|it|there"

_LAYERS = 12  # of words that only ask, one about the other
# What a question begins with before it comes to the point; taken off again and again.
_LEADS = re.compile(
    rf"""(?:
      (?:hi|hello|hey|okay?|so|well|and|but|please|thanks)\b[\s,!.:]+
    | (?:can|could|would|will)\s+you\b\s*(?:please\b)?
    | (?:show|find|give|tell|describe
        |(?:get|play|list|search|look)(?=\s+(?:me|us|for|all|an?|the|any|some|my)\b))\b
      (?:\s+(?:me|us|for|up|out|to|about|whether|if|all)\b)*
    | (?:do|have|did)\s+(?:i|we|you|they)\s+(?:have|own|got)\b
    | i(?:'m|\s+am)?\s+(?:want|need|look(?:ing)?|search(?:ing)?)\b
      (?:\s+(?:to|see|hear|find|know|for)\b)*
    | (?:is|are|was|were)\s+there\b
    | (?:(?:in|at|on|of|from|to|by|for|with|about)\s+)?(?:what|which)\s+(?:{_ATTRIBUTES})s?\s+
      (?:of\s+(?=\w+\s+(?:{_AUX})\b)|(?:{_AUX})\b)
    | (?:what|who|where|when|why|how|which)(?:'s\b|\s+(?:{_AUX})\b|\b)
      (?:\s+(?:many|much|big|large|small|tall|long|old|young|often|far|fast|loud|high|deep|wide)\b
         (?:\s+(?:{_AUX})\b)?)?
    | (?:{_AUX})\s+(?=(?:{_NOUN}|i|we|you|one|people)\b)
    | (?:is|are|was|were|does|did|can|could|should)\s+(?=\w)
    | (?:i|we|you)\s+(?=\w+\s+\w)
    | (?:the|an?)\s+(?:{_ATTRIBUTES})\s+of\b
    | (?:any|some|all|every|each|an?|the)\s+(?=(?:{_MEDIA})\s+(?:of|with|showing|where|that)\b)
    | (?:{_MEDIA})\s+(?:of|with|showing|where|in\s+which|that\s+shows?)\b
    )\s*""",
    re.IGNORECASE | re.VERBOSE,
)
_ENDS = re.compile(
    rf"""\s*(?:
      [?!.,;:]+
    | \b(?:sounds?|looks?|tastes?|smells?|feels?)\s+like
    | \b(?:in|on|from)\s+(?:the|this|that|these|those|my|our|your)\s+
      (?:{_MEDIA}|library|collection|album|folder|archive)s?
    | \b(?:{_AUX})\s+(?:there|it|this|that)
    | (?<!\bnot)\s(?:doing|moving|going|located|called|made\s+of|please)
    )\s*$""",
    re.IGNORECASE | re.VERBOSE,
)
# "…: what is its colour", "…. Where is it": a question at the end about what was said before it.
_TAIL = re.compile(
    r"[:;.,]\s*(?:in\s+)?(?:what|which|where|how|who|when)\b([^:;.,?]*)[?.!\s]*$", re.IGNORECASE
)
_ATTRIBUTE = re.compile(rf"(?:{_ATTRIBUTES})s?", re.IGNORECASE)
_WHETHER = re.compile(r"\W*(?:is|are|was|were|does|do|did)\s+(?!there\b|i\b|we\b|you\b)", re.I)
_OTHERS = re.compile(
    r"\b(?:(?<!look )(?<!sound )(?:un)?like\s+(?:this|that|it|these|those)|similar|another|others?"
    r"|same|resembl\w+|alike|more\s+(?:of|like))\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"[\"“”«»]([^\"“”«»]{2,200})[\"“”«»]")
_WORD = re.compile(r"\w+(?:['\u2019]\w+)?")
_ENGLISH = """
    a about above after again all also am an and any are as at away be because been before being
    below between both but by can could did do does doing done down during each else ever every
    few for from get gets give go goes going got had has have having he her here hers him his how i
    if in into is it its itself just know let like likely made make makes many may me might mine
    more most move moves moving much must my near no nor not now of off on one ones only onto or
    other our out over own per please put rather same say says see seen she should show shown shows
    so some something such tell than that the their them then there these they thing things this
    those through to too toward towards under until up upon us very was way we were what when where
    whether which while who whom whose why will with within would yes yet you your
    s t d ll m re ve
    object objects item items somebody someone anything anyone edge corner side sign
    hear heard look looks looking find found hello thanks question answer kind sort type
"""
_FUNCTION = frozenset(_ENGLISH.split())
_NAMES_MEDIA = frozenset(
    form for words in MEDIA_WORDS.values() for word in words.split() for form in (word, f"{word}s")
)
_WANTS = {
    modality: re.compile(rf"\b(?:{'|'.join(f'{word}s?' for word in words.split())})\b", re.I)
    for modality, words in MEDIA_WORDS.items()
} | {
    Modality.AUDIO: re.compile(
        r"\b(?:recordings?|audio|sounds?\s+(?:of|like)|sounds?\s*(?=[?.!]|$)|hear|listen\s+to)\b",
        re.IGNORECASE,
    ),
    Modality.IMAGE: re.compile(
        rf"\b(?:{'|'.join(f'{word}s?' for word in MEDIA_WORDS[Modality.IMAGE].split())}"
        r"|looks?\s+like)\b",
        re.IGNORECASE,
    ),
}


class Term(NamedTuple):
    """Something that an answer must speak of. kind: as `words_apart.Mark` has it, `word` for any
    other word (value: its stem), `quote` for words that must stand there as they are.

    surface: as it is written.
    """

    kind: str
    value: str
    surface: str


def bare(question: str) -> str:
    """What is asked about, without the words that ask; empty where nothing is left."""
    if len(question) > LONG:
        return question.strip()
    # One space between words: the patterns would try every way to share a run of them.
    text = _without_tail(" ".join(question.split()))
    for _ in range(_LAYERS):
        before = text
        text = _ENDS.sub("", _LEADS.sub("", text, count=1) if _LEADS.match(text) else text)
        if text == before:
            break
    return "" if text.lower() in _FUNCTION else text


def asks_for_others(question: str) -> bool:
    """Whether it is not about what is shown, but about what is like it."""
    return _OTHERS.search(question) is not None


def _without_tail(question: str) -> str:
    tail = _TAIL.search(question)
    if tail is None or not terms_of(question[: tail.start()]):
        return question
    more = [word for word in _WORD.findall(tail.group(1)) if is_content(word)]
    return question[: tail.start()] if all(map(_ATTRIBUTE.fullmatch, more)) else question


def media_named(text: str) -> frozenset[Modality]:
    """Modalities that the words ask for: "a photo of…", "what does it sound like"."""
    return frozenset(modality for modality, words in _WANTS.items() if words.search(text))


@lru_cache(maxsize=4096)
def terms_of(text: str) -> tuple[Term, ...]:
    """What a text speaks of, each once, in its order."""
    marks = marks_of(text)
    quotes = [Term("quote", folded(found), found) for found in _QUOTED.findall(text)]
    apart = [Term(mark.kind, mark.value, text[mark.start : mark.end]) for mark in marks]
    words = [term for word in _WORD.findall(without_marks(text, marks)) if (term := _term(word))]
    found = {(term.kind, term.value): term for term in (*quotes, *apart, *words)}
    return tuple(found.values())


@lru_cache(maxsize=65_536)
def _term(word: str) -> Term | None:
    return Term("word", stem(word), word) if is_content(word) else None


def wanted(question: str) -> tuple[Term, ...]:
    """What an answer to it must speak of. Alternatives ("red or blue?") are left open, and so is
    what is to be confirmed: that the ring is blue answers "is the ring red?" too."""
    about = bare(question)
    marks = marks_of(about)
    left_open = {
        (mark.kind, mark.value)
        for one, other in pairwise(marks)
        if one.kind == other.kind and re.search(r"\bor\b", about[one.end : other.start], re.I)
        for mark in (one, other)
    }
    if not left_open and _WHETHER.match(question) and len(terms_of(about)) > 1 and marks:
        left_open = {(marks[-1].kind, marks[-1].value)}
    return tuple(term for term in terms_of(about) if (term.kind, term.value) not in left_open)


def is_content(word: str) -> bool:
    """Whether a word says what is spoken of, rather than how."""
    low = folded(word)
    return low not in _FUNCTION and low not in _NAMES_MEDIA
