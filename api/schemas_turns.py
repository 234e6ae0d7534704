"""The messages of OpenAI's chat request: roles, words, media and calls of tools, read into terms.

A medium is a data URI or base64, or a reference to an item of the collection that is asked:
`item:ID` or `crossbind://COLLECTION/ID`. Nothing is fetched, and nothing here calls the service.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict

from api.requests import Term
from api.requests_ask import Turn
from api.wire import brief, decode_media
from embed.errors import BadInput, NotAvailable
from generation.types import Role, ToolCall

_TOKENS = (
    "holds token ids; they mean something only to the tokenizer that made them, and generators "
    "here have tokenizers of their own: send the text itself"
)
_REFERENCE = "crossbind://"
_ROLES = {"developer": Role.SYSTEM, "function": Role.TOOL}
# Types of parts, with the field that holds the medium and where in it that is.
_MEDIA: dict[str, tuple[Literal["image", "audio", "video"], tuple[str, ...]]] = {
    "image_url": ("image", ("url",)),
    "input_image": ("image", ("image_url", "data")),
    "input_audio": ("audio", ("data",)),
    "audio_url": ("audio", ("url",)),
    "video_url": ("video", ("url",)),
    "input_video": ("video", ("data", "url")),
}


class Open(BaseModel):
    """What OpenAI's routes take: a field that nobody reads is no error."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class CalledFunction(Open):
    name: str
    arguments: str = ""


class ToolCallBody(Open):
    id: str
    function: CalledFunction


class MessageBody(Open):
    """One turn: words, or parts `text`, `image_url`, `input_audio`, `video_url`, `input_video`.

    A URL is a data URI, `item:ID`, or `crossbind://COLLECTION/ID`; nothing is fetched.
    """

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Any] | None = None
    tool_calls: list[ToolCallBody] | None = None
    tool_call_id: str | None = None

    def terms(self, at: str, collection: str) -> tuple[Term, ...]:
        """Blank words are left out. Raises BadInput, Forbidden for a URL, NotAvailable."""
        if isinstance(self.content, str):
            return _words(self.content)
        parts = self.content or []
        if any(isinstance(part, int) for part in parts):
            raise BadInput(f"{at} {_TOKENS}", param="messages")
        return tuple(
            term
            for n, part in enumerate(parts)
            for term in _part(part, f"{at}.content.{n}", collection)
        )

    def turn(self, at: str, collection: str) -> Turn:
        """Raises what `terms` raises."""
        called = self.tool_calls or []
        return Turn(
            role=self.kind,
            terms=self.terms(at, collection),
            calls=tuple(
                ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
                for call in called
            ),
            answers=self.tool_call_id,
        )

    @property
    def kind(self) -> Role:
        return _ROLES.get(self.role) or Role(self.role)


def _words(words: str) -> tuple[Term, ...]:
    return (Term(kind="text", value=words),) if words.strip() else ()


def _part(part: Any, at: str, collection: str) -> Iterator[Term]:
    kind = str(part.get("type")) if isinstance(part, Mapping) else ""
    if kind in ("text", "input_text", "output_text", "refusal"):
        words = part.get("refusal" if kind == "refusal" else "text")
        yield from _words(_string(words, at))
    elif kind in _MEDIA:
        yield _medium(part, kind, at, collection)
    elif kind == "file":
        raise NotAvailable(
            f"{at} is a file, and no files are read from a chat: add it to a collection (POST "
            "/v1/collections/{c}/items) and ask about that, or send its words as text",
            param="messages",
        )
    else:
        raise BadInput(
            f"{at} is {brief(part)}; a part is an object whose type is one of: text, "
            f"{', '.join(_MEDIA)}",
            param="messages",
        )


def _medium(part: Mapping[str, Any], part_type: str, at: str, collection: str) -> Term:
    kind, names = _MEDIA[part_type]
    held = part.get(part_type, part)
    if isinstance(held, Mapping):
        held = next((held[name] for name in names if held.get(name) is not None), None)
    value = _string(held, f"{at}.{part_type}")
    item = _item(value, collection)
    if item is not None:
        return Term(kind="item", value=item)
    return Term(kind=kind, value=decode_media(value, part_type))


def _item(value: str, collection: str) -> str | None:
    """The id of the item that a URL means; None where it means no item."""
    if value.startswith("item:"):
        return value.removeprefix("item:")
    if not value.startswith(_REFERENCE):
        return None
    named, _, item = value.removeprefix(_REFERENCE).partition("/")
    if unquote(named) != collection or not item:
        raise BadInput(
            f"{brief(value)} is no item of collection {collection!r}, which is asked: "
            f"{_REFERENCE}{collection}/ID or item:ID are its items, and retrieval.collection "
            "names another one",
            param="messages",
        )
    return unquote(item)


def _string(value: Any, at: str) -> str:
    if not isinstance(value, str):
        raise BadInput(f"{at} is {brief(value)}; a string is wanted", param="messages")
    return value
