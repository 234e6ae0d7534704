"""Tools are the client's: a call passes only if nothing in it can come from the evidence alone.

A call is refused when the client offered no tool of its name, when its arguments are no JSON
object, when it is what some evidence asks for (a tool that the evidence names and the client's own
words do not), and when a string in its arguments holds an address, or four words in a row, that
evidence has and the client's words have not. So what a document says cannot make a tool run nor
leave through one; a tool that is to be fed whole passages must be called by the client itself.

The client's words are the question, earlier turns of the user and of tools, and instructions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from generation.types import Chunk, Prompt, Role, ToolCall

_ADDRESS = re.compile(
    r"\w+://\S+|\bwww\.\S+|\b[\w.+-]+@[\w-]+\.\w+|\b(?:[\w-]+\.)+[a-z]{2,}(?:/\S*)?|"
    r"\b\d{1,3}(?:\.\d{1,3}){3}\b|(?:~|\.{0,2})/[\w./-]{3,}|\+?\d[\d\s()-]{7,}\d",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w+")
_ROW = 4


class Permitted:
    """Passes chunks on without the calls that are refused; says which, and why."""

    def __init__(self, prompt: Prompt) -> None:
        self.refused: list[str] = []
        self._names = {str(_function(tool).get("name")) for tool in prompt.tools}
        self._client = _client(prompt)
        self._evidence = "\n".join(
            "\n".join([one.title or "", *(s.text for s in one.statements)])
            for one in prompt.evidence
        )
        self._passed = False

    def __call__(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        for chunk in chunks:
            if chunk.call is not None and (why := self._why_not(chunk.call)):
                self.refused.append(f"a call of the tool {chunk.call.name!r} was refused: {why}")
                chunk = replace(chunk, call=None)  # noqa: PLW2901
            self._passed |= chunk.call is not None
            if chunk.finish == "tool_calls" and not self._passed:
                chunk = replace(chunk, finish="stop")  # noqa: PLW2901
            yield chunk

    def _why_not(self, call: ToolCall) -> str | None:
        if call.name not in self._names:
            return "the client offers none of this name"
        if _has(self._evidence, call.name) and not _has(self._client, call.name):
            return "the evidence asks for it, and the client does not"
        try:
            arguments = json.loads(call.arguments or "{}")
        except ValueError:
            arguments = None
        if not isinstance(arguments, dict):
            return "its arguments are no JSON object"
        for text in _strings(arguments):
            if (found := self._only_found(text)) is not None:
                return f"{found!r} stands in the evidence alone"
        return None

    def _only_found(self, text: str) -> str | None:
        """The first piece of a text that evidence has and the client has not."""
        rows = _rows(text)
        for piece in [*(m.group() for m in _ADDRESS.finditer(text)), *rows]:
            if _has(self._evidence, piece) and not _has(self._client, piece):
                return piece
        return None


def _client(prompt: Prompt) -> str:
    """What the client says; of the last turn the question alone, for the rest of it is evidence."""
    *earlier, _ = prompt.messages or (None,)
    roles = (Role.SYSTEM, Role.USER, Role.TOOL)
    said = [message.text for message in earlier if message is not None and message.role in roles]
    return "\n".join([*said, prompt.question])


def _function(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    function = tool.get("function")
    return function if isinstance(function, dict) else tool


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield str(name)
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _rows(text: str) -> list[str]:
    words = _WORD.findall(text)
    return [" ".join(words[n : n + _ROW]) for n in range(len(words) - _ROW + 1)]


def _has(text: str, piece: str) -> bool:
    """Whether the words of a piece stand in a text in a row."""
    wanted = " ".join(_WORD.findall(piece.casefold()))
    return f" {wanted} " in f" {' '.join(_WORD.findall(text.casefold()))} "
