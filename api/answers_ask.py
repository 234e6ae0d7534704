"""The shapes of answers to questions, for the OpenAPI document and the tests that hold them."""

from __future__ import annotations

from typing import Any, Literal

from api.answers import Answer, HitAnswer
from embed.types import Modality


class SourceAnswer(Answer):
    item: str
    record: str
    share: float


class CompletionAnswer(Answer):
    record: str | None
    modality: Modality
    value: str | None
    origin: Literal["retrieved", "generated"]
    sources: list[SourceAnswer]
    p: float
    method: Literal["best", "mean", "synthesis"]
    stale: bool


class MediumAnswer(Answer):
    """What a generator made, as a data URI; pictures in answers of chat are in the message."""

    modality: Modality
    type: str
    url: str


class ReportAnswer(Answer):
    completions: list[CompletionAnswer]
    abstained: bool
    reason: str | None
    fitted: bool
    media: list[MediumAnswer]


class SiblingAnswer(Answer):
    id: str
    modality: Modality
    title: str | None
    text: str | None


class PassageAnswer(HitAnswer):
    number: int
    role: Literal["found", "source"]
    siblings: list[SiblingAnswer]
    completions: list[CompletionAnswer]


class CitationAnswer(Answer):
    number: int
    sentence: int
    start: int
    end: int
    item: str
    record: str
    span: dict[str, Any] | None


class SentenceAnswer(Answer):
    text: str
    start: int
    end: int
    cites: list[int]
    supported: bool
    hedged: bool
    reason: str | None


class SubQueryAnswer(Answer):
    words: str | None
    without: str | None
    media: list[Modality]
    items: list[str]
    modalities: list[Modality]
    why: str


class PlanAnswer(Answer):
    question: str
    queries: list[SubQueryAnswer]
    wants: list[Modality]
    filter: dict[str, Any] | None
    small_talk: bool
    notes: list[str]


class Grounds(Answer):
    """What an answer rests on, beside its words."""

    citations: list[CitationAnswer]
    evidence: list[PassageAnswer]
    completions: list[CompletionAnswer]
    abstained: bool
    reason: str | None
    confidence: float
    sentences: list[SentenceAnswer]
    plan: PlanAnswer
    route: list[Modality]
    generator: str
    timings_ms: dict[str, float]
    notes: list[str]


class AddressAnswer(Answer):
    url: str


class PictureAnswer(Answer):
    """A picture that a generator made, as a data URI."""

    type: Literal["image_url"]
    index: int
    image_url: AddressAnswer


class CalledFunctionAnswer(Answer):
    name: str
    arguments: str


class ToolCallAnswer(Answer):
    id: str
    type: Literal["function"]
    function: CalledFunctionAnswer


class ChatMessage(Answer):
    role: Literal["assistant"]
    content: str | None
    refusal: None
    tool_calls: list[ToolCallAnswer] | None = None
    images: list[PictureAnswer] | None = None


class ChatChoice(Answer):
    index: Literal[0]
    message: ChatMessage
    logprobs: None
    finish_reason: Literal["stop", "length", "tool_calls"]


class ChatUsage(Answer):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatAnswer(Grounds):
    """OpenAI's, with ours beside `choices`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: ChatUsage
    media: list[MediumAnswer]
    session: str | None = None


class SessionAnswer(Answer):
    id: str
    collection: str
    created: str
    used: str
    turns: int
    question: str | None


class SessionList(Answer):
    sessions: list[SessionAnswer]


class TurnAnswer(Answer):
    role: Literal["user", "assistant"]
    parts: list[dict[str, Any]]
    answer: dict[str, Any] | None
    created: str


class SessionDetail(SessionAnswer):
    history: list[TurnAnswer]
