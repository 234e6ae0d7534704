"""Clients are never told where an endpoint is: in lists, in answers, in what goes wrong."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.cli import main
from api.config import Settings
from api.discreet import discreet, meant
from api.requests import Upload
from api.service import Service

HOST = "127.0.0.1"
QUESTION = [{"role": "user", "content": "which tint is of 120 degrees?"}]


class Answers(BaseHTTPRequestHandler):
    """A chat completion, and to the model `cross` an error that tells all it knows."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        whole: dict[str, Any] = {
            "choices": [{"message": {"content": "It is so."}, "finish_reason": "stop"}]
        }
        if body["model"] == "cross":
            whole = {"error": {"message": f"no cross at http://{HOST}:1/v1, ask http://secret/x."}}
        self.send_response(500 if "error" in whole else 200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(whole).encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = HTTPServer((HOST, 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://{HOST}:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def http(tinted: Path, tmp_path: Path, endpoint: str) -> Iterator[TestClient]:
    with socket.create_server((HOST, 0)) as closed:
        nowhere = f"http://{HOST}:{closed.getsockname()[1]}/v1"
    generators = (
        *(f"openai:named@{endpoint}", f"openai:named@{nowhere}", f"openai:gone@{nowhere}"),
        *(f"openai:cross@{endpoint}", "openai:odd@http://far.example.com:7/v1?key=1"),
    )
    settings = Settings(
        home=tinted,
        cache=tmp_path / "cache",
        threads=1,
        generator="openai:plain",
        generators=generators,
        generator_url=endpoint,
    )
    service = Service(settings)
    with TestClient(create_app(service), base_url="http://localhost") as http:
        yield http
    service.close()


def ask(http: TestClient, model: str, **about: Any) -> Any:
    body = {"model": model, "messages": QUESTION, **about}
    return http.post("/v1/chat/completions", json=body)


def test_models_are_listed_without_their_hosts(http: TestClient) -> None:
    listed = http.get("/v1/models")
    found = {one["id"]: one for one in listed.json()["data"] if one.get("kind") == "generator"}
    assert [*found] == [
        "extractive",
        *(f"openai:{name}" for name in ("plain", "named", "gone", "cross", "odd")),
    ]
    assert (found["openai:plain"]["default"], found["openai:plain"]["state"]) == (True, "ready")
    assert found["openai:odd"]["state"] == "missing"
    assert http.get("/v1/models/openai:named").json() == found["openai:named"]
    assert not any(part in json.dumps(found) for part in ("127.0", "://", "example"))


def test_they_are_asked_by_that_name(http: TestClient) -> None:
    for model in ("crossbind", "openai:plain", "openai:named"):
        told = ask(http, model, session="s1")
        assert told.status_code == 200, told.text
        assert told.json()["generator"] == model.replace("crossbind", "openai:plain")
        assert "127.0.0.1" not in told.text
    assert "127.0.0.1" not in http.get("/v1/sessions/s1").text


def test_what_goes_wrong_names_no_host(http: TestClient) -> None:
    for model in ("openai:gone", "openai:cross", "openai:odd", "openai:unknown"):
        asked = {"text": ["a tint"], "missing": ["image"], "method": "synthesis"}
        for told in (
            ask(http, model),
            ask(http, model, stream=True),
            http.post("/v1/collections/default/complete", json={**asked, "generator": model}),
        ):
            assert told.status_code >= 400
            assert told.json()["error"]["message"]
            assert not any(part in told.text for part in ("127.0.0.1", "secret", "far.example"))


def test_the_error_of_a_job_names_none_either(
    tinted: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    picture = (tinted.parent / "tints" / "120.png").read_bytes()
    service = Service(Settings(home=tinted, cache=tinted.parent / "cache", threads=1))
    [outcome] = service.add_items("default", [Upload(data=picture, id="bare")])
    service.close()
    assert outcome.error is None
    with socket.create_server((HOST, 0)) as closed:
        gone = f"openai:gone@http://{HOST}:{closed.getsockname()[1]}/v1"
    monkeypatch.setenv("CROSSBIND_GENERATOR", gone)
    words = ["--home", str(tinted), "complete", "--all", "--method", "synthesis"]
    for more, host in (["--json"], False), ([], True):
        assert main([*words, *more]) != 0
        said = capsys.readouterr()
        assert "nobody listens at" in said.out + said.err
        assert ("127.0.0.1" in said.out + said.err) == host


def test_names_and_addresses() -> None:
    known = ["openai:a/b:1@https://h:1/v1", "openai:a/b:1@http://[::1]:2/v1", "openai:c", "hf:/m@x"]
    assert [discreet(one) for one in known] == ["openai:a/b:1"] * 2 + ["openai:c", "hf:/m@x"]
    assert meant("openai:a/b:1", known) == known[0]
    assert meant(known[1], known) == known[1]  # whoever knows it may say it
    assert meant("openai:d", known) is None
    assert discreet("nobody listens at http://h:1/v1: start it") == (
        "nobody listens at an endpoint: start it"
    )
