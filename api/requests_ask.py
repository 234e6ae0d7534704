"""What both doors ask when they ask for an answer, or for what a record lacks.

Media are terms as in a search, decoded by whoever opens the collection. Nothing here knows HTTP or
terminals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from api.requests import Term
from embed.types import Modality
from generation.types import Role, Sampling, ToolCall
from rag.types import Retrieval

MAX_MEDIA = 16  # of one request, earlier turns included
MAX_TURNS = 256  # of one request
MAX_PASSAGES = 100  # of evidence
MAX_SOURCES = 100  # that one completion may rest on

Method = Literal["best", "mean", "synthesis"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What was said before: words, files and items in their order.

    calls, answers: as `generation.types.Message` has them.
    """

    role: Role
    terms: tuple[Term, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    answers: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AskRequest:
    """One question.

    terms: words, files and items, in their order; weights and vectors ask nothing. history: earlier
    turns, oldest first; where there is a session they are its own, and these are passed over.
    instructions: of the client. generator, reranker: by name; None takes those of the settings.
    session: the id of the conversation that this goes on with, begun when it is not there yet.
    """

    terms: tuple[Term, ...]
    collection: str = "default"
    history: tuple[Turn, ...] = ()
    instructions: str | None = None
    generator: str | None = None
    reranker: str | None = None
    retrieval: Retrieval = field(default_factory=Retrieval)
    sampling: Sampling = field(default_factory=Sampling)
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    session: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteRequest:
    """What a record may hold besides: of an item of the collection, or of media from outside.

    item: its id; else terms, read as one record. missing: modalities that are wanted; None means
    all that it lacks and the collection holds. k: neighbours that it may rest on. generator: for
    `synthesis`.
    """

    item: str | None = None
    terms: tuple[Term, ...] = ()
    missing: tuple[Modality, ...] | None = None
    method: Method = "best"
    k: int = 20
    collection: str = "default"
    generator: str | None = None
