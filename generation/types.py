"""What a generator takes and what it gives: the nouns of this room, and its one contract.

A prompt says the same thing twice. `messages` is the conversation as a chat model is to see it,
instructions, evidence and question written out; `question` and `evidence` are the same as data, for
generators that need no such model. Evidence is data, never instruction: whatever it says, nobody
here acts on it.
This room knows neither collections nor how evidence was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from embed.types import Media, Modality

Finish = Literal["stop", "length", "tool_calls"]


class Role(StrEnum):
    """Whose turn it was."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool that the model asks the client to use. arguments: JSON, as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Message:
    """One turn: words and media in their order.

    calls: tools that an assistant asked for. answers: the id of the call that a tool's turn is the
    answer to.
    """

    role: Role
    parts: tuple[Media, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    answers: str | None = None

    @property
    def text(self) -> str:
        """Its words, joined by line ends."""
        return "\n".join(part.data for part in self.parts if isinstance(part.data, str))


class Saying(StrEnum):
    """Who says a statement: the text found itself, a caption beside it, a title, what is noted
    about the item, or another record that it was borrowed from."""

    TEXT = "text"
    CAPTION = "caption"
    TITLE = "title"
    METADATA = "metadata"
    BORROWED = "borrowed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Something that is said about what was found.

    sources: numbers of the evidence that a borrowed one rests on. probability: of a borrowed one,
    that it is true of this record.
    """

    text: str
    by: Saying
    sources: tuple[int, ...] = ()
    probability: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """One thing that was found, under the number that a citation `[number]` names, from 1.

    where: the place in it, for people ("page 3", "0:12 to 0:15"). probability: that it is about the
    question. media: to be shown to generators that take its modality, already at their size; None
    where its statements stand for it.
    """

    number: int
    modality: Modality
    title: str | None
    where: str | None
    probability: float
    statements: tuple[Statement, ...]
    media: Media | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next words are drawn. temperature 0: the likeliest. seed: equal seeds, equal words.

    max_tokens: of the answer. stop: the answer ends before any of these.
    """

    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prompt:
    """All that a generator is told.

    question: what is asked now, in words; empty where only media ask. asked_with: their modalities.
    tools, tool_choice: as OpenAI's API has them, for generators that know tools; they come from the
    client alone.
    """

    question: str
    asked_with: frozenset[Modality]
    messages: tuple[Message, ...]
    evidence: tuple[Evidence, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None


class Usage(NamedTuple):
    """Tokens read and written, as the generator counts them."""

    prompt: int
    completion: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chunk:
    """A piece of an answer, in order. finish and usage: with the last one."""

    text: str = ""
    media: Media | None = None
    call: ToolCall | None = None
    finish: Finish | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taste:
    """What a generator can hold at once.

    context: tokens of prompt and answer together. images: pictures of one prompt at most, frames of
    films included; image_side: pixels of the longer side beyond which they tell it nothing more.
    seconds: of sound at most.
    """

    context: int
    images: int = 0
    image_side: int = 0
    seconds: float = 0.0


@runtime_checkable
class Generator(Protocol):
    """A prompt in, chunks out. Safe to call from several threads; one may wait for another."""

    @property
    def name(self) -> str: ...

    @property
    def inputs(self) -> frozenset[Modality]:
        """What it takes itself; of everything else it is told in words."""
        ...

    @property
    def outputs(self) -> frozenset[Modality]: ...

    @property
    def taste(self) -> Taste: ...

    def count_tokens(self, text: str) -> int:
        """How many tokens these words are to it, or an estimate from above."""
        ...

    def generate(self, prompt: Prompt) -> Iterator[Chunk]:
        """The answer as it is made; ends with a chunk that has `finish`.

        Closing the iterator ends the work. Raises BackendFailed, NotAvailable, TooLarge.
        """
        ...

    def close(self) -> None:
        """Lets go of what it holds."""
        ...
