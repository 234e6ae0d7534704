"""Completions among the passages of an answer: which lack words, what is lent to them, and the
sources behind it, as passages of their own that can be cited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from embed.types import Item, Modality
from index.completions import LEAST
from index.types import Completion, Hit
from rag.library import Library
from rag.types import Passage

_CITED = 2  # sources of a completion that become passages


def lacks_words(passage: Passage) -> bool:
    """Whether nothing is said about it, by itself or by another item of its record."""
    if passage.text or passage.hit.item.modality is Modality.TEXT:
        return False
    return not any(item.modality is Modality.TEXT for item in passage.siblings)


def judged(completions: Sequence[Completion]) -> bool:
    """Whether what its words may be has been worked out, likely or not, and holds still."""
    return any(one.modality is Modality.TEXT and not one.stale for one in completions)


def lent(
    kept: Mapping[str, Sequence[Completion]], takes: frozenset[Modality]
) -> dict[str, list[Completion]]:
    """Of each record what is likely, holds still and is of use: words, and media that the answerer
    takes; the likeliest of each modality."""
    useful = takes | {Modality.TEXT}
    supposed: dict[str, list[Completion]] = {}
    for record, completions in kept.items():
        best: dict[Modality, Completion] = {}
        for one in completions:  # the likeliest comes first
            if one.p >= LEAST and not one.stale and one.modality in useful:
                best.setdefault(one.modality, one)
        supposed[record] = list(best.values())
    return supposed


def with_sources(
    library: Library, passages: Sequence[Passage], supposed: Mapping[str, Sequence[Completion]]
) -> list[Passage]:
    """Passages that lack words with what they are lent, and its sources behind all others."""
    lending = {
        one.number: tuple(supposed[one.hit.item.record])
        for one in passages
        if one.role == "found" and lacks_words(one) and supposed.get(one.hit.item.record)
    }
    filled = [
        replace(one, completions=lending[one.number]) if one.number in lending else one
        for one in passages
    ]
    wanted: dict[str, float] = {}
    for one in filled:
        for completion in one.completions:
            for source in completion.sources[:_CITED]:
                wanted.setdefault(source.item, one.probability * completion.p)
    there = {one.hit.item.id for one in passages}
    record_of = {s.item: s.record for p in filled for c in p.completions for s in c.sources}
    sources = sources_of(library, {one: record_of[one] for one in wanted if one not in there})
    last = max((one.number for one in passages), default=0)
    return filled + [
        _passage(last + n, hit, wanted[hit.item.id], siblings)
        for n, (hit, siblings) in enumerate(sources, start=1)
    ]


def sources_of(library: Library, wanted: Mapping[str, str]) -> list[tuple[Hit, list[Item]]]:
    """Items that completions rest on, by their ids with their records, each with the others of its
    record."""
    records = library.collection.items_of_records(set(wanted.values()))
    pieces = library.collection.pieces_of(wanted)
    found = []
    for one, record in wanted.items():
        items = records.get(record, [])
        item = next((item for item in items if item.id == one), None)
        if item is not None and one in pieces:
            hit = Hit(
                item=item,
                fragment=int(pieces[one].ids[0]),
                span=None,
                score=None,
                probability=None,
                rank_score=0.0,
                collection=library.collection.name,
                text=item.text,
                found_by=("completion",),
            )
            found.append((hit, [other for other in items if other.id != one]))
    return found


def _passage(number: int, hit: Hit, probability: float, siblings: Sequence[Item]) -> Passage:
    return Passage(
        number=number,
        hit=replace(hit, probability=probability, rank_score=probability),
        probability=probability,
        text=hit.item.text,
        siblings=tuple(siblings),
        role="source",
    )
