"""How much of what a question speaks of a text speaks of too. Nothing but terms is known here.

A term is covered by the same term (a synonym of a table, the same stem, the same quoted words), or
in part by a word of near meaning, as whoever compares words says. What a text says instead, red for
blue, is told apart from what it does not say at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from generation.endings import folded
from generation.words_apart import synonyms
from rag.seeking.wording import Term

Likeness = Callable[[Term, Sequence[Term]], float]
"""How near the nearest of some terms is to one, in [0, 1)."""

_WORD = re.compile(r"\w+(?:-\w+)*")
_CAPTION = 400  # characters: a longer text speaks of several things, and denies none by another
_PLACE = frozenset({"up", "across", "middle"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What one text covers of a question.

    whole: the weighted share that is covered, in [0, 1]. worst: of its terms the least covered.
    against: terms for which it says another of their kind, and quoted words that it lacks.
    beyond: it tells more of a place than was asked ("at the top left" for "at the top").
    """

    whole: float
    worst: float
    against: int
    beyond: bool


def covered(
    question: Sequence[Term],
    weights: Sequence[float],
    said: Sequence[Term],
    text: str,
    near: Likeness,
) -> Coverage:
    """Of a question that speaks of something. weights: of its terms, above 0. said: of `text`."""
    known = {(term.kind, term.value) for term in said}
    kinds = {term.kind for term in said} - {"word", "quote"}
    shares = [_share(term, known, kinds, said, text, near) for term in question]
    whole = sum(w * s for w, s in zip(weights, shares, strict=True)) / sum(weights)
    about_one = kinds if len(text) <= _CAPTION else set()
    against = [
        term
        for term, share in zip(question, shares, strict=True)
        if share == 0 and _says_otherwise(term, about_one)
    ]
    asked = {term.kind for term in question} & _PLACE
    beyond = bool(asked and (about_one & _PLACE) - asked)
    return Coverage(whole=whole, worst=min(shares), against=len(against), beyond=beyond)


class Glance:
    """How many of a question's terms a text seems to speak of: for hundreds of texts, in a few
    microseconds each. What is read closely is `covered`'s business."""

    def __init__(self, question: Sequence[Term]) -> None:
        self._any_of = [frozenset(synonyms(t.kind, t.value)) for t in question if _is_mark(t)]
        self._within = [term.value for term in question if not _is_mark(term)]
        self._count = len(question)

    def __call__(self, text: str) -> float:
        """The share of them, in [0, 1]; 1 where nothing is asked."""
        if not self._count:
            return 1.0
        low = text.lower()
        words = set(_WORD.findall(low)) if self._any_of else set()
        found = sum(not words.isdisjoint(any_of) for any_of in self._any_of)
        return (found + sum(value in low for value in self._within)) / self._count


def _is_mark(term: Term) -> bool:
    return term.kind not in ("word", "quote")


def _says_otherwise(term: Term, kinds: set[str]) -> bool:
    """Of a term that is not covered; quoted words that are not there are other words."""
    in_place = term.kind in _PLACE and bool(kinds & _PLACE)
    return term.kind == "quote" or term.kind in kinds or in_place


def _share(
    term: Term,
    known: set[tuple[str, str]],
    kinds: set[str],
    said: Sequence[Term],
    text: str,
    near: Likeness,
) -> float:
    if term.kind == "quote":
        return float(term.value in folded(text))
    if (term.kind, term.value) in known:
        return 1.0
    return 0.0 if term.kind in kinds else near(term, said)
