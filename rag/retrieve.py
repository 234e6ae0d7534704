"""From a plan to numbered passages: everything is sought at once, judged, and the best are kept.

    voices (embed) -> galleries and words (search) -> records with what stands beside them
    -> the reranker's probability (rerank) -> shares for each sub-query, variety -> passages

The order is that of the reranker's probabilities; nothing generated is evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embed.types import Item, Modality, Origin
from generation.endings import folded
from generation.questions import Form, read
from index.search.selection import diverse, first_of_each
from index.types import Hit
from rag.library import Library
from rag.rerank import Candidate, Reranker
from rag.seeking.expand import text_of
from rag.seeking.places import is_long, with_places
from rag.seeking.seek import Lead, Voices, seek, voices
from rag.seeking.wording import terms_of
from rag.stages import Stages
from rag.types import Ask, Passage, Plan, SubQuery

DIVERSITY = 0.1  # how much likeness to what is above it counts against a passage
_EXCLUDED = 0.05  # of its probability is left to what speaks of what must not be there


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """A record. by: how probable it is for each sub-query that found it, by its number. rank: among
    what was found, higher is better."""

    candidate: Candidate
    by: dict[int, float]
    rank: float

    @property
    def hit(self) -> Hit:
        return self.candidate.hit

    @property
    def probability(self) -> float:
        return max(self.by.values())

    @property
    def modalities(self) -> frozenset[Modality]:
        """Of all that the record holds."""
        return frozenset(item.modality for item in (self.hit.item, *self.candidate.siblings))


def retrieve(
    ask: Ask, plan: Plan, library: Library, reranker: Reranker, stages: Stages
) -> list[Passage]:
    """At most `k` passages, the likeliest first; each sub-query keeps some of its own.

    Raises what embedding and searching raise.
    """
    if plan.small_talk or not plan.queries:
        return []
    k = ask.retrieval.k
    with stages("embed"):
        asked = voices(plan, library)
    with stages("search"):
        found = seek(plan, asked, library, k)
        beside = _beside(found, library)
        leads = [with_places(some, one, library) for one, some in zip(asked, found, strict=True)]
    with stages("rerank"):
        judged = _judged(plan, asked, leads, beside, reranker)
    with stages("search"):
        kept = _chosen(judged, plan, k, library)
    least = ask.retrieval.min_probability or 0.0
    return [
        Passage(
            number=number,
            hit=one.hit,
            probability=one.probability,
            text=one.candidate.text,
            siblings=one.candidate.siblings,
        )
        for number, one in enumerate((one for one in kept if one.probability >= least), 1)
    ]


def _beside(found: Sequence[Sequence[Lead]], library: Library) -> dict[str, list[Item]]:
    """The observed items of every record that was found."""
    records = dict.fromkeys(lead.item.record for leads in found for lead in leads)
    items = library.collection.items_of_records(records)
    return {
        record: [item for item in some if item.origin is Origin.OBSERVED]
        for record, some in items.items()
    }


def _judged(
    plan: Plan,
    asked: Sequence[Voices],
    found: Sequence[Sequence[Lead]],
    beside: dict[str, list[Item]],
    reranker: Reranker,
) -> list[_Judged]:
    """Each record once, of long texts each place, the likeliest first."""
    found_by: dict[tuple[str, int], _Judged] = {}
    for number, (one, leads) in enumerate(zip(asked, found, strict=True)):
        candidates = [_candidate(lead, beside) for lead in leads]
        shown = frozenset(voice.modality for voice in one.shown)
        words = _question(plan, one.query)
        likely = reranker.probabilities(words, shown, candidates) if candidates else []
        for lead, candidate, probability in zip(leads, candidates, likely, strict=True):
            spared = probability * _spared(candidate, one.query.without)
            key = (lead.item.record, candidate.hit.fragment if is_long(lead) else 0)
            known = found_by.get(key)
            better = known is None or spared > known.probability
            found_by[key] = _Judged(
                candidate if known is None or better else known.candidate,
                {**(known.by if known else {}), number: spared},
                max(lead.rank, known.rank if known else 0.0),
            )
    return sorted(found_by.values(), key=_likeliest_first)


def _likeliest_first(one: _Judged) -> tuple[float, float, int]:
    return (-one.probability, -one.rank, one.hit.fragment)


def _question(plan: Plan, query: SubQuery) -> str:
    """What a candidate is judged by: all that was asked, but where it asks for several things, or
    for something without another."""
    if not query.words:
        return ""
    return plan.question if len(plan.queries) == 1 and query.without is None else query.words


def _candidate(lead: Lead, beside: dict[str, list[Item]]) -> Candidate:
    hit = lead.hit
    others = [item for item in beside.get(hit.item.record, ()) if item.id != hit.item.id]
    return Candidate(hit, text_of(hit), tuple(others))


def _spared(candidate: Candidate, without: str | None) -> float:
    if without is None:
        return 1.0
    bad = {(term.kind, term.value) for term in terms_of(without)}
    said = {(term.kind, term.value) for term in terms_of(candidate.description)}
    return _EXCLUDED if bad and bad <= said else 1.0


def _chosen(judged: Sequence[_Judged], plan: Plan, k: int, library: Library) -> list[_Judged]:
    """The k to show: some of each sub-query and of the media that the words name, equal texts once
    where not all are asked for, unlike ones before like ones."""
    once = list(judged) if _asks_for_all(plan) else _once(judged)
    named = [one for one in once if plan.wants & one.modalities]
    sure = {id(one) for one in named[: k // 2]}
    least = max(1, k // (2 * len(plan.queries)))
    for number in range(len(plan.queries)):
        own = sorted((one for one in once if number in one.by), key=lambda one: -one.by[number])
        sure |= {id(one) for one in own[:least]}
    rest = [one for one in once if id(one) not in sure]
    kept = [one for one in once if id(one) in sure][:k]
    kept += _varied(kept, rest, k - len(kept), library)
    return sorted(kept, key=_likeliest_first)


def _asks_for_all(plan: Plan) -> bool:
    """Whether equal things count each: they are to be listed, or counted."""
    return read(plan.question, asked_with_media=False).form in (Form.LIST, Form.COUNT)


def _once(judged: Sequence[_Judged]) -> list[_Judged]:
    """Of equal texts the likeliest."""
    texts = [folded(one.candidate.text or "") or None for one in judged]
    return [judged[n] for n in first_of_each(texts, ())]


def _varied(
    before: Sequence[_Judged], rest: Sequence[_Judged], count: int, library: Library
) -> list[_Judged]:
    """Maximal marginal relevance behind those that are kept already."""
    if count >= len(rest) or count < 1:
        return list(rest) if count >= len(rest) else []
    found = library.collection.vectors_of_fragments(one.hit.fragment for one in (*before, *rest))
    first = [one for one in before if one.hit.fragment in found]
    there = [one for one in rest if one.hit.fragment in found]
    if not there:
        return list(rest[:count])
    vectors = np.stack([found[one.hit.fragment] for one in (*first, *there)])
    gains = np.array([one.probability for one in (*first, *there)])
    return [there[at - len(first)] for at in diverse(gains, vectors, DIVERSITY, count, len(first))]
