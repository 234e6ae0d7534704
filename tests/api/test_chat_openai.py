"""The openai package, unmodified, chats with a server that really runs, over the built-in space."""

from __future__ import annotations

import base64
import io
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import uvicorn
from PIL import Image, ImageDraw

from api import answers_ask
from api.app import create_app
from api.config import Settings
from api.requests import Upload
from api.service import Service
from embed.types import Modality
from generation import registry
from generation.types import Chunk, Prompt, Taste

TEXTS = {
    "dahlias": "Dahlias bloom from July until the first frost.",
    "tulips": "Tulips bloom in April and May.",
    "lighthouse": "The lighthouse was built in 1893 by Jens Olsen.",
    "invoice": "Invoice 42: two boats, 900 euros, due on 1 March.",
    "penguins": "Penguins live on the ice of Antarctica.",
    "sofa": "The cat Mia sleeps on the blue sofa.",
}


def picture(shape: str, colour: str) -> bytes:
    drawn = Image.new("RGB", (64, 64), "white")
    draw = ImageDraw.Draw(drawn)
    (draw.ellipse if shape == "disc" else draw.rectangle)((12, 12, 52, 52), fill=colour)
    png = io.BytesIO()
    drawn.save(png, "PNG")
    return png.getvalue()


class Slow:
    """A generator that waits between its words, and tells when it was closed."""

    name = "slow"
    inputs = frozenset({Modality.TEXT})
    outputs = frozenset({Modality.TEXT})
    taste = Taste(context=4096)

    def __init__(self) -> None:
        self.go = threading.Event()
        self.closed = threading.Event()

    def count_tokens(self, text: str) -> int:
        return len(text)

    def generate(self, prompt: Prompt) -> Iterator[Chunk]:
        try:
            for _ in range(1000):
                yield Chunk(text="slowly ")
                self.go.wait(0.02)
            yield Chunk(finish="stop")
        finally:
            self.closed.set()

    def close(self) -> None:
        self.go.set()


SLOW = Slow()


def load(_detail: str, _options: registry.GeneratorOptions) -> Slow:
    return SLOW


def describe(_detail: str, _options: registry.GeneratorOptions) -> registry.Capabilities:
    return registry.Capabilities(
        name="slow",
        summary="waits",
        inputs=Slow.inputs,
        outputs=Slow.outputs,
        taste=Slow.taste,
        licence="none",
        source="tests",
    )


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, model_cache: Path) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("chat") / "home"
    settings = Settings(home=home, cache=model_cache, threads=1, generators=("slow",))
    service = Service(settings)
    service.create_collection("default")
    uploads = [
        *(Upload(data=text.encode(), id=name) for name, text in TEXTS.items()),
        Upload(data=picture("disc", "red"), id="disc", record="flag"),
        Upload(data=b"the flag of the harbour office", id="flag", record="flag"),
        Upload(data=picture("box", "navy"), id="box", record="box"),
        Upload(data=b"a crate of machine parts", id="crate", record="box"),
    ]
    outcomes = service.add_items("default", uploads)
    assert not [outcome.error for outcome in outcomes if outcome.error]
    yield service
    service.close()


@pytest.fixture(scope="module")
def url(service: Service) -> Iterator[str]:
    patch = pytest.MonkeyPatch()
    patch.setitem(sys.modules, "slow_for_tests", sys.modules[__name__])
    family = registry.Family(
        form="slow", describe="slow_for_tests:describe", load="slow_for_tests:load"
    )
    patch.setitem(registry._FAMILIES, "slow", family)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(service), log_level="warning", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(20)
    listener.close()
    patch.undo()
    assert not thread.is_alive()


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def ask(client: openai.OpenAI, content: Any, **about: Any) -> Any:
    messages: list[Any] = [{"role": "user", "content": content}]
    return client.chat.completions.create(model="crossbind", messages=messages, **about)


def test_it_chats_and_reads_citations(client: openai.OpenAI) -> None:
    answer = ask(client, "When do dahlias bloom?")
    assert "July" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    about = answer.model_extra
    assert {citation["item"] for citation in about["citations"]} == {"dahlias"}
    assert about["evidence"][0]["text"] == TEXTS["dahlias"]
    assert about["abstained"] is False
    assert about["timings_ms"]["total"] > 0


def test_the_wire_is_as_it_is_documented(url: str) -> None:
    body = {"model": "extractive", "messages": [{"role": "user", "content": "Who is Jens Olsen?"}]}
    answer = httpx.post(f"{url}/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    answers_ask.ChatAnswer.model_validate_json(answer.content)


def test_it_streams_and_the_last_chunk_has_the_citations(client: openai.OpenAI) -> None:
    options = {"include_usage": True}
    *chunks, usage = ask(client, "Who built the lighthouse?", stream=True, stream_options=options)
    words = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert "Jens Olsen" in words
    last = chunks[-1]
    assert last.choices[0].finish_reason == "stop"
    [citation] = last.model_extra["citations"]
    assert citation["item"] == "lighthouse"
    assert words[citation["start"] : citation["end"]].startswith("The lighthouse")
    assert usage.usage.total_tokens >= 0


def test_its_own_helper_puts_a_stream_together(client: openai.OpenAI) -> None:
    messages: list[Any] = [{"role": "user", "content": "When do dahlias bloom?"}]
    with client.chat.completions.stream(model="extractive", messages=messages) as stream:
        kinds = {event.type for event in stream}
        whole = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert "July" in str(whole.choices[0].message.content)


def test_what_nothing_says_is_not_answered(client: openai.OpenAI) -> None:
    answer = ask(client, "How tall is the Eiffel tower?")
    assert answer.model_extra["abstained"] is True
    assert answer.model_extra["reason"] in answer.choices[0].message.content
    assert answer.model_extra["citations"] == []


@pytest.mark.parametrize("by_item", [False, True])
def test_it_sends_a_picture(client: openai.OpenAI, by_item: bool) -> None:
    data = base64.b64encode(picture("disc", "red")).decode()
    seen = "item:disc" if by_item else f"data:image/png;base64,{data}"
    content = [
        {"type": "text", "text": "What is in this picture?"},
        {"type": "image_url", "image_url": {"url": seen}},
    ]
    about = ask(client, content, extra_body={"retrieval": {"min_probability": 0}}).model_extra
    [query] = about["plan"]["queries"]
    assert (query["items"], query["media"]) == ((["disc"], []) if by_item else ([], ["image"]))
    assert not about["abstained"]
    assert {citation["item"] for citation in about["citations"]} <= {
        hit["id"] for hit in about["evidence"]
    }
    assert "flag" in [hit["record"] for hit in about["evidence"][:2]]


def test_a_session_remembers_what_was_said(client: openai.OpenAI) -> None:
    body = {"session": "garden"}
    ask(client, "When do dahlias bloom?", extra_body=body)
    answer = ask(client, "And tulips?", extra_body=body)
    assert "April" in answer.choices[0].message.content
    kept = client.get("/sessions/garden", cast_to=httpx.Response).json()
    assert [turn["role"] for turn in kept["history"]] == ["user", "assistant"] * 2
    assert kept["question"] == "When do dahlias bloom?"


def test_retrieval_can_be_narrowed(client: openai.OpenAI) -> None:
    narrowed = {"retrieval": {"modalities": ["image"], "k": 2}}
    answer = ask(client, "When do dahlias bloom?", extra_body=narrowed)
    assert {hit["modality"] for hit in answer.model_extra["evidence"]} <= {"image"}
    with pytest.raises(openai.UnprocessableEntityError, match="known ones are"):
        ask(client, "When?", extra_body={"retrieval": {"top": 3}})


def test_it_meets_our_errors_as_its_own(client: openai.OpenAI) -> None:
    messages: list[Any] = [{"role": "user", "content": "hello"}]
    with pytest.raises(openai.NotFoundError, match="extractive"):
        client.chat.completions.create(model="gpt-4o", messages=messages)
    with pytest.raises(openai.NotFoundError, match="no collection"):
        ask(client, "When?", extra_body={"retrieval": {"collection": "nowhere"}}, stream=True)
    url = {"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/a.png"}}
    with pytest.raises(openai.PermissionDeniedError, match="data URI"):
        ask(client, [url])
    broken = base64.b64encode(b"\x89PNG\r\n\x1a\nbut no more").decode()
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{broken}"}}
    with pytest.raises(openai.BadRequestError):
        ask(client, [url], stream=True)


def test_generators_are_among_its_models(client: openai.OpenAI) -> None:
    assert {"builtin", "extractive", "slow"} <= {model.id for model in client.models.list()}


def test_one_that_leaves_ends_the_work_and_nobody_waited_for_it(
    client: openai.OpenAI, url: str
) -> None:
    messages: list[Any] = [{"role": "user", "content": "When do dahlias bloom?"}]
    stream = client.chat.completions.create(model="slow", messages=messages, stream=True)
    words = (chunk.choices[0].delta.content for chunk in stream)
    assert next(word for word in words if word) == "slowly "
    assert httpx.get(f"{url}/health/live").status_code == 200
    assert "April" in ask(client, "When do tulips bloom?").choices[0].message.content
    assert not SLOW.closed.is_set()
    stream.close()
    assert SLOW.closed.wait(10)
