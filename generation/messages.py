"""A conversation as others want to read it: chat templates of models, and OpenAI's API.

Chat templates: https://huggingface.co/docs/transformers/chat_templating_multimodal
OpenAI: https://platform.openai.com/docs/api-reference/chat/create
It knows neither tokenizers nor HTTP.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from embed.types import Media, Modality
from generation.showing import data_uri, wav
from generation.types import Message, Role, ToolCall

Shown = Callable[[Media], Iterable[Media]]
"""`generation.showing.shown` for one generator."""


class Turn(NamedTuple):
    """One turn of a template's conversation: two of the same role never follow each other, and two
    texts in one neither, so that no template glues words of two sources together."""

    role: str
    parts: list[Media]


def turns(messages: Sequence[Message], shown: Shown, *, system: bool) -> list[Turn]:
    """The conversation as most templates take it: instructions, then user and assistant by turns.

    system: the template has such a role; else instructions stand at the beginning of the first
    turn. Calls of tools and their answers are told in words.
    """
    told = [Media(Modality.TEXT, m.text) for m in messages if m.role is Role.SYSTEM]
    made = [Turn("system" if system else "user", _joined(told))] if told else []
    for message in messages:
        if message.role is Role.SYSTEM:
            continue
        role = "assistant" if message.role is Role.ASSISTANT else "user"
        parts = _told(message, shown)
        if made and made[-1].role == role:
            made[-1] = Turn(role, _joined([*made[-1].parts, *parts]))
        else:
            made.append(Turn(role, _joined(parts)))
    return made


def to_openai(messages: Sequence[Message], shown: Shown) -> list[dict[str, Any]]:
    """`messages` of a request to `/chat/completions`; media are part of it, never links."""
    return [_openai(message, shown) for message in messages]


def _told(message: Message, shown: Shown) -> list[Media]:
    """A turn's parts, with calls and answers of tools in words."""
    if message.role is Role.ASSISTANT:
        calls = [f"(called {call.name} with {call.arguments})" for call in message.calls]
        return [Media(Modality.TEXT, "\n".join(filter(None, [message.text, *calls])))]
    before = "(a tool answered:)" if message.role is Role.TOOL else ""
    parts = [part for given in message.parts for part in shown(given)]
    return [Media(Modality.TEXT, before), *parts] if before else parts


def _joined(parts: Iterable[Media]) -> list[Media]:
    """Texts that follow each other become one."""
    joined: list[Media] = []
    for part in parts:
        if joined and isinstance(part.data, str) and isinstance(joined[-1].data, str):
            joined[-1] = Media(Modality.TEXT, f"{joined[-1].data}\n{part.data}")
        else:
            joined.append(part)
    return joined


def _openai(message: Message, shown: Shown) -> dict[str, Any]:
    if message.role is Role.TOOL:
        return {"role": "tool", "tool_call_id": message.answers, "content": message.text}
    if message.role is Role.ASSISTANT and message.calls:
        calls = [_openai_call(call) for call in message.calls]
        return {"role": "assistant", "content": message.text or None, "tool_calls": calls}
    if message.role is not Role.USER or all(isinstance(p.data, str) for p in message.parts):
        return {"role": str(message.role), "content": message.text}
    parts = [_openai_part(part) for given in message.parts for part in shown(given)]
    return {"role": "user", "content": parts}


def _openai_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _openai_part(part: Media) -> dict[str, Any]:
    if isinstance(part.data, str):
        return {"type": "text", "text": part.data}
    assert isinstance(part.data, np.ndarray)
    if part.modality is Modality.IMAGE:
        return {"type": "image_url", "image_url": {"url": data_uri(part.data)}}
    data = base64.b64encode(wav(part)).decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
