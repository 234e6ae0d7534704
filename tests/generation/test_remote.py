"""Endpoints that speak OpenAI's protocol, well and badly, behind a real socket."""

from __future__ import annotations

import base64
import io
import json
import logging
import threading
import wave
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from embed.errors import (
    BackendFailed,
    BadInput,
    CrossbindError,
    Forbidden,
    NotAvailable,
    Overloaded,
    TooLarge,
    UnsupportedModality,
)
from embed.registry import LoadOptions
from embed.types import Media, Modality, PageSpan, TimeSpan
from generation import endpoint
from generation.endpoint import address
from generation.events import events
from generation.registry import GeneratorOptions, open_generator
from generation.remote import load
from generation.types import Chunk, Message, Prompt, Role, Sampling, ToolCall

KEY = "sk-secret-0123456789"
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


class Served:
    """A server whose one answer is a script: what it was asked lies in `asked`."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.script: Callable[[Any], None] = lambda handler: None
        self.left = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                outer.asked.append(json.loads(self.rfile.read(length)))
                outer.headers.append({k.lower(): v for k, v in self.headers.items()})
                outer.asked[-1]["path"] = self.path
                try:
                    outer.script(self)
                except OSError:
                    outer.left.set()
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False  # closing waits for them
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def streams(self, *events: Any, done: bool = True) -> None:
        """Each event a chunk, its bytes cut in two."""
        data = [event if isinstance(event, bytes) else line(event) for event in events]
        data += [b"data: [DONE]\n\n"] if done else []

        def script(handler: Any) -> None:
            begin(handler)
            for piece in data:
                for half in (piece[: len(piece) // 2], piece[len(piece) // 2 :]):
                    send(handler, half)
            handler.wfile.write(b"0\r\n\r\n")

        self.script = script

    def answers(
        self, status: int, body: bytes, kind: str = "application/json", **more: str
    ) -> None:
        def script(handler: Any) -> None:
            handler.send_response(status)
            handler.send_header("Content-Type", kind)
            handler.send_header("Content-Length", str(len(body)))
            for name, value in more.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            handler.wfile.write(body)

        self.script = script


def begin(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream; charset=utf-8")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()


def send(handler: Any, piece: bytes) -> None:
    if piece:
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        handler.wfile.flush()


def line(document: Any) -> bytes:
    return f"data: {json.dumps(document, ensure_ascii=False)}\n\n".encode()


def says(text: str | None = None, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    said = {"content": text} if text is not None else {}
    return {"choices": [{"index": 0, "delta": said | delta, "finish_reason": finish}]}


@pytest.fixture
def served() -> Iterator[Served]:
    server = Served()
    yield server
    server.close()


@pytest.fixture
def options(served: Served, tmp_path: Path) -> GeneratorOptions:
    given = LoadOptions(cache=tmp_path, threads=1)
    return GeneratorOptions(load=given, url=served.url, api_key=KEY, timeout=5.0)


def text(words: str) -> Media:
    return Media(Modality.TEXT, words)


def user(*parts: Media) -> Message:
    return Message(role=Role.USER, parts=parts)


def prompt(*messages: Message, **more: Any) -> Prompt:
    asked = messages or (user(text("what is it?")),)
    return Prompt(question="", asked_with=frozenset(), messages=asked, **more)


def chunks(options: GeneratorOptions, asked: Prompt | None = None) -> list[Chunk]:
    return list(load("llava", options).generate(asked or prompt()))


def test_words_come_as_they_are_sent_with_what_they_cost(
    served: Served, options: GeneratorOptions
) -> None:
    served.streams(
        b": ping\n\n",
        says("", role="assistant"),
        says("Ein Kätz"),
        b": keep-alive\r\n\r\nevent: message\r\nid: 7\r\ndata:"
        + json.dumps(says("chen ☕")).encode()
        + b"\r\n\r\n",
        says(" da", reasoning_content="hidden"),
        says(finish="length"),
        {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 3}},
    )
    sampling = Sampling(max_tokens=9, temperature=0.5, top_p=0.9, seed=4, stop=("\n\n",))
    found = chunks(options, prompt(sampling=sampling))
    assert [chunk.text for chunk in found] == ["Ein Kätz", "chen ☕", " da", ""]
    assert (found[-1].finish, found[-1].usage) == ("length", (5, 3))
    assert served.asked[0] == {
        "path": "/v1/chat/completions",
        "model": "llava",
        "messages": [{"role": "user", "content": "what is it?"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 4,
        "stop": ["\n\n"],
    }
    assert served.headers[0]["authorization"] == f"Bearer {KEY}"


def test_media_travel_inside_the_request(served: Served, options: GeneratorOptions) -> None:
    served.streams(says("ok", "stop"))
    rng = np.random.default_rng(0)
    photo = Media(Modality.IMAGE, rng.integers(0, 256, (60, 2048, 3), dtype=np.uint8))
    drawing = Media(Modality.IMAGE, np.full((8, 8, 3), 200, np.uint8))
    film = Media(Modality.VIDEO, np.zeros((20, 8, 8, 3), np.uint8), rate=10.0)
    sound = Media(Modality.AUDIO, np.linspace(-1, 1, 800, dtype=np.float32), rate=8000.0)
    hearing = replace(options, inputs=options.inputs | {Modality.AUDIO})
    asked = prompt(
        Message(role=Role.SYSTEM, parts=(text("be brief"),)),
        user(photo, text("and"), drawing, sound, film),
    )
    chunks(hearing, asked)
    system, said = served.asked[0]["messages"]
    assert system == {"role": "system", "content": "be brief"}
    kinds = [part["type"] for part in said["content"]]
    assert kinds == ["image_url", "text", "image_url", "input_audio", "text", *["image_url"] * 8]
    first, _, second, heard = said["content"][:4]
    sizes = {}
    for part in (first, second):
        head, _, data = part["image_url"]["url"].partition(",")
        sizes[head] = Image.open(io.BytesIO(base64.b64decode(data))).size
    assert sizes == {"data:image/jpeg;base64": (1024, 30), "data:image/png;base64": (8, 8)}
    assert heard["input_audio"]["format"] == "wav"
    with wave.open(io.BytesIO(base64.b64decode(heard["input_audio"]["data"]))) as file:
        assert (file.getframerate(), file.getnframes(), file.getnchannels()) == (8000, 800, 1)
    with pytest.raises(UnsupportedModality, match="not audio"):
        chunks(options, prompt(user(sound)))
    assert len(served.asked) == 1


class Reel:
    """A film that is read as a stream."""

    duration = 80.0

    def shots(self, **_: Any) -> Iterator[Any]:
        raise AssertionError("only some frames are wanted")

    def frames(self, times: Sequence[float], *, min_side: int) -> Any:
        assert list(times) == [5.0, 15.0, 25.0, 35.0, 45.0, 55.0, 65.0, 75.0]
        assert min_side == 1024
        return np.zeros((len(times), 8, 8, 3), np.uint8)


class Tape:
    """A sound that is read piece by piece."""

    duration, rate = 3600.0, 44_100

    def windows(self, spans: Sequence[TimeSpan], *, rate: int, **_: Any) -> Iterator[Any]:
        for start, end in spans:
            yield np.zeros(round((end - start) * rate), np.float32)


class Book:
    """A document as pictures."""

    def pictures(self) -> Iterator[Any]:
        for page in count(1):
            yield PageSpan(page), np.zeros((9, 9, 3), np.uint8)


def test_long_media_are_read_in_part(served: Served, options: GeneratorOptions) -> None:
    served.streams(says("ok", "stop"))
    media = (
        Media(Modality.VIDEO, Reel()),
        Media(Modality.AUDIO, Tape()),
        Media(Modality.IMAGE, Book()),
    )
    hearing = replace(options, inputs=options.inputs | {Modality.AUDIO})
    chunks(hearing, prompt(user(*media)))
    parts = served.asked[0]["messages"][0]["content"]
    assert parts[0] == {"type": "text", "text": "(8 frames of a film of 80 s, in order:)"}
    assert [part["type"] for part in parts[1:]] == [
        *["image_url"] * 8,
        "input_audio",
        *["image_url"] * 8,
    ]
    heard = base64.b64decode(parts[9]["input_audio"]["data"])
    with wave.open(io.BytesIO(heard)) as file:
        assert (file.getframerate(), file.getnframes()) == (16_000, 30 * 16_000)


def test_tools_go_through_and_calls_are_joined(served: Served, options: GeneratorOptions) -> None:
    def call(index: int, **delta: Any) -> dict[str, Any]:
        return says(tool_calls=[{"index": index, **delta}])

    served.streams(
        call(0, id="a", type="function", function={"name": "look", "arguments": ""}),
        call(0, function={"arguments": '{"at":'}),
        call(1, id="b", function={"name": "look", "arguments": "{}"}),
        call(0, function={"arguments": ' "cat"}'}),
        says(finish="tool_calls"),
    )
    before = Message(
        role=Role.ASSISTANT, calls=(ToolCall(id="z", name="look", arguments='{"at": 1}'),)
    )
    answered = Message(role=Role.TOOL, parts=(text("nothing"),), answers="z")
    found = chunks(
        options, prompt(user(text("x")), before, answered, tools=(TOOL,), tool_choice="auto")
    )
    assert [chunk.call for chunk in found] == [
        ToolCall(id="a", name="look", arguments='{"at": "cat"}'),
        ToolCall(id="b", name="look", arguments="{}"),
        None,
    ]
    assert found[-1].finish == "tool_calls"
    asked = served.asked[0]
    assert (asked["tools"], asked["tool_choice"]) == ([TOOL], "auto")
    function = {"name": "look", "arguments": '{"at": 1}'}
    assert asked["messages"][1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "z", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "z", "content": "nothing"},
    ]


def test_an_endpoint_that_does_not_stream_is_read_whole(
    served: Served, options: GeneratorOptions
) -> None:
    message = {"role": "assistant", "content": "a cat", "tool_calls": None}
    whole = {
        "choices": [{"message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 1},
    }
    served.answers(200, json.dumps(whole).encode())
    words, last = chunks(options)
    assert (words.text, last.finish, last.usage) == ("a cat", "stop", (2, 1))


@pytest.mark.parametrize(
    ("status", "body", "error", "message"),
    [
        (400, {"error": {"message": "top_p is odd"}}, BackendFailed, "answered 400: top_p is odd"),
        (400, {"error": {"message": "maximum context length is 4096"}}, TooLarge, "fewer passages"),
        (401, {"error": {"message": f"wrong key {KEY}"}}, NotAvailable, r"key \*\*\*; set the key"),
        (403, {"detail": "no"}, NotAvailable, "answered 403: no; set the key"),
        (404, {"error": "model 'llava' not found"}, NotAvailable, "not found; is its address"),
        (413, {}, TooLarge, "fewer passages"),
        (429, {"error": {"message": "slow down"}}, Overloaded, "slow down; try again in 7 s"),
        (500, {"error": {"message": "x" * 9999}}, BackendFailed, "answered 500: x{300}$"),
        (503, {"message": "loading"}, Overloaded, "loading; try again in 7 s"),
    ],
)
def test_refusals_say_the_way_out(
    served: Served,
    options: GeneratorOptions,
    status: int,
    body: Any,
    error: type[CrossbindError],
    message: str,
) -> None:
    served.answers(status, json.dumps(body).encode(), Retry_After="7")
    with pytest.raises(error, match=message) as raised:
        chunks(options)
    assert type(raised.value) is error


def test_no_redirect_is_followed(served: Served, options: GeneratorOptions) -> None:
    served.answers(307, b"", Location=served.url.replace("/v1", "/v2") + "/chat/completions")
    with pytest.raises(NotAvailable, match=r"sends elsewhere \(307\)"):
        chunks(options)
    assert len(served.asked) == 1


def test_the_newer_name_of_the_limit_is_tried(served: Served, options: GeneratorOptions) -> None:
    problem = {"error": {"message": "Unsupported: use 'max_completion_tokens' instead."}}
    served.answers(400, json.dumps(problem).encode())
    refuse = served.script

    def script(handler: Any) -> None:
        if len(served.asked) == 1:
            refuse(handler)
        else:
            served.streams(says("ok", "stop"))
            served.script(handler)

    served.script = script
    assert chunks(options)[0].text == "ok"
    assert served.asked[1]["max_completion_tokens"] == 512
    assert "max_tokens" not in served.asked[1]


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([says("a"), {"error": {"message": "out of memory"}}], "broke off: out of memory"),
        ([says("a")], "ended before its answer did"),
        ([says("a"), b"data: {oops}\n\n"], "no chat completion"),
        ([says("a"), b"data: 7\n\n"], "no chat completion"),
        ([says("a"), b'data: {"choices": 3}\n\n'], "no chat completion"),
        ([says("a"), b"data: " + b"x" * (2 << 20)], "more than 1 MiB"),
        ([says("a", "content_filter")], "held back the rest.*content_filter"),
    ],
)
def test_a_broken_stream_is_told_after_its_words(
    served: Served, options: GeneratorOptions, events: list[Any], message: str
) -> None:
    served.streams(*events, done=False)
    answer = load("llava", options).generate(prompt())
    assert next(answer).text == "a"
    with pytest.raises(BackendFailed, match=message):
        next(answer)


def test_a_connection_that_breaks_is_told(served: Served, options: GeneratorOptions) -> None:
    def script(handler: Any) -> None:
        begin(handler)
        send(handler, line(says("a")))
        handler.wfile.write(b"ff\r\nda")

    served.script = script
    answer = load("llava", options).generate(prompt())
    assert next(answer).text == "a"
    with pytest.raises(BackendFailed, match="broke off: IncompleteRead"):
        next(answer)


def test_garbage_and_too_much_are_refused(
    served: Served, options: GeneratorOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.answers(200, b"<html>hello</html>")
    with pytest.raises(BackendFailed, match="no chat completion: '<html>hello"):
        chunks(options)
    monkeypatch.setattr(endpoint, "MAX_BYTES", 100)
    served.streams(*[says("aaaa")] * 5)
    with pytest.raises(TooLarge, match="sent more than"):
        chunks(options)


def test_silence_is_given_up(served: Served, options: GeneratorOptions) -> None:
    leave = threading.Event()

    def script(handler: Any) -> None:
        begin(handler)
        send(handler, line(says("a")))
        leave.wait(10)

    served.script = script
    answer = load("llava", replace(options, timeout=0.1)).generate(prompt())
    assert next(answer).text == "a"
    with pytest.raises(NotAvailable, match=r"said nothing for 0\.1 s"):
        next(answer)
    leave.set()


def test_closing_early_hangs_up(served: Served, options: GeneratorOptions) -> None:
    def script(handler: Any) -> None:
        begin(handler)
        for _ in range(100_000):
            send(handler, line(says("a" * 1000)))

    served.script = script
    answer = load("llava", options).generate(prompt())
    assert next(answer).text
    answer.close()  # type: ignore[attr-defined]
    assert served.left.wait(5)


def test_nobody_listens(served: Served, options: GeneratorOptions) -> None:
    other = Served()
    free = other.url
    other.close()
    with pytest.raises(NotAvailable, match=r"nobody listens at http://127\.0\.0\.1"):
        chunks(replace(options, url=free))
    with pytest.raises(NotAvailable, match="no trusted connection to https://127"):
        chunks(replace(options, url=served.url.replace("http", "https")))


def test_the_key_goes_to_its_own_endpoint_alone(
    served: Served, options: GeneratorOptions, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    served.streams(says("ok", "stop"))
    other = replace(options, url="https://example.org/v1")
    list(open_generator(f"openai:llava@{served.url}", other).generate(prompt()))
    assert "authorization" not in served.headers[0]
    own = open_generator(f"openai:llava@{served.url}", options)
    list(own.generate(prompt()))
    assert served.headers[1]["authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(options) + repr(own) + caplog.text + str(vars(own))
    with pytest.raises(Forbidden, match="in the clear") as raised:
        load("m@http://example.org/v1", replace(options, url="http://example.org/v1"))
    assert KEY not in str(raised.value)
    with pytest.raises(BadInput, match="no key has") as unprintable:
        load("m", replace(options, api_key=f"{KEY}\n"))
    assert KEY not in str(unprintable.value)


def test_addresses_far_away_are_encrypted_or_named_in_full(options: GeneratorOptions) -> None:
    bare = replace(options, api_key=None)
    for near in ("localhost:1", "ollama:11434", "192.168.1.9", "[::1]:80", "box.local"):
        load("m", replace(bare, url=f"http://{near}/v1"))
    for far in ("example.org", "8.8.8.8", "169.254.169.254"):
        with pytest.raises(Forbidden, match="far and not encrypted"):
            load("m", replace(bare, url=f"http://{far}/v1"))
        load("m", replace(bare, url=f"https://{far}/v1"))
        load(f"m@http://{far}/v1", bare)
    for odd in ("example.org/v1", "ftp://x/", "http://u:p@x/v1", "http://x/v1?k=1", "http://x:y/"):
        with pytest.raises(BadInput, match="write http://HOST"):
            load("m", replace(bare, url=odd))
    assert address("https://[::1]:8000/v1/").origin == "https://[::1]:8000"


def test_proxies_of_the_environment_are_not_used(
    served: Served, options: GeneratorOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    served.streams(says("ok", "stop"))
    assert chunks(options)[0].text == "ok"


@given(
    st.lists(st.text("aä☕\n\r: ", min_size=1, max_size=8), max_size=5),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.integers(1, 7),
)
def test_events_are_the_same_however_they_are_cut(said: list[str], end: str, size: int) -> None:
    said = ["\n".join(one.split()) or "x" for one in said]
    told = ["".join(f"data: {line}{end}" for line in one.split("\n")) for one in said]
    stream = "".join(f": note{end}{one}{end}" for one in told).encode()
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert list(events(iter([*pieces, b""]).__next__)) == said
