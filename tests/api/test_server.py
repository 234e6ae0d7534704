"""A real server process, spoken to by foreign clients: the openai package and plain sockets."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server") / "home"


@pytest.fixture(scope="module")
def url(home: Path, model_cache: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {**os.environ, "CROSSBIND_CACHE": str(model_cache), "CROSSBIND_HOME": str(home)}
    command = [sys.executable, "-m", "api", "serve", "--port", str(port)]
    log = home.parent / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, env=environ, stdout=output, stderr=output)
        try:
            ready(f"http://127.0.0.1:{port}", server, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
    assert server.returncode in (0, -signal.SIGTERM), log.read_text()


def ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        assert server.poll() is None, log.read_text()
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/health/ready").status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def test_the_openai_client_embeds_floats_and_base64_alike(client: openai.OpenAI) -> None:
    words = ["a dog on a beach", "a cat", "an invoice"]
    plain = client.embeddings.create(model="builtin", input=words, encoding_format="float")
    packed = client.embeddings.create(model="builtin", input=words)  # the client asks for base64
    assert [row.index for row in plain.data] == [0, 1, 2]
    assert plain.usage.prompt_tokens > 6
    for a, b in zip(plain.data, packed.data, strict=True):
        left, right = np.array(a.embedding, np.float32), np.array(b.embedding, np.float32)
        assert left.shape == (384,)
        np.testing.assert_array_equal(left, right)
        assert np.linalg.norm(left) == pytest.approx(1, abs=1e-5)


def test_the_wire_carries_base64_of_little_endian_floats(url: str) -> None:
    body = {"model": "builtin", "input": "a cat", "encoding_format": "base64"}
    answer = httpx.post(f"{url}/v1/embeddings", json=body).json()
    vector = np.frombuffer(base64.b64decode(answer["data"][0]["embedding"]), "<f4")
    plain = httpx.post(f"{url}/v1/embeddings", json={"model": "builtin", "input": "a cat"}).json()
    np.testing.assert_allclose(vector, plain["data"][0]["embedding"], atol=0)


def test_the_openai_client_meets_our_errors_as_its_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="builtin"):
        client.embeddings.create(model="text-embedding-3-small", input="a")
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model="builtin", input="")
    with pytest.raises(openai.BadRequestError, match="token"):
        client.embeddings.create(model="builtin", input=[1, 2, 3])


def test_the_openai_client_lists_our_models(client: openai.OpenAI) -> None:
    assert "builtin" in [model.id for model in client.models.list()]


def test_upload_search_look_and_delete(url: str) -> None:
    with httpx.Client(base_url=url) as http:
        assert http.put("/v1/collections/shelf", json={"space": "builtin"}).status_code < 300
        skimage = pytest.importorskip("skimage")
        cat = Path(skimage.__file__).parent / "data" / "chelsea.png"
        with cat.open("rb") as photo:
            files = [("files", ("pet.png", photo, "image/png"))]
            stored = http.post("/v1/collections/shelf/items", files=files)
        assert stored.status_code == 200, stored.text
        texts = {"items": [{"text": "The quarterly invoice is due on Friday."}]}
        assert http.post("/v1/collections/shelf/items", json=texts).status_code == 200

        asked = {"query": {"text": "a photo of a cat"}, "modalities": ["image"]}
        answer = http.post("/v1/collections/shelf/search", json=asked).json()
        [hit] = answer["hits"]
        assert hit["title"] == "pet.png"
        assert answer["search"] == {"exact": True, "recall_estimate": 1.0}
        media = http.get(f"/v1/collections/shelf/items/{hit['id']}/media")
        assert media.content == cat.read_bytes()
        assert media.headers["x-content-type-options"] == "nosniff"
        preview = http.get(f"/v1/collections/shelf/items/{hit['id']}/preview?side=64")
        assert max(Image.open(io.BytesIO(preview.content)).size) == 64

        assert http.delete(f"/v1/collections/shelf/items/{hit['id']}").status_code in (200, 204)
        again = http.post("/v1/collections/shelf/search", json=asked).json()
        assert again["hits"] == []


def test_a_bad_upload_does_not_take_its_neighbours_along(url: str) -> None:
    with httpx.Client(base_url=url) as http:
        http.put("/v1/collections/mixed", json={"space": "builtin"})
        files = [
            ("files", ("good.txt", b"a sentence about boats", "text/plain")),
            ("files", ("bad.jpg", b"\xff\xd8\xff\xe0 and then nothing", "image/jpeg")),
            ("files", ("empty.txt", b"", "text/plain")),
        ]
        answer = http.post("/v1/collections/mixed/items", files=files)
        assert answer.status_code == 207
        results = answer.json()["results"]
        assert [row["status"] for row in results] == ["created", "failed", "failed"]
        assert results[1]["error"]["code"] == "corrupt_media"
        listed = http.get("/v1/collections/mixed/items").json()
        assert len(listed["items"]) == 1
        assert http.get("/health/ready").status_code == 200


def test_what_another_process_indexes_is_found_without_a_restart(
    url: str, home: Path, model_cache: Path, tmp_path: Path
) -> None:
    with httpx.Client(base_url=url) as http:
        http.put("/v1/collections/notes", json={"space": "builtin"})
        asked = {"query": {"text": "where do penguins live?"}}
        assert http.post("/v1/collections/notes/search", json=asked).json()["hits"] == []
        (tmp_path / "penguins.txt").write_text("Penguins live on the ice of Antarctica.")
        environ = {**os.environ, "CROSSBIND_CACHE": str(model_cache)}
        command = [sys.executable, "-m", "api", "--home", str(home), "--json", "ingest"]
        done = subprocess.run(
            [*command, str(tmp_path), "--collection", "notes"],
            env=environ,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["ingested"] == 1
        [hit] = http.post("/v1/collections/notes/search", json=asked).json()["hits"]
        assert hit["title"] == "penguins.txt"


def test_a_foreign_host_name_is_refused(url: str) -> None:
    answer = httpx.get(f"{url}/v1/models", headers={"Host": "evil.example"})
    assert answer.status_code in (400, 403, 421)
    assert answer.json()["error"]["code"] == "forbidden"


def test_garbage_on_the_socket_leaves_the_server_standing(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    for garbage in (
        b"\x00\xff" * 500,
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/embeddings HTTP/1.1\r\n",
    ):
        with socket.create_connection((host, int(port)), 5) as raw:
            raw.sendall(garbage)
    assert httpx.get(f"{url}/health/ready").status_code == 200
