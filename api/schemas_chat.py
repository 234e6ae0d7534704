"""OpenAI's chat request, what it may bring besides, and how it becomes a question.

As OpenAI's clients send more than anybody reads, unknown fields are passed over and named, not
refused; those of `retrieval`, which is ours, are refused. Nothing here calls the service.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from api.query import MAX_WORDS
from api.requests_ask import MAX_MEDIA, MAX_PASSAGES, MAX_TURNS, AskRequest, Turn
from api.schemas import Id, Wire
from api.schemas_search import FilterField, Modalities, filter_of
from api.schemas_turns import MessageBody, Open
from embed.errors import BadInput, InvalidQuery, TooLarge
from embed.types import Modality
from generation.types import Role, Sampling
from rag.types import Retrieval

DEFAULT_MODEL = "crossbind"
"""What clients call the generator that the settings name."""
MAX_TOKENS = 32_768
MAX_SAID = 8 * MAX_WORDS  # characters of all messages together
MAX_TOOLS = 128
MAX_STOPS = 16

_DEFAULTS = {"modalities": ["text"], "response_format": {"type": "text"}}


class RetrievalBody(Wire):
    """Where evidence is looked for, and how. Ours, beside what OpenAI's API has."""

    collection: str = "default"
    k: int = Field(8, ge=1, le=MAX_PASSAGES, description="Passages at most.")
    modalities: Modalities | None = None
    filter: FilterField | None = None
    min_probability: float | None = Field(
        None, ge=0, le=1, description="Evidence that is less probable answers nothing."
    )
    complete: bool = Field(
        True, description="Suppose what a record lacks from others, where that is likely."
    )
    reranker: str | None = Field(None, description="Of those that this server opens to clients.")

    def retrieval(self) -> Retrieval:
        """Raises InvalidQuery for a filter that is none."""
        return Retrieval(
            k=self.k,
            modalities=None
            if self.modalities is None
            else frozenset(map(Modality, self.modalities)),
            filter=filter_of(self.filter),
            min_probability=self.min_probability,
            complete=self.complete,
        )


class SessionsPage(Wire):
    model_config = ConfigDict(strict=False)

    limit: int = Field(100, ge=1, le=1000)


class StreamOptions(Open):
    include_usage: bool | None = None


class ChatBody(Open):
    """OpenAI's chat request. What nobody reads is listed in the header X-Crossbind-Ignored."""

    model: str = Field(
        description=f"Name of a generator; {DEFAULT_MODEL} is the one this server answers with."
    )
    messages: list[MessageBody] = Field(min_length=1, max_length=MAX_TURNS)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2, description="0 when left out.")
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)
    max_completion_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)
    n: int | None = Field(None, ge=1, description="One answer is given; more are refused.")
    seed: int | None = Field(None, description="Equal seeds, equal answers.")
    stop: str | Annotated[list[str], Field(max_length=MAX_STOPS)] | None = None
    tools: list[dict[str, Any]] | None = Field(None, max_length=MAX_TOOLS)
    tool_choice: str | dict[str, Any] | None = None
    retrieval: RetrievalBody | None = None
    session: Id | None = Field(
        None, description="A conversation that the server remembers; earlier turns are its own."
    )

    def request(self) -> AskRequest:
        """Raises BadInput, InvalidQuery for what asks nothing, TooLarge, Forbidden for a URL."""
        if (self.n or 1) > 1:
            raise BadInput(
                f"n is {self.n}: one answer is given to a question; ask again, with another seed",
                param="n",
            )
        wanted = self.retrieval or RetrievalBody.model_validate({})
        turns = [
            message.turn(f"messages.{n}", wanted.collection)
            for n, message in enumerate(self.messages)
        ]
        _check_size(turns)
        instructions = [turn for turn in turns if turn.role is Role.SYSTEM]
        question, history = _question([turn for turn in turns if turn.role is not Role.SYSTEM])
        if self.session and turns[-1].role is Role.TOOL:
            raise BadInput(
                "a session remembers no calls of tools: leave session out, and send all messages",
                param="session",
            )
        return AskRequest(
            terms=question.terms,
            collection=wanted.collection,
            history=() if self.session else history,
            instructions=_joined(instructions),
            generator=None if self.model == DEFAULT_MODEL else self.model,
            reranker=wanted.reranker,
            retrieval=wanted.retrieval(),
            sampling=self._sampling(),
            tools=tuple(self.tools or ()),
            tool_choice=self.tool_choice,
            session=self.session,
        )

    def _sampling(self) -> Sampling:
        plain = Sampling()
        most = self.max_completion_tokens or self.max_tokens or plain.max_tokens
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return replace(
            plain,
            max_tokens=most,
            temperature=plain.temperature if self.temperature is None else self.temperature,
            top_p=plain.top_p if self.top_p is None else self.top_p,
            seed=(self.seed or 0) % 2**63,
            stop=tuple(word for word in stop if word),
        )

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def ignored(self, *, tools: bool) -> list[str]:
        """What was asked for and is passed over. tools: whether who answers knows any."""
        found = {name for name, value in (self.model_extra or {}).items() if _means(name, value)}
        for message in self.messages:
            extra = message.model_extra or {}
            found |= {f"messages.{name}" for name, value in extra.items() if value}
        if not tools:
            found |= {name for name in ("tools", "tool_choice") if getattr(self, name)}
        earlier = [message for message in self.messages[:-1] if message.kind is not Role.SYSTEM]
        if self.session and earlier:
            found.add("messages.earlier")
        return sorted(found)


def _means(name: str, value: Any) -> bool:
    return bool(value) and value != _DEFAULTS.get(name)


def _question(turns: Sequence[Turn]) -> tuple[Turn, tuple[Turn, ...]]:
    """What is asked now, and what was said before. Behind what tools said, the question that they
    were asked for stands once more. Raises InvalidQuery."""
    asked = [turn for turn in turns if turn.role is Role.USER and turn.terms]
    if not asked:
        raise InvalidQuery("no message of a user asks anything: add one", param="messages")
    if turns[-1].role is Role.TOOL:
        return asked[-1], tuple(turns)
    if turns[-1] is not asked[-1]:
        raise InvalidQuery(
            f"the last message is the {turns[-1].role}'s and says what to answer, but nothing is "
            "asked after it: end with a message of the user, or of a tool",
            param="messages",
        )
    return asked[-1], tuple(turns[:-1])


def _joined(turns: Sequence[Turn]) -> str | None:
    for turn in turns:
        if any(term.kind != "text" for term in turn.terms):
            raise BadInput("instructions are words: send media as the user", param="messages")
    said = [str(term.value) for turn in turns for term in turn.terms]
    return "\n\n".join(said) or None


def _check_size(turns: Sequence[Turn]) -> None:
    terms = [term for turn in turns for term in turn.terms]
    media = [term for term in terms if term.kind != "text"]
    if len(media) > MAX_MEDIA:
        raise TooLarge(
            f"the messages hold {len(media)} media and at most {MAX_MEDIA} are taken: leave out "
            "earlier ones, or index them and ask about the collection",
            param="messages",
        )
    said = sum(len(str(term.value)) for term in terms if term.kind == "text")
    if said > MAX_SAID:
        raise TooLarge(
            f"the messages are {said:,} characters and at most {MAX_SAID:,} are read: leave out "
            "earlier ones, or index long texts and ask about the collection",
            param="messages",
        )
