"""Everything that a plan looks for, asked of the library at once, and what came of it by record.

Each sub-query asks with its words, its media and its items; each of them asks every gallery, a
modality's items, by itself: in the tower's own space where it is of that modality, else in the
joint one. Galleries meet by calibrated probability, words join by rank (BM25 has no scale).
A medium that asks beside others has an equal say: an item's probability is the mean over them.

Texts are looked at more deeply than is kept: of generated captions the right one is among the first
32 by a sentence tower's cosine in 42 % of questions over 3,000, and among the first 128 by words
with their synonyms in 93 %. Half of what is kept ranks best, half covers most of the question.

It knows no reranker and no passage.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from embed.types import Item, Media, Modality, Origin
from generation.words_apart import marks_of, synonyms
from index.metadata.filters import And, Op, Predicate
from index.search.fusion import RRF_K, VECTOR, WORDS
from index.search.query import Query
from index.types import Hit, Partition, VectorKind
from rag.library import Asked, Library, guessed
from rag.seeking.coverage import Glance
from rag.seeking.wording import asks_for_others, terms_of
from rag.types import Plan, SubQuery

DEPTH = 4  # times as many as are asked for are kept
WIDE = 4  # times as many texts as are kept are looked at by their words
MOST = 1_000  # that are looked at, however many are asked for
TWINS = 0.98  # native cosine from which two media are the same one
_SAME = 0.99  # how likely such a one is about the question

_OBSERVED = Predicate("@origin", Op.EQ, Origin.OBSERVED.value)


@dataclass(frozen=True, slots=True, eq=False)
class Voices:
    """A sub-query, embedded. said: its words, None where the tower reads none. shown: its media and
    items. without: what it must not be like."""

    query: SubQuery
    said: Asked | None
    shown: tuple[Asked, ...]
    without: Asked | None

    @property
    def all(self) -> tuple[Asked, ...]:
        return (self.said, *self.shown) if self.said else self.shown


@dataclass(slots=True, eq=False)
class Sighting:
    """An item that a sub-query found. by: probability by number of the voice that found it.

    score: of the best fragment, whoever found it. places: where it stands in the galleries, from 1;
    worded: in the ranking by words.
    """

    hit: Hit
    score: float | None
    by: dict[int, float | None] = field(default_factory=dict)
    places: list[int] = field(default_factory=list)
    worded: list[int] = field(default_factory=list)


class Lead(NamedTuple):
    """A record that one sub-query found: its best item.

    probability: of the record, None where nothing is calibrated. rank: among others, higher is
    better. covers: the share of the question's terms that it seems to speak of.
    """

    found: Sighting
    probability: float | None
    rank: float
    covers: float

    @property
    def item(self) -> Item:
        return self.found.hit.item

    @property
    def hit(self) -> Hit:
        """As one search would have told it."""
        one = self.found
        kinds = ((VECTOR, one.places), (WORDS, one.worded))
        return replace(
            one.hit,
            score=one.score,
            probability=self.probability,
            found_by=tuple(kind for kind, places in kinds if places),
        )


def voices(plan: Plan, library: Library) -> list[Voices]:
    """All media of all sub-queries, embedded together. Raises as `Library.embed` and `of_item`."""
    reads = Modality.TEXT in library.batcher.embedder.modalities
    texts = [text for query in plan.queries for text in (query.words, query.without) if text]
    words = list(dict.fromkeys(texts)) if reads else []
    media = list({id(m): m for query in plan.queries for m in query.media}.values())
    made = library.embed([*(Media(Modality.TEXT, text) for text in words), *media])
    read = dict(zip(words, made, strict=False))
    seen = {id(m): one for m, one in zip(media, made[len(words) :], strict=True)}
    items = {i: library.of_item(i) for query in plan.queries for i in query.items}
    return [
        Voices(
            query,
            read.get(query.words or ""),
            (*(seen[id(m)] for m in query.media), *(items[i] for i in query.items)),
            read.get(query.without or ""),
        )
        for query in plan.queries
    ]


def seek(plan: Plan, asked: Sequence[Voices], library: Library, k: int) -> list[list[Lead]]:
    """For each sub-query its best records, best first, `DEPTH · k` in all; observed items alone."""
    queries = [
        (number, voice, query)
        for number, one in enumerate(asked)
        for voice, query in _queries(one, plan, library, DEPTH * k)
    ]
    results = library.search([query for _, _, query in queries])
    if any(hit.item.origin is not Origin.OBSERVED for found in results for hit in found.hits):
        results = library.search([_of_observed(query) for _, _, query in queries])
    pools: list[dict[str, Sighting]] = [{} for _ in asked]
    for (number, voice, _), found in zip(queries, results, strict=True):
        shown = None if voice is None else asked[number].all[voice]
        _take(pools[number], voice, shown, found.hits)
    for one, pool in zip(asked, pools, strict=True):
        _judge(one, pool.values(), library)
    return [
        _shortlist(_leads(one, pool.values(), plan.wants), max(1, DEPTH * k // len(asked)))
        for one, pool in zip(asked, pools, strict=True)
    ]


def _queries(
    one: Voices, plan: Plan, library: Library, depth: int
) -> list[tuple[int | None, Query]]:
    """Each with the number of the voice that asks; None asks by words alone."""
    galleries = sorted(one.query.modalities)
    # An item that is asked about is evidence itself; one that others shall be like is not.
    left_out = one.query.items if asks_for_others(plan.question) else ()
    common = Query(k=min(WIDE * depth, MOST), filter=plan.filter, exclude=frozenset(left_out))
    found: list[tuple[int | None, Query]] = [
        (
            number,
            replace(
                common,
                k=min(depth if gallery is Modality.TEXT else depth // 2, MOST),
                joint=voice.joint,
                native={m: v for m, v in voice.native.items() if m == gallery},
                modalities=frozenset({gallery}),
                curves=library.curves(voice.modality),
                # Two texts of one cosine may say opposite things; equal ones are told by words.
                collapse=None if gallery is Modality.TEXT else TWINS,
            ),
        )
        for number, voice in enumerate(one.all)
        for gallery in galleries
    ]
    if one.query.words and galleries:
        words = _with_synonyms(one.query.words)
        found.append((None, replace(common, words=words, modalities=frozenset(galleries))))
    return found


def _with_synonyms(words: str) -> str:
    more = (word for mark in marks_of(words) for word in synonyms(mark.kind, mark.value))
    return " ".join([words, *more])


def _of_observed(query: Query) -> Query:
    parts = (_OBSERVED,) if query.filter is None else (query.filter, _OBSERVED)
    return replace(query, filter=And(parts))


def _take(
    pool: dict[str, Sighting], voice: int | None, asked: Asked | None, hits: Sequence[Hit]
) -> None:
    for place, hit in enumerate((_likened(hit, asked) for hit in hits), 1):
        known = pool.setdefault(hit.item.id, Sighting(hit, hit.score))
        (known.worded if voice is None else known.places).append(place)
        if voice is None:
            continue
        known.by[voice] = hit.probability
        if known.score is None or (hit.probability or 0) > (known.hit.probability or 0):
            known.hit, known.score = hit, hit.score


def _likened(hit: Hit, asked: Asked | None) -> Hit:
    """What a medium found in its tower's own vectors: the same medium is certainly meant, and
    where no curve says what a cosine means there, a guess does."""
    if asked is None or hit.item.modality not in asked.native or hit.score is None:
        return hit
    if hit.score >= TWINS:
        return replace(hit, probability=max(_SAME, hit.probability or 0.0))
    return hit if hit.probability is not None else replace(hit, probability=guessed(hit.score))


def _judge(one: Voices, found: Iterable[Sighting], library: Library) -> None:
    """What words alone found gets its cosine too; what is like what was excluded loses by it."""
    wanted = [f for f in found if one.without is not None or 0 not in f.by]
    if one.said is None or not wanted:
        return
    vectors = library.collection.vectors_of_fragments(f.hit.fragment for f in wanted)
    there = [f for f in wanted if f.hit.fragment in vectors]
    if not there:
        return
    stacked = np.stack([vectors[f.hit.fragment] for f in there])
    curves = library.curves(Modality.TEXT)
    said = (stacked @ one.said.joint).tolist()
    unlike = (stacked @ one.without.joint).tolist() if one.without else [None] * len(there)
    for f, cosine, other in zip(there, said, unlike, strict=True):
        curve = curves.get(Partition(f.hit.item.modality, VectorKind.JOINT))
        if 0 not in f.by:
            f.by[0] = None if curve is None else curve(cosine)
            f.score = cosine if f.score is None else f.score
        if other is not None and curve is not None:
            spared = 1.0 - curve(other)
            f.by = {voice: None if p is None else p * spared for voice, p in f.by.items()}


def _leads(one: Voices, found: Iterable[Sighting], wants: frozenset[Modality]) -> list[Lead]:
    """One for each record, best first."""
    probable = [(f, _probability(f, one)) for f in found]
    glance = Glance(terms_of(one.query.words or ""))
    by_record: dict[str, list[Lead]] = {}
    for lead in _ranked(probable, glance):
        by_record.setdefault(lead.item.record, []).append(lead)
    leads = [_of_record(some, wants) for some in by_record.values()]
    return sorted(leads, key=lambda lead: (-lead.rank, lead.found.hit.fragment))


def _shortlist(leads: Sequence[Lead], most: int) -> list[Lead]:
    """The best ranked, and of the others those that cover most; in their order."""
    best, others = leads[: most // 2], leads[most // 2 :]
    covering = sorted(others, key=lambda lead: -lead.covers)[: most - len(best)]
    return sorted([*best, *covering], key=lambda lead: (-lead.rank, lead.found.hit.fragment))


def _probability(found: Sighting, one: Voices) -> float | None:
    """The mean over all voices; a voice that did not find it gives it nothing. What is asked about
    is what the question is about."""
    if found.hit.item.id in one.query.items:
        return 1.0
    known = [p for p in found.by.values() if p is not None]
    return sum(known) / max(1, len(one.all)) if known else None


def _ranked(found: Sequence[tuple[Sighting, float | None]], glance: Glance) -> list[Lead]:
    """By reciprocal rank: of the words' ranking, and of probability, or of the galleries where not
    all have one."""
    order = sorted(found, key=lambda pair: -(pair[1] or 0.0))
    likely = {id(f): n for n, (f, _) in enumerate(order, 1)}
    told = all(p is not None for _, p in found)
    return [
        Lead(
            f,
            p,
            sum(1.0 / (RRF_K + n) for n in (*f.worded, *([likely[id(f)]] if told else f.places))),
            glance(_said(f.hit)),
        )
        for f, p in found
    ]


def _said(hit: Hit) -> str:
    return f"{hit.item.title or ''}\n{hit.text or ''}"


def _of_record(leads: Sequence[Lead], wants: frozenset[Modality]) -> Lead:
    """Its best item, of a modality that was asked for where it has one."""
    if len(leads) == 1:
        return leads[0]
    best = max(leads, key=lambda lead: (lead.item.modality in wants, lead.rank))
    known = [lead.probability for lead in leads if lead.probability is not None]
    return Lead(
        best.found,
        max(known, default=None),
        max(lead.rank for lead in leads),
        max(lead.covers for lead in leads),
    )
