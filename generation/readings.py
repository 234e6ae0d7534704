"""Evidence read in view of a question: which sentences it says, and how well they fit.

What says otherwise than the question (blue where red is asked about) does not fit at all; else the
probability of the evidence counts, and how many of the question's words it has. It writes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from generation.claims import claim_of
from generation.questions import Question, values
from generation.sentences import pieces
from generation.types import Evidence, Saying, Statement

_WRAPPED = re.compile(r"(?<=[^\s.!?:|])[ \t]*\n(?=[a-z(\d])")  # a line that goes on
_ADORNED = re.compile(r"^(?:[-*+>#|\u2022]+\s+)+|\s*\|+\s*$|\*\*|(?<=\s)\|(?=\s)")
_PLAIN = 0.3  # of what has none of the question's words: it may look or sound like them


class Said(NamedTuple):
    """One sentence of evidence. sources: of a borrowed one, the numbers that it rests on."""

    text: str
    by: Saying
    number: int
    sources: tuple[int, ...]
    covers: float


class Reading(NamedTuple):
    """fit: in [0, 1]. covers: share of the question's words that it has, in [0, 1]."""

    evidence: Evidence
    said: tuple[Said, ...]
    fit: float
    covers: float
    denied: frozenset[str]

    @property
    def itself(self) -> bool:
        """It is what the question shows, not something like it: nothing else is certain."""
        return self.evidence.probability >= 1

    @property
    def described(self) -> bool:
        """More is said of it than its name and what is noted."""
        return any(one.by not in (Saying.TITLE, Saying.METADATA) for one in self.said)

    @property
    def borrowed(self) -> bool:
        """Nothing is said of it but what was borrowed."""
        return all(one.by in (Saying.BORROWED, Saying.TITLE) for one in self.said)


def readings(question: Question, evidence: Sequence[Evidence]) -> list[Reading]:
    """Of all evidence, what fits best first; what others only rest on comes behind those."""
    found = [_reading(question, one) for one in evidence]
    rests_on = {n for one in found if one.fit for said in one.said for n in said.sources}
    return sorted(found, key=lambda one: (-one.fit, one.evidence.number in rests_on))


def said_of(evidence: Evidence, about: frozenset[str] = frozenset()) -> Iterator[Said]:
    """Its sentences; what is noted about it is one each."""
    for statement in evidence.statements:
        for text in sentences_of(statement):
            words = claim_of(text).plain
            covers = len(words & about) / len(about) if about else 0.0
            yield Said(text, statement.by, evidence.number, statement.sources, covers)


def tells(question: Question, one: Reading) -> bool:
    """Whether it says anything of the kind that is asked for."""
    kind = question.kind
    return kind is not None and any(
        values(kind, said.text)
        or (said.by is Saying.METADATA and question.names(said.text.partition(":")[0]))
        for said in one.said
    )


def sentences_of(statement: Statement) -> list[str]:
    """What it says, sentence by sentence, without line ends and marks of lists; a note is one."""
    if statement.by in (Saying.METADATA, Saying.TITLE):
        return [statement.text]
    text = _WRAPPED.sub(" ", statement.text)
    told = (_ADORNED.sub("", text[piece.start : piece.end]).strip() for piece in pieces(text))
    return [sentence for sentence in told if sentence]


def _reading(question: Question, evidence: Evidence) -> Reading:
    about = frozenset(word.word for word in question.about)
    said = tuple(said_of(evidence, about))
    own = [one for one in said if one.by is not Saying.BORROWED] or list(said)
    words = frozenset().union(
        *(claim_of(one.text).plain for one in said), {evidence.modality.value}
    )
    denied = _denied(question, [one.text for one in own]) | question.half_named(words)
    covers = len(words & about) / len(about) if about else 1.0
    fit = 0.0 if denied else evidence.probability * (_PLAIN + (1 - _PLAIN) * covers)
    return Reading(evidence, said, fit, covers, denied)


def _denied(question: Question, texts: Sequence[str]) -> frozenset[str]:
    """Words of the question that the evidence says otherwise, wherever it speaks of them."""
    told = [question.against(text) for text in texts if question.speaks_of(text)]
    return frozenset.intersection(*told) if told else frozenset()
