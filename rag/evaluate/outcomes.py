"""What came of a question: the answer and all that it rests on, as it is kept and judged later.

An outcome says enough to be judged without the collection: what each piece of evidence says, and by
which names it goes. Judging anew, by another judge, needs no asking anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote

from embed.types import Item, Modality
from generation.types import Saying, Statement
from index.types import Completion
from rag.grounding.statements import statements_of
from rag.types import Answer, Passage


class Claim(NamedTuple):
    """A sentence of an answer. cites: numbers of evidence. hedged: it says that it supposes."""

    text: str
    cites: tuple[int, ...] = ()
    hedged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A piece of evidence. names: by which it may be meant; kin: names of its record's others.

    found: it was found, not brought in as a source of a completion.
    """

    number: int
    modality: Modality
    names: frozenset[str]
    kin: frozenset[str] = frozenset()
    statements: tuple[Statement, ...] = ()
    found: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Supposed:
    """A completion of a record. names: of the record. values: its words, or names of its item."""

    names: frozenset[str]
    modality: Modality
    values: frozenset[str]
    p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one question; where `failed` says why, nothing did.

    confidence: that the answer is right, in [0, 1]; NaN where nothing was said of it.
    calls: tools that the answer asked for.
    """

    question: str
    text: str = ""
    abstained: bool = False
    confidence: float = math.nan
    claims: tuple[Claim, ...] = ()
    evidence: tuple[Seen, ...] = ()
    supposed: tuple[Supposed, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    calls: int = 0
    generator: str = ""
    failed: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "question": self.question,
            "text": self.text,
            "abstained": self.abstained,
            "confidence": self.confidence if math.isfinite(self.confidence) else None,
            "claims": [[c.text, list(c.cites), c.hedged] for c in self.claims],
            "evidence": [_seen_to_json(seen) for seen in self.evidence],
            "completions": [
                {"names": sorted(s.names), "modality": s.modality, "values": sorted(s.values)}
                | {"p": s.p}
                for s in self.supposed
            ],
            "timings_ms": dict(self.timings_ms),
            "calls": self.calls,
            "generator": self.generator,
            "failed": self.failed,
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Outcome:
        """The inverse of `to_json`. Raises KeyError, TypeError, ValueError."""
        confidence = kept["confidence"]
        return cls(
            question=kept["question"],
            text=kept["text"],
            abstained=kept["abstained"],
            confidence=math.nan if confidence is None else confidence,
            claims=tuple(Claim(c[0], tuple(c[1]), c[2]) for c in kept["claims"]),
            evidence=tuple(_seen_from_json(seen) for seen in kept["evidence"]),
            supposed=tuple(
                Supposed(
                    names=frozenset(s["names"]),
                    modality=Modality(s["modality"]),
                    values=frozenset(s["values"]),
                    p=s["p"],
                )
                for s in kept["completions"]
            ),
            timings_ms=kept["timings_ms"],
            calls=kept["calls"],
            generator=kept["generator"],
            failed=kept["failed"],
        )


def outcome(question: str, answer: Answer) -> Outcome:
    """What is kept of an answer."""
    known = {p.hit.item.id: p.hit.item for p in answer.evidence}
    known |= {item.id: item for p in answer.evidence for item in p.siblings}
    numbers = {p.hit.item.id: p.number for p in answer.evidence}
    return Outcome(
        question=question,
        text=answer.text,
        abstained=answer.abstained,
        confidence=answer.confidence,
        claims=tuple(Claim(s.text, s.cites, s.hedged) for s in answer.sentences),
        evidence=tuple(_seen(passage, numbers) for passage in answer.evidence),
        supposed=tuple(
            _supposed(completion, passage, known)
            for passage in answer.evidence
            for completion in passage.completions
        ),
        timings_ms=dict(answer.timings_ms),
        calls=len(answer.calls),
        generator=answer.generator,
    )


def names(item: Item) -> frozenset[str]:
    """By what an item may be meant: its id, its record, its digest, its uri, and every end of the
    path in it, with its extension and without."""
    known = {item.id, item.record, item.digest}
    if item.uri is None:
        return frozenset(known)
    steps = unquote(item.uri.partition("#")[0]).split("/")
    ends = {"/".join(steps[n:]) for n in range(len(steps))} - {""}
    bare = {end.rpartition(".")[0] for end in ends if "." in end.rpartition("/")[2]} - {""}
    return frozenset({*known, item.uri, *ends, *bare})


def _seen(passage: Passage, numbers: Mapping[str, int]) -> Seen:
    item = passage.hit.item
    return Seen(
        number=passage.number,
        modality=item.modality,
        names=names(item),
        kin=frozenset(name for other in passage.siblings for name in names(other)),
        statements=statements_of(passage, numbers),
        found=passage.role == "found",
    )


def _supposed(completion: Completion, passage: Passage, known: Mapping[str, Item]) -> Supposed:
    value = completion.value
    values = {value} if value else set()
    if value is not None and completion.modality is not Modality.TEXT and value in known:
        values |= names(known[value])
    return Supposed(
        names=names(passage.hit.item),
        modality=completion.modality,
        values=frozenset(values),
        p=completion.p,
    )


def _seen_to_json(seen: Seen) -> dict[str, Any]:
    return {
        "number": seen.number,
        "modality": seen.modality,
        "names": sorted(seen.names),
        "kin": sorted(seen.kin),
        "found": seen.found,
        "statements": [
            {"text": s.text, "by": s.by, "sources": list(s.sources), "p": s.probability}
            for s in seen.statements
        ],
    }


def _seen_from_json(kept: Mapping[str, Any]) -> Seen:
    return Seen(
        number=kept["number"],
        modality=Modality(kept["modality"]),
        names=frozenset(kept["names"]),
        kin=frozenset(kept["kin"]),
        found=kept["found"],
        statements=tuple(
            Statement(
                text=s["text"],
                by=Saying(s["by"]),
                sources=tuple(s["sources"]),
                probability=s["p"],
            )
            for s in kept["statements"]
        ),
    )
