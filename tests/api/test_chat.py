"""OpenAI's chat over REST: what is read of a request, and what is sent back, whole or in pieces."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import httpx
import hypothesis
import hypothesis.strategies as st
import pytest

from api import answers, answers_ask
from api.requests_ask import AskRequest
from api.routes import chat, streams
from api.routes.inputs import parse
from api.schemas_chat import ChatBody
from embed.errors import BackendFailed, CrossbindError, Forbidden, NotFound, Overloaded
from embed.types import CharSpan, Item, Modality
from generation.types import Role, ToolCall, Usage
from index.types import Completion, Hit, Source
from rag.types import Answer, Citation, Delta, Passage, Plan, Sentence, SubQuery

COMPLETIONS = "/v1/chat/completions"
PICTURE = base64.b64encode(b"\x89PNG and more").decode()
WORDS = "It is a boat [1]."


def _answer() -> Answer:
    item = Item(id="b1", record="r1", modality=Modality.TEXT, uri=None, digest="d", text="A boat.")
    sibling = Item(
        id="b2", record="r1", modality=Modality.TEXT, uri=None, digest="d", text="x" * 5000
    )
    hit = Hit(
        item=item,
        fragment=1,
        span=CharSpan(0, 7),
        score=0.5,
        probability=0.4,
        rank_score=0.5,
        collection="shelf",
        text="A boat.",
    )
    supposed = Completion(
        record="r1",
        modality=Modality.AUDIO,
        value="s9",
        vector=None,
        origin="retrieved",
        sources=(Source("s9", "r9", 1.0),),
        p=0.8,
        method="best",
    )
    passage = Passage(
        number=1,
        hit=hit,
        probability=0.9,
        text="A boat.",
        siblings=(sibling,),
        completions=(supposed,),
    )
    query = SubQuery(words="boat", why="asked", modalities=frozenset({Modality.TEXT}))
    return Answer(
        text=WORDS,
        sentences=(Sentence(text=WORDS, start=0, end=len(WORDS), cites=(1,), supported=True),),
        citations=(Citation(0, 1, "b1", "r1", CharSpan(0, 7)),),
        evidence=(passage,),
        completions=(supposed,),
        abstained=False,
        reason=None,
        confidence=0.9,
        plan=Plan(question="what is it?", queries=(query,)),
        route=frozenset({Modality.TEXT}),
        generator="extractive",
        timings_ms={"total": 1.23456},
        usage=Usage(10, 5),
    )


class Asked:
    """`api.asking.Asking` that says what it was told to, and notes what it was asked."""

    def __init__(self) -> None:
        self.requests: list[AskRequest] = []
        self.checked: list[bool] = []
        self.pieces: list[Delta | Answer | Exception] = [
            Delta(text="It is a "),
            Delta(text="boat [1]."),
            _answer(),
        ]
        self.closed = threading.Event()
        self.goes_on = False

    def stream(
        self, request: AskRequest, *, checked: bool = False
    ) -> Generator[Delta | Answer, None, None]:
        self.requests.append(request)
        self.checked.append(checked)
        try:
            for piece in self.pieces:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
            while self.goes_on:
                time.sleep(0.001)
                yield Delta(text="and on ")
        finally:
            self.closed.set()


@pytest.fixture
def asking(service: Any) -> Asked:
    asking = Asked()
    service.asking = asking
    service.generators = lambda: ["extractive", "openai:small"]
    service.generator = lambda name: SimpleNamespace(
        to_json=lambda: {
            "id": name,
            "object": "model",
            "created": 0,
            "owned_by": "crossbind",
            "kind": "generator",
            "default": True,
            "summary": "s",
            "inputs": ["text"],
            "outputs": ["text"],
            "context": 1,
            "licence": "l",
            "source": "s",
            "state": "ready",
            "missing": None,
        }
    )
    service.rerankers = lambda: ["builtin"]
    return asking


def body(content: Any = "what is it?", **about: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": content}]
    return {"model": "crossbind", "messages": messages, **about}


def events(answer: httpx.Response) -> list[Any]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in told]


def refused(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    answers.ErrorAnswer.model_validate_json(answer.content)
    return str(answer.json()["error"]["message"])


def test_an_answer_as_a_whole_with_what_it_rests_on(client: Any, asking: Asked) -> None:
    answer = client.post(COMPLETIONS, json=body())
    assert answer.status_code == 200, answer.text
    answers_ask.ChatAnswer.model_validate_json(answer.content)
    told = answer.json()
    assert told["object"] == "chat.completion"
    [choice] = told["choices"]
    assert choice["message"]["content"] == WORDS
    assert choice["finish_reason"] == "stop"
    assert told["usage"] == {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    [citation] = told["citations"]
    assert WORDS[citation["start"] : citation["end"]] == WORDS
    assert (citation["number"], citation["item"]) == (1, "b1")
    [passage] = told["evidence"]
    assert (passage["id"], passage["number"], passage["probability"]) == ("b1", 1, 0.9)
    assert len(passage["siblings"][0]["text"]) == 1000
    assert told["completions"][0]["sources"] == [{"item": "s9", "record": "r9", "share": 1.0}]
    assert (told["abstained"], told["timings_ms"]) == (False, {"total": 1.235})
    assert asking.checked == [True]  # what nothing supports is left out where nobody read it yet


def test_a_stream_ends_with_what_the_answer_rests_on(client: Any, asking: Asked) -> None:
    asked = body(stream=True, stream_options={"include_usage": True})
    *chunks, usage, done = events(client.post(COMPLETIONS, json=asked))
    assert done == "[DONE]"
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 15)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("content", "") for delta in deltas) == WORDS
    *earlier, last = chunks
    assert {chunk["choices"][0]["finish_reason"] for chunk in earlier} == {None}
    assert not any("citations" in chunk for chunk in earlier)
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["citations"][0]["item"] == "b1"
    assert {"evidence", "completions", "abstained", "timings_ms"} <= last.keys()
    assert len({chunk["id"] for chunk in [*chunks, usage]}) == 1
    assert asking.checked == [False]


def test_without_asking_for_it_no_chunk_tells_tokens(client: Any, asking: Asked) -> None:
    *chunks, done = events(client.post(COMPLETIONS, json=body(stream=True)))
    assert done == "[DONE]"
    assert all(chunk["choices"] for chunk in chunks)


def test_calls_of_tools_go_out_one_by_one(client: Any, asking: Asked) -> None:
    calls = [ToolCall(id=str(n), name="look", arguments="{}") for n in range(2)]
    made = replace(_answer(), text="", calls=tuple(calls), finish="tool_calls")
    asking.pieces = [*(Delta(call=call) for call in calls), made]
    whole = client.post(COMPLETIONS, json=body(model="openai:small")).json()["choices"][0]
    assert whole["message"]["content"] is None
    assert [call["id"] for call in whole["message"]["tool_calls"]] == ["0", "1"]
    assert whole["finish_reason"] == "tool_calls"
    *chunks, _ = events(client.post(COMPLETIONS, json=body(model="openai:small", stream=True)))
    deltas = [chunk["choices"][0]["delta"].get("tool_calls") for chunk in chunks]
    assert [call[0]["index"] for call in deltas if call] == [0, 1]


def test_what_breaks_before_the_first_word_has_a_status(client: Any, asking: Asked) -> None:
    for error, status in (
        (NotFound("no collection is called 'x'"), 404),
        (Overloaded("too many"), 429),
        (RuntimeError("secret"), 500),
    ):
        asking.pieces = [error]
        for stream in (False, True):
            told = refused(client.post(COMPLETIONS, json=body(stream=stream)), status)
            assert "secret" not in told


def test_what_breaks_later_is_an_event_and_no_done_follows(client: Any, asking: Asked) -> None:
    asking.pieces = [Delta(text="It is"), BackendFailed("the model fell over")]
    *_, last = events(client.post(COMPLETIONS, json=body(stream=True)))
    assert last["error"]["code"] == "backend_failed"
    assert last["error"]["message"] == "the model fell over"
    assert refused(client.post(COMPLETIONS, json=body()), 503) == "the model fell over"


def test_all_that_a_message_may_hold(client: Any, asking: Asked) -> None:
    parts = [
        {"type": "text", "text": "which of"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
        {"type": "image_url", "image_url": {"url": "item:b1", "detail": "low"}},
        {"type": "video_url", "video_url": {"url": "crossbind://shelf/b%202"}},
        {"type": "input_audio", "input_audio": {"data": PICTURE, "format": "wav"}},
        {"type": "input_video", "input_video": {"data": PICTURE}},
        {"type": "text", "text": "  "},
    ]
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": None, "tool_calls": [_called("look")]},
        {"role": "tool", "content": "it is wet", "tool_call_id": "c1"},
        {"role": "assistant", "content": [{"type": "text", "text": "yes?"}], "refusal": None},
        {"role": "developer", "content": "Cite."},
        {"role": "user", "content": parts, "name": "ann"},
    ]
    asked = {"model": "extractive", "messages": messages, "retrieval": {"collection": "shelf"}}
    answer = client.post(COMPLETIONS, json=asked)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-crossbind-ignored"] == "messages.name"
    [request] = asking.requests
    assert [(term.kind, term.value) for term in request.terms] == [
        ("text", "which of"),
        ("image", base64.b64decode(PICTURE)),
        ("item", "b1"),
        ("item", "b 2"),
        ("audio", base64.b64decode(PICTURE)),
        ("video", base64.b64decode(PICTURE)),
    ]
    assert request.instructions == "Be brief.\n\nCite."
    roles = [Role.USER, Role.ASSISTANT, Role.TOOL, Role.ASSISTANT]
    assert [turn.role for turn in request.history] == roles
    assert request.history[1].calls == (ToolCall(id="c1", name="look", arguments="{}"),)
    assert request.history[2].answers == "c1"
    assert (request.collection, request.generator) == ("shelf", "extractive")


def _called(name: str) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": name, "arguments": "{}"}}


def test_behind_what_a_tool_said_the_question_stands_once_more(client: Any, asking: Asked) -> None:
    messages = [
        {"role": "user", "content": "is it wet?"},
        {"role": "assistant", "content": None, "tool_calls": [_called("look")]},
        {"role": "tool", "content": "yes", "tool_call_id": "c1"},
    ]
    assert client.post(COMPLETIONS, json={**body(), "messages": messages}).status_code == 200
    [request] = asking.requests
    assert [term.value for term in request.terms] == ["is it wet?"]
    assert len(request.history) == 3


def test_how_it_is_retrieved_and_sampled(client: Any, asking: Asked) -> None:
    about = {
        "retrieval": {
            "collection": "shelf",
            "k": 3,
            "modalities": ["image"],
            "min_probability": 0.2,
            "filter": "year >= 2020",
            "complete": False,
            "reranker": "builtin",
        },
        "max_completion_tokens": 7,
        "temperature": 1,
        "top_p": 0.5,
        "seed": -1,
        "stop": "\n",
    }
    assert client.post(COMPLETIONS, json=body(**about)).status_code == 200
    [request] = asking.requests
    wanted = request.retrieval
    assert (wanted.k, wanted.complete) == (3, False)
    assert wanted.modalities == frozenset({Modality.IMAGE})
    assert (wanted.min_probability, request.reranker, request.generator) == (0.2, "builtin", None)
    assert wanted.filter is not None
    sampling = request.sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.top_p) == (7, 1.0, 0.5)
    assert (sampling.seed, sampling.stop) == (2**63 - 1, ("\n",))


def test_what_is_passed_over_is_listed(client: Any, asking: Asked) -> None:
    harmless = {"n": 1, "logprobs": False, "modalities": ["text"], "logit_bias": {}, "store": None}
    quiet = client.post(COMPLETIONS, json=body(**harmless))
    assert "x-crossbind-ignored" not in quiet.headers
    tools = [{"type": "function", "function": {"name": "look"}}]
    about = {
        "logprobs": True,
        "user": "ann",
        "response_format": {"type": "json_object"},
        "tools": tools,
        "tool_choice": "auto",
        "top_k": 5,
        "sm\u00f8rrebr\u00f8d\n": 1,
    }
    told = client.post(COMPLETIONS, json=body(**about)).headers["x-crossbind-ignored"]
    names = ["logprobs", "response_format", r"sm\xf8rrebr\xf8d\n", "tool_choice", "tools"]
    assert told == ", ".join([*names, "top_k", "user"])
    assert asking.requests[-1].tools == ()
    knows = client.post(COMPLETIONS, json=body(**{**about, "model": "openai:small"}))
    assert "tools" not in knows.headers["x-crossbind-ignored"].split(", ")
    assert asking.requests[-1].tools == tuple(tools)


@pytest.mark.parametrize(
    ("about", "status", "told"),
    [
        ({"n": 2}, 400, "n is 2: one answer"),
        ({"messages": []}, 422, "messages"),
        ({"messages": [{"role": "user", "content": [1, 2, 3]}]}, 400, "token ids"),
        ({"messages": [{"role": "user", "content": " "}]}, 400, "asks anything"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, 400, "asks anything"),
        ({"messages": [{"role": "robot", "content": "a"}]}, 422, "messages.0.role is 'robot'"),
        ({"temperature": 3}, 422, "temperature is 3"),
        ({"max_tokens": 0}, 422, "max_tokens is 0"),
        ({"retrieval": {"collection": "shelf", "top": 3}}, 422, "known ones are: collection, k"),
        ({"retrieval": {"k": 1000}}, 422, "retrieval.k is 1000"),
        ({"retrieval": {"filter": "year >="}}, 400, "year"),
        ({"retrieval": {"reranker": "hf:x"}}, 403, "CROSSBIND_RERANKER"),
        ({"session": "a b"}, 422, "session"),
        ({"model": "gpt-4o"}, 404, "the choices are: extractive, openai:small"),
        ({"model": "hf:someone/model"}, 403, "CROSSBIND_GENERATORS"),
    ],
)
def test_what_is_refused(
    client: Any, asking: Asked, about: dict[str, Any], status: int, told: str
) -> None:
    assert told in refused(client.post(COMPLETIONS, json=body(**about)), status)
    assert not asking.requests


@pytest.mark.parametrize(
    ("part", "status", "told"),
    [
        ({"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}, 403, "send the"),
        ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, 403, "not enabled"),
        ({"type": "image_url", "image_url": {"url": "data:image/png,abc"}}, 400, "data URI"),
        ({"type": "image_url", "image_url": {}}, 400, "a string is wanted"),
        ({"type": "image_url", "image_url": {"url": "crossbind://other/b1"}}, 400, "'shelf'"),
        ({"type": "file", "file": {"file_id": "f"}}, 503, "/items"),
        ({"type": "smell"}, 400, "image_url"),
        ("what?", 400, "a part is an object"),
    ],
)
def test_parts_that_are_refused(
    client: Any, asking: Asked, part: Any, status: int, told: str
) -> None:
    asked = body([{"type": "text", "text": "see"}, part], retrieval={"collection": "shelf"})
    assert told in refused(client.post(COMPLETIONS, json=asked), status)


def test_media_and_words_are_bounded(client: Any, asking: Asked) -> None:
    part = {"type": "image_url", "image_url": {"url": "item:b1"}}
    assert "at most 16" in refused(client.post(COMPLETIONS, json=body([part] * 17)), 413)
    long = [{"role": "user", "content": "word " * 7_000}] * 10
    asked = client.post(COMPLETIONS, content=json.dumps({**body(), "messages": long}).encode())
    assert asked.status_code in (413, 415)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**70) | st.text(max_size=4) | st.just("item:b1"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "text", "url", "image_url", "role"]), inner)
    ),
    max_leaves=6,
)
PARTS = st.dictionaries(st.sampled_from(["type", "text", "image_url", "input_audio"]), JSON) | JSON
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
    optional={"content": st.text(max_size=3) | st.lists(PARTS, max_size=3), "tool_calls": JSON},
)


@hypothesis.settings(max_examples=100)
@hypothesis.given(
    messages=st.lists(MESSAGES, min_size=1, max_size=3),
    about=st.dictionaries(st.sampled_from([*ChatBody.model_fields, "other"]), JSON, max_size=2),
)
def test_whatever_is_sent_is_read_or_refused(messages: Any, about: dict[str, Any]) -> None:
    sent = json.dumps({"model": "crossbind", "messages": messages, **about}).encode()
    with suppress(CrossbindError):
        parsed = parse(ChatBody, sent)
        parsed.ignored(tools=False)
        assert parsed.request().terms


def test_generators_are_listed_behind_spaces(client: Any, asking: Asked) -> None:
    listed = client.get("/v1/models")
    answers.ModelList.model_validate_json(listed.content)
    assert [model["id"] for model in listed.json()["data"]] == [
        *("builtin", "extractive", "openai:small")
    ]
    one = client.get("/v1/models/openai:small")
    assert answers.GeneratorAnswer.model_validate_json(one.content).kind == "generator"


def test_a_session_goes_along_and_says_what_it_passes_over(client: Any, asking: Asked) -> None:
    messages = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "yes?"},
        {"role": "user", "content": "and now?"},
    ]
    answer = client.post(COMPLETIONS, json={**body(session="s1"), "messages": messages})
    assert answer.headers["x-crossbind-ignored"] == "messages.earlier"
    assert answer.json()["session"] == "s1"
    [request] = asking.requests
    assert (request.session, request.history) == ("s1", ())


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_the_generator(
    client: Any, asking: Asked, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """In the middle of a stream, and while it waits for the whole."""
    monkeypatch.setattr(chat, "QUIET_SECONDS", 0.01)
    asking.goes_on = True  # until it is stopped
    asyncio.run(_leave(client.app, body(stream=stream)))
    assert asking.closed.is_set()


async def _leave(app: Any, asked: dict[str, Any]) -> None:
    """Sends a request by hand, and goes away at the first words or, without any, at once."""
    content = json.dumps(asked).encode()
    scope = {
        "type": "http",
        "method": "POST",
        "path": COMPLETIONS,
        "raw_path": b"",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "scheme": "http",
    }
    sent = asyncio.Event()
    if not asked.get("stream"):
        sent.set()
    bodies = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if bodies:
            return bodies.pop()
        await sent.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if b"and on" in message.get("body", b""):
            sent.set()

    await asyncio.wait_for(app(scope, receive, send), 20)


def test_too_many_that_wait_are_told_so(
    client: Any, asking: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "WAITING", 0)
    assert "try again" in refused(client.post(COMPLETIONS, json=body()), 429)


def test_where_nothing_may_be_written_no_session_is_kept(client: Any, asking: Asked) -> None:
    asking.pieces = [Forbidden("read only: no session is kept")]
    assert "no session" in refused(client.post(COMPLETIONS, json=body(session="s1")), 403)
