"""Answers in the shape of OpenAI's chat completions, whole or in pieces, with ours beside.

What an answer rests on stands beside `choices`; in a stream, in the chunk that ends it. Pictures
that a generator made are `images` of the message, as data URIs: OpenAI's API has no place for them,
and this is where gateways that speak it put them (OpenRouter, LiteLLM, Vercel). Other media stand
beside `choices`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from api.discreet import discreet
from api.made import Made, encoded
from api.shapes_ask import grounds_to_json
from embed.types import Modality
from generation.types import ToolCall, Usage
from rag.types import Answer, Delta

_CHUNK = "chat.completion.chunk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What all documents of one answer say. model: as it was asked for. created: Unix seconds."""

    model: str
    session: str | None = None
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, answer: Answer) -> dict[str, Any]:
        """A `chat.completion`."""
        calls, made = [_call(call) for call in answer.calls], encoded(answer.media)
        message = {
            "role": "assistant",
            "content": answer.text if answer.text or not calls else None,
            "refusal": None,
            **({"tool_calls": calls} if calls else {}),
            **_pictures(made),
        }
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": answer.finish,
        }
        return {
            **self.document("chat.completion", [choice]),
            "usage": _usage(answer.usage),
            **self.grounds(answer, made),
        }

    def chunk(self, delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self.document(_CHUNK, [choice])

    def document(self, kind: str, choices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": list(choices),
        }

    def grounds(self, answer: Answer, made: Sequence[Made]) -> dict[str, Any]:
        session = {} if self.session is None else {"session": self.session}
        media = [one.to_json() for one in made if one.modality is not Modality.IMAGE]
        by = discreet(answer.generator)
        return {**grounds_to_json(answer), "generator": by, "media": media, **session}


class Chunks:
    """The `chat.completion.chunk`s of one stream, in order.

    usage: one more tells the tokens, as `stream_options.include_usage` asks.
    """

    def __init__(self, completion: Completion, *, usage: bool) -> None:
        self._completion = completion
        self._usage = usage
        self._calls = 0

    def opening(self) -> dict[str, Any]:
        return self._completion.chunk({"role": "assistant", "content": ""})

    def of(self, piece: Delta | Answer) -> list[dict[str, Any]]:
        """With the answer, the chunk that ends it, and all that it rests on."""
        if isinstance(piece, Delta):
            return [self._completion.chunk(self._delta(piece))]
        completion, made = self._completion, encoded(piece.media)
        ending = completion.chunk(_pictures(made), piece.finish)
        last = {**ending, **completion.grounds(piece, made)}
        if not self._usage:
            return [last]
        told = {**completion.document(_CHUNK, []), "usage": _usage(piece.usage)}
        return [last, told]

    def _delta(self, delta: Delta) -> dict[str, Any]:
        words = {"content": delta.text} if delta.text else {}
        if delta.call is None:
            return words
        called = {"index": self._calls, **_call(delta.call)}
        self._calls += 1
        return {**words, "tool_calls": [called]}


def _pictures(made: Sequence[Made]) -> dict[str, Any]:
    found = [
        {"type": "image_url", "index": index, "image_url": {"url": one.uri}}
        for index, one in enumerate(one for one in made if one.modality is Modality.IMAGE)
    ]
    return {"images": found} if found else {}


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _usage(usage: Usage | None) -> dict[str, int]:
    """Zeros where the generator counts none."""
    prompt, completion = usage or (0, 0)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
