"""Any endpoint that speaks OpenAI's chat completions (vLLM, Ollama, llama.cpp): `openai:MODEL`.

https://platform.openai.com/docs/api-reference/chat/create
Media travel inside the request, as data; tools go through as the client gave them. What the model
takes is not known from here, so it is said in the options (`generation.registry`).
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

from embed.errors import BackendFailed, BadInput, Forbidden, NotAvailable, NotFound
from embed.types import Modality
from generation.endpoint import Address, Answer, Endpoint, address, message_of
from generation.events import events
from generation.messages import to_openai
from generation.registry import Capabilities, GeneratorOptions
from generation.showing import shown
from generation.types import Chunk, Finish, Prompt, Taste, ToolCall, Usage

log = logging.getLogger(__name__)

_WORDS = frozenset({Modality.TEXT})
_OWN_ADDRESS = re.compile(r"(?P<model>.+?)@(?P<url>https?://.*)")
_FINISHES: Mapping[str, Finish] = {
    "stop": "stop",
    "eos": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
_LETTERS_A_TOKEN = 3.0
_NEWER_LIMIT = "max_completion_tokens"


def describe(detail: str, options: GeneratorOptions) -> Capabilities:
    """What is known without asking the endpoint: what the options say."""
    model, where, missing = detail, "", None
    try:
        model, found, _ = _target(detail, options)
        where = found.origin
    except (BadInput, Forbidden, NotAvailable) as error:
        missing = error.message
    return Capabilities(
        name=f"openai:{detail}",
        summary=f"{model} at {where}" if where else f"{model} at an endpoint",
        inputs=options.inputs,
        outputs=_WORDS,
        taste=options.taste,
        licence="the model's own",
        source=where,
        missing=missing,
    )


def load(detail: str, options: GeneratorOptions) -> Remote:
    """The generator; nobody is asked yet.

    Raises NotFound for a name without a model, NotAvailable where no endpoint is configured,
    BadInput for an address that is none, Forbidden for one that is far and not encrypted.
    """
    model, where, key = _target(detail, options)
    endpoint = Endpoint(where, key=key, timeout=options.timeout)
    return Remote(f"openai:{detail}", model, endpoint, options)


class Remote:
    """Implements `generation.types.Generator` over an endpoint."""

    def __init__(
        self, name: str, model: str, endpoint: Endpoint, options: GeneratorOptions
    ) -> None:
        self._name = name
        self._model = model
        self._endpoint = endpoint
        self._inputs = options.inputs | _WORDS
        self._taste = options.taste

    @property
    def name(self) -> str:
        return self._name

    @property
    def inputs(self) -> frozenset[Modality]:
        return self._inputs

    @property
    def outputs(self) -> frozenset[Modality]:
        return _WORDS

    @property
    def taste(self) -> Taste:
        return self._taste

    def count_tokens(self, text: str) -> int:
        """An estimate from above for usual prose: three letters a token, all else one each."""
        letters = sum(c.isascii() and c.isalpha() for c in text)
        spaces = sum(c.isspace() for c in text)
        return math.ceil(letters / _LETTERS_A_TOKEN) + len(text) - letters - spaces // 2

    def generate(self, prompt: Prompt) -> Iterator[Chunk]:
        """As `Generator.generate`. Raises Overloaded when the endpoint says so."""
        with ExitStack() as held:
            answer = self._ask(self._body(prompt), held)
            reading = _Reading(self._endpoint.where.origin)
            if answer.kind == "application/json":  # it does not stream
                yield from reading.whole(answer.whole())
            else:
                for data in events(answer.read):
                    if data.strip() == "[DONE]":
                        break
                    yield from reading.event(data)
            yield from reading.end()

    def close(self) -> None:
        """Nothing is held between questions."""

    def _ask(self, body: dict[str, Any], held: ExitStack) -> Answer:
        """Its answer, 200. Newer models of OpenAI want another name for the limit of tokens."""
        answer = held.enter_context(self._endpoint.post("chat/completions", body))
        if answer.status == 200:
            return answer
        refusal = self._endpoint.refusal(answer)
        if answer.status == 400 and _NEWER_LIMIT in str(refusal) and "max_tokens" in body:
            held.close()
            return self._ask(body | {_NEWER_LIMIT: body.pop("max_tokens")}, held)
        raise refusal

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        sampling = prompt.sampling
        show = partial(shown, takes=self._inputs, taste=self._taste)
        body: dict[str, Any] = {
            "model": self._model,
            "messages": to_openai(prompt.messages, show),
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
        }
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if prompt.tools:
            body["tools"] = list(prompt.tools)
            if prompt.tool_choice is not None:
                body["tool_choice"] = prompt.tool_choice
        return body


class _Reading:
    """One answer as it is read: words go on at once, calls when they are whole."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._calls: dict[int, dict[str, str]] = {}
        self._finish: str | None = None
        self._usage: Usage | None = None

    def event(self, data: str) -> Iterator[Chunk]:
        """A `chat.completion.chunk`. Raises BackendFailed for an error, or for what is none."""
        yield from self._take(data, "delta")

    def whole(self, data: bytes) -> Iterator[Chunk]:
        """A `chat.completion`."""
        yield from self._take(data.decode("utf-8", errors="replace"), "message")

    def end(self) -> Iterator[Chunk]:
        """What comes last. Raises BackendFailed when the endpoint did not say that it is done."""
        if self._finish is None:
            raise BackendFailed(f"{self._where} ended before its answer did; ask again")
        if self._finish not in _FINISHES:
            raise BackendFailed(f"{self._where} held back the rest of its answer: {self._finish}")
        for _, call in sorted(self._calls.items()):
            yield Chunk(call=ToolCall(**call))
        finish = "tool_calls" if self._calls else _FINISHES[self._finish]
        yield Chunk(finish=finish, usage=self._usage)

    def _take(self, data: str, part: str) -> Iterator[Chunk]:
        try:
            document = json.loads(data)
            choices, said = document.get("choices") or [], document.get("error")
            if said is None:
                self._count(document.get("usage"))
                first = choices[0] if choices else {}
                found, finish = first.get(part) or {}, first.get("finish_reason")
                self._finish = str(finish) if finish else self._finish
                text = found.get("content") or ""
                self._join(found.get("tool_calls") or [])
        except (ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
            raise BackendFailed(
                f"{self._where} sent what is no chat completion: {data[:80]!r}"
            ) from error
        if said is not None:
            raise BackendFailed(f"{self._where} broke off: {message_of(document) or 'no reason'}")
        if isinstance(text, str) and text:
            yield Chunk(text=text)

    def _join(self, deltas: list[Any]) -> None:
        for place, delta in enumerate(deltas):
            number = delta.get("index")
            call = self._calls.setdefault(
                place if number is None else int(number), {"id": "", "name": "", "arguments": ""}
            )
            function = delta.get("function") or {}
            call["id"] = delta.get("id") or call["id"]
            call["name"] += function.get("name") or ""
            call["arguments"] += function.get("arguments") or ""

    def _count(self, usage: Any) -> None:
        if usage:
            self._usage = Usage(int(usage["prompt_tokens"]), int(usage.get("completion_tokens", 0)))


def _target(detail: str, options: GeneratorOptions) -> tuple[str, Address, str | None]:
    """Model, address and key. An address in the name gets the key of the configured one only where
    it is of the same origin."""
    named = _OWN_ADDRESS.fullmatch(detail)
    model = named["model"] if named else detail
    if not model:
        raise NotFound("openai: names no model: write openai:MODEL", param="generator")
    if named is None and options.url is None:
        raise NotAvailable(
            f"no endpoint is configured for openai:{model}: name one, as in "
            f"openai:{model}@http://127.0.0.1:11434/v1, or set its url"
        )
    ours = address(options.url) if options.url else None
    where = address(named["url"]) if named else ours
    assert where is not None
    if named is None and where.scheme == "http" and not where.is_near:
        raise Forbidden(
            f"{where.origin} is far and not encrypted: use https, or name it in full, "
            f"openai:{model}@{where.origin}{where.path}"
        )
    same = ours is not None and ours.origin == where.origin
    return model, where, options.api_key if same else None
