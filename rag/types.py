"""The nouns of the journey from a question to an answer that can be checked.

    Ask -> Plan -> Passage… -> Prompt -> Chunk… -> Answer

A completion (`index.types.Completion`) is a hypothesis about a record, never evidence of its own:
a sentence that rests on one is hedged, and cites the record and the source.
Nothing here knows HTTP, terminals or models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from embed.types import Item, Media, Modality, Span
from generation.types import Finish, Message, Sampling, ToolCall, Usage
from index.metadata.filters import Filter
from index.types import Completion, Hit


class ItemPart(NamedTuple):
    """An item of the library as part of a question."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """How evidence is looked for.

    k: passages at most. modalities: of the evidence; None means that the plan decides. filter: what
    must be true of it. min_probability: evidence below it answers nothing; None takes the default
    of `rag.decide`. complete: what a record lacks is borrowed from others where that is likely.
    """

    k: int = 8
    modalities: frozenset[Modality] | None = None
    filter: Filter | None = None
    min_probability: float | None = None
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ask:
    """A question: words, media and items in their order, after what was said before.

    history: earlier turns, oldest first. instructions: of the client, for generators that take any.
    tools, tool_choice: as `generation.types.Prompt` has them. sureness: what a confidence has meant
    so far (`rag.confidence`); None leaves it as it is.
    """

    parts: tuple[Media | ItemPart, ...]
    history: tuple[Message, ...] = ()
    instructions: str | None = None
    retrieval: Retrieval = field(default_factory=Retrieval)
    sampling: Sampling = field(default_factory=Sampling)
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    sureness: Callable[[float], float] | None = None

    @property
    def words(self) -> str:
        """What of it is said in words."""
        said = [p.data for p in self.parts if isinstance(p, Media) and isinstance(p.data, str)]
        return "\n".join(said).strip()

    @property
    def media(self) -> tuple[Media, ...]:
        """What of it is no words and no item."""
        return tuple(
            p for p in self.parts if isinstance(p, Media) and p.modality is not Modality.TEXT
        )

    @property
    def items(self) -> tuple[str, ...]:
        return tuple(p.id for p in self.parts if isinstance(p, ItemPart))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SubQuery:
    """One thing that is looked for, and why.

    words: also ranked by BM25. without: what it must not be like. media, items: asked with beside
    the words.
    """

    words: str | None
    why: str
    without: str | None = None
    media: tuple[Media, ...] = ()
    items: tuple[str, ...] = ()
    modalities: frozenset[Modality]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """How a question was understood, for people to look at.

    question: with what it takes over from earlier turns. wants: modalities that it names ("a photo
    of…", "what does it sound like"); empty where it names none. small_talk: nothing is asked of the
    library.
    """

    question: str
    queries: tuple[SubQuery, ...]
    wants: frozenset[Modality] = frozenset()
    filter: Filter | None = None
    small_talk: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Passage:
    """A piece of evidence under its number, from 1.

    probability: that it is about the question, calibrated. text: what it says, widened to where its
    neighbours end; None for what has no words. siblings: the other observed items of its record.
    completions: what its record lacks, supposed. role: `source` is here because a completion rests
    on it. voted: its probability is that of what several say together of a medium from outside.
    """

    number: int
    hit: Hit
    probability: float
    text: str | None
    siblings: tuple[Item, ...] = ()
    completions: tuple[Completion, ...] = ()
    role: Literal["found", "source"] = "found"
    voted: bool = False


class Citation(NamedTuple):
    """What a sentence points at. sentence: which of the answer's, from 0."""

    sentence: int
    number: int
    item: str
    record: str
    span: Span | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A sentence of an answer, characters `[start, end)` of it.

    cites: numbers of passages. supported: what it cites entails it. hedged: it says that it is a
    supposition. reason: why it is not supported. claim: it asserts something; a question, a
    greeting or "I do not know" does not, and counts as supported. attributed: it cites nothing
    itself, `cites` is what entails it. by_sight: what it cites was shown to the generator, and no
    words there tell whether it is so.
    """

    text: str
    start: int
    end: int
    cites: tuple[int, ...] = ()
    supported: bool
    hedged: bool = False
    reason: str | None = None
    claim: bool = True
    attributed: bool = False
    by_sight: bool = False


class Decision(NamedTuple):
    """Whether to answer at all. confidence: probability that an answer from this evidence is right.

    reason: why not, for people; None means that it is answered. route: modalities of the evidence
    that carries the answer.
    """

    confidence: float
    reason: str | None
    route: frozenset[Modality]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Delta:
    """Words of an answer as they come."""

    text: str = ""
    call: ToolCall | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """An answer, what it rests on, and where the time went (milliseconds per stage).

    media: what the generator made besides words. abstained: it says only why there is no answer.
    evidence: all passages that the generator was given, cited or not. notes: what else people
    should know of how it came about, such as tool calls that were refused.
    """

    text: str
    sentences: tuple[Sentence, ...]
    citations: tuple[Citation, ...]
    evidence: tuple[Passage, ...]
    completions: tuple[Completion, ...]
    abstained: bool
    reason: str | None
    confidence: float
    plan: Plan
    route: frozenset[Modality]
    generator: str
    timings_ms: Mapping[str, float]
    media: tuple[Media, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    finish: Finish = "stop"
    usage: Usage | None = None
    notes: tuple[str, ...] = ()
