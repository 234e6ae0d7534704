"""From candidates to the probability that each is about the question; by name, as spaces are.

`builtin` needs no weights. Of a candidate that has words it asks: how probable was the hit, how
much of what the question speaks of do the words cover, the least covered term of all, and whether
they say something else instead; a logistic of these is the probability. Of a candidate without
words the hit's own calibrated probability is all there is. `hf:` names a cross-encoder
(`cross_encoders.py`).

Nothing here searches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from embed.errors import NotFound
from embed.registry import LoadOptions
from embed.types import GeoPoint, Item, Modality
from index.types import Hit
from rag.library import Library
from rag.seeking.coverage import Coverage, covered
from rag.seeking.near_words import NearWords
from rag.seeking.wording import Term, terms_of, wanted

FORMS = ("builtin", "hf:FOLDER or hf:OWNER/NAME")
UNKNOWN = 0.3  # of a hit without words, in a space that nobody has calibrated

_READ = 2_000  # characters of a candidate's words
_TELLING = 3.0  # weight of a term whose kind has exclusive values, in nats as rarity is
_LEAST, _MOST = 0.5, 6.0  # weights of other words
_SPECIFIC = 3  # terms of a question that says what it is about, whatever is shown with it
_SURE = 4.0  # the hit's log-odds count up to here


class Candidate(NamedTuple):
    """What may answer. text: its own words, as far as they matter. siblings: of its record."""

    hit: Hit
    text: str | None
    siblings: tuple[Item, ...] = ()

    @property
    def description(self) -> str:
        """All that is told of it: its words, captions and transcripts beside it."""
        told = [self.text, *(item.text for item in self.siblings)]
        return "\n".join(one[:_READ] for one in told if one)

    @property
    def names(self) -> str:
        """Titles, and what is noted about it."""
        items = (self.hit.item, *self.siblings)
        titles = [item.title for item in items if item.title]
        return "\n".join([*titles, *(value for item in items for value in _noted(item))])[:_READ]


@runtime_checkable
class Reranker(Protocol):
    """A question and candidates in, probabilities out. Safe to call from several threads."""

    @property
    def name(self) -> str: ...

    def probabilities(
        self, question: str, asked_with: frozenset[Modality], candidates: Sequence[Candidate]
    ) -> list[float]:
        """In [0, 1], that each is about the question; in the order of the candidates.

        question: words; empty where media alone ask. asked_with: their modalities.
        """
        ...


class Weights(NamedTuple):
    """Of the logistic over `Judged`."""

    bias: float
    likely: float
    whole: float
    worst: float
    against: float
    beyond: float


# Fitted by `benchmarks/rerank.py`, which says on what, and how it does on what it did not see.
FITTED = Weights(bias=-3.7, likely=0.91, whole=6.4, worst=2.2, against=-7.6, beyond=-8.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Why a candidate has its probability.

    likely: log-odds of the hit, 0 where nothing is known. coverage: None where it has no words, or
    the question asks for nothing that words could name.
    """

    probability: float
    likely: float
    coverage: Coverage | None = None


class Builtin:
    """The light reranker. Its only cost beside lists is a vector for each word not met before."""

    name = "builtin"

    def __init__(self, library: Library) -> None:
        self._library = library
        self._near = NearWords(library)

    def probabilities(
        self, question: str, asked_with: frozenset[Modality], candidates: Sequence[Candidate]
    ) -> list[float]:
        """As `Reranker` has it."""
        return [one.probability for one in self.judged(question, asked_with, candidates)]

    def judged(
        self, question: str, asked_with: frozenset[Modality], candidates: Sequence[Candidate]
    ) -> list[Judged]:
        """With the reasons."""
        terms = wanted(question)
        told = [_Told.of(candidate) for candidate in candidates]
        if not terms:
            return [_by_hit(candidate.hit) for candidate in candidates]
        weights = self._weights(terms)
        near = self._near_terms(terms, told)
        return [
            _judged(
                candidate.hit,
                covered(terms, weights, one.terms, one.text, near),
                described=one.described,
                shown=bool(asked_with),
                specific=len(terms) >= _SPECIFIC,
            )
            for candidate, one in zip(candidates, told, strict=True)
        ]

    def _weights(self, terms: Sequence[Term]) -> list[float]:
        words = [term.surface for term in terms if term.kind == "word"]
        rarity = self._library.collection.rarity(words) if words else {}
        return [
            min(_MOST, max(_LEAST, rarity[term.surface])) if term.kind == "word" else _TELLING
            for term in terms
        ]

    def _near_terms(self, terms: Sequence[Term], told: Sequence[_Told]) -> _Near:
        """Nothing is compared where some candidate says it all as it is."""
        open_terms = [t for t in terms if t.kind != "quote"]
        known = [{(t.kind, t.value) for t in one.terms} for one in told]
        if any(all((t.kind, t.value) in some for t in open_terms) for some in known):
            return _Near({})
        everywhere = set.intersection(*known) if known else set()
        missing = [t for t in open_terms if (t.kind, t.value) not in everywhere]
        # What says most already comes first: of many words not all are compared.
        asked = {(t.kind, t.value) for t in open_terms}
        order = sorted(range(len(told)), key=lambda n: -len(asked & known[n]))
        said = [term for n in order for term in told[n].terms if term.kind == "word"]
        return _Near(self._near.likeness(missing, said))


class _Near:
    """Likeness out of a table of words."""

    def __init__(self, near: dict[tuple[str, str], float]) -> None:
        self._near = near

    def __call__(self, term: Term, said: Sequence[Term]) -> float:
        if not self._near:
            return 0.0
        word = term.surface.lower()
        return max((self._near.get((word, one.surface.lower()), 0.0) for one in said), default=0.0)


class _Told(NamedTuple):
    """What a candidate says. described: by words of its own, not by names alone."""

    text: str
    terms: tuple[Term, ...]
    described: bool

    @classmethod
    def of(cls, candidate: Candidate) -> _Told:
        description, names = candidate.description, candidate.names
        text = f"{description}\n{names}"
        return cls(text, terms_of(text), bool(description.strip()))


def open_reranker(name: str, options: LoadOptions, library: Library) -> Reranker:
    """The reranker called `name`. Raises NotFound, MissingWeights, MissingDependency."""
    family, _, detail = name.partition(":")
    if name == "builtin":
        return Builtin(library)
    if family == "hf" and detail:
        from rag.seeking.cross_encoders import load  # noqa: PLC0415 (loads torch and transformers)

        return load(detail, options, library)
    raise NotFound(
        f"no reranker is called {name!r}; the choices are: {', '.join(FORMS)}", param="reranker"
    )


def features(likely: float, coverage: Coverage) -> tuple[float, ...]:
    """What `Weights` weigh, in their order."""
    return (
        1.0,
        likely,
        coverage.whole,
        coverage.worst,
        min(coverage.against, 2),
        float(coverage.beyond),
    )


def log_odds(probability: float | None) -> float:
    """Bounded; 0 where nothing is known."""
    if probability is None:
        return 0.0
    least = 1.0 / (1.0 + math.exp(_SURE))
    p = min(1.0 - least, max(least, probability))
    return math.log(p / (1.0 - p))


def _judged(
    hit: Hit, coverage: Coverage, *, described: bool, shown: bool, specific: bool
) -> Judged:
    likely = log_odds(hit.probability)
    height = sum(w * x for w, x in zip(FITTED, features(likely, coverage), strict=True))
    said = 1.0 / (1.0 + math.exp(-height))
    alone = _by_hit(hit).probability
    if shown and coverage.against:  # the words speak of what was shown with them
        probability = min(alone, said)
    elif shown:  # few words may say nothing of it; many that are all covered do
        probability = max(alone, said) if specific and described else alone
    elif described:
        probability = said
    else:  # a name may be about the question; that it is silent says nothing
        probability = max(alone, said) if coverage.worst > 0 else alone
    return Judged(probability=probability, likely=likely, coverage=coverage)


def _by_hit(hit: Hit) -> Judged:
    known = hit.probability
    return Judged(probability=UNKNOWN if known is None else known, likely=log_odds(known))


def _noted(item: Item) -> list[str]:
    values = [
        value
        for given in item.metadata.values()
        if not isinstance(given, GeoPoint)
        for value in (given if isinstance(given, list) else [given])
    ]
    return [str(value) for value in values if not isinstance(value, bool)]
