"""The door itself: hosts, origins, keys, sizes, ids, headers, and what a crash answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from embed.errors import CatalogError, Overloaded

SEARCH = "/v1/collections/shelf/search"
STATIC = ["/", "/app.css", "/app.js", "/key.js", "/docs", "/docs.js", "/icon.svg"]


def code(answer: httpx.Response) -> str:
    error = answer.json()["error"]
    assert set(error) == {"type", "code", "message", "param", "request_id"}
    assert error["request_id"] == answer.headers["x-request-id"]
    return str(error["code"])


# Hosts and origins


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080"])
def test_loopback_hosts_are_answered(client: Any, host: str) -> None:
    assert client.get("/v1/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "evil.example:8080", "127.0.0.1.evil", "[::2]", ""],
)
@pytest.mark.parametrize("path", ["/", "/v1/models", "/health/live", "/nowhere"])
def test_foreign_hosts_are_refused_everywhere(client: Any, host: str, path: str) -> None:
    answer = client.get(path, headers={"Host": host})
    assert (answer.status_code, code(answer)) == (403, "forbidden")
    assert "CROSSBIND_ALLOWED_HOSTS" in answer.json()["error"]["message"]


def test_a_named_host_is_answered(client_with: Callable[..., Any]) -> None:
    client = client_with(allowed_hosts=("Photos.example",))
    for host in ("photos.example", "photos.example:443", "PHOTOS.example.", "localhost"):
        assert client.get("/v1/models", headers={"Host": host}).status_code == 200
    assert client.get("/v1/models", headers={"Host": "other.example"}).status_code == 403
    anyone = client_with(allowed_hosts=("*",))
    assert anyone.get("/v1/models", headers={"Host": "other.example"}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://localhost:3000",
        "http://localhost.evil",
        "file://",
        "",
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_pages_of_others_cannot_send_requests(client: Any, origin: str, method: str) -> None:
    headers = {"Host": "localhost:8080", "Origin": origin}
    answer = client.request(method, SEARCH, headers=headers, json={})
    assert (answer.status_code, code(answer)) == (403, "forbidden")


def test_our_own_page_can(client: Any, shelf: dict[str, str]) -> None:
    headers = {"Host": "localhost:8080", "Origin": "http://localhost:8080"}
    answer = client.post(SEARCH, headers=headers, json={"query": "dog"})
    assert answer.status_code == 200
    assert client.get("/v1/models", headers={"Origin": "http://evil.example"}).status_code == 200


# Keys


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic first"},
        {"Authorization": "first"},
        {"X-API-Key": "firs"},
        {"X-API-Key": ""},
        {"X-API-Key": b"\xff\xfe"},
    ],
)
@pytest.mark.parametrize(
    "path", ["/v1/models", "/openapi.json", "/nowhere", "/docs/", "/docs/../v1"]
)
def test_without_a_key_nothing_is_told(
    client_with: Callable[..., Any], headers: Any, path: str
) -> None:
    answer = client_with(api_keys=("first", "second")).get(path, headers=headers)
    assert (answer.status_code, code(answer)) == (401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "first" not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer first"},
        {"Authorization": "bearer  second"},
        {"X-API-Key": "second"},
    ],
)
def test_any_of_the_keys_opens(client_with: Callable[..., Any], headers: dict[str, str]) -> None:
    client = client_with(api_keys=("first", "second"))
    assert client.get("/v1/models", headers=headers).status_code == 200


def test_health_and_the_page_need_no_key(client_with: Callable[..., Any]) -> None:
    client = client_with(api_keys=("first",))
    for path in [*STATIC, "/health/live", "/health/ready"]:
        assert client.get(path).status_code == 200, path


# Sizes


def test_a_declared_size_over_the_limit_is_refused_unread(client: Any) -> None:
    answer = client.post(SEARCH, content=b"x" * 200_001)
    assert (answer.status_code, code(answer)) == (413, "too_large")
    assert "200,000" in answer.json()["error"]["message"]


def test_an_undeclared_size_is_counted_as_it_comes(client: Any) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 10_000
            yield b" " * 10_000

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(client.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            kind = {"Content-Type": "application/json"}
            return await http.post(SEARCH, content=endless(), headers=kind)

    answer = asyncio.run(send())
    assert (answer.status_code, code(answer)) == (413, "too_large")
    assert sent < 400_000


@pytest.mark.parametrize("length", ["-1", "many", "1e3"])
def test_a_size_that_is_no_number_is_refused(client: Any, length: str) -> None:
    answer = client.post(SEARCH, content=b"{}", headers={"Content-Length": length})
    assert (answer.status_code, code(answer)) == (400, "bad_input")


# Ids and headers


def test_a_sane_request_id_comes_back(client: Any) -> None:
    given = client.get("/health/live", headers={"X-Request-ID": "trace-1.a:b"})
    assert given.headers["x-request-id"] == "trace-1.a:b"


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "<script>", "a\tb"])
def test_any_other_is_replaced(client: Any, given: str) -> None:
    made = client.get("/health/live", headers={"X-Request-ID": given}).headers["x-request-id"]
    assert made != given
    assert len(made) == 16


def test_safety_headers_are_on_everything(client: Any, shelf: dict[str, str]) -> None:
    photo = f"/v1/collections/shelf/items/{shelf['photo']}"
    paths = [*STATIC, "/health/live", "/v1/models", "/openapi.json", "/nowhere", photo]
    for path in [*paths, f"{photo}/media", f"{photo}/preview", f"{photo}x/media"]:
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["referrer-policy"] == "no-referrer", path
        assert headers["cross-origin-resource-policy"] == "same-origin", path
        assert "default-src" in headers["content-security-policy"], path
        assert "cache-control" in headers, path
        assert len(headers.get_list("content-security-policy")) == 1, path


# What is not there, and what breaks


def test_unknown_routes_and_methods_answer_in_our_shape(client: Any) -> None:
    nowhere = client.get("/nowhere")
    assert (nowhere.status_code, code(nowhere)) == (404, "not_found")
    assert "/docs" in nowhere.json()["error"]["message"]
    wrong = client.request("DELETE", "/v1/models")
    assert (wrong.status_code, code(wrong)) == (405, "method_not_allowed")
    assert "GET" in wrong.json()["error"]["message"]
    assert "GET" in wrong.headers["allow"]


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/v1/collections/..%2f..%2fetc/items/x/media",
        "/v1/collections/shelf/items/..%2f..%2f..%2fetc%2fpasswd/media",
        "/v1/collections/shelf/items/%2e%2e/media",
        "/v1/collections/shelf/items/a%00b/media",
        "/app.css/../../app.py",
    ],
)
def test_traversal_finds_nothing(client: Any, shelf: dict[str, str], path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, code(answer)) == (404, "not_found")
    assert "root:" not in answer.text


def test_a_crash_tells_its_id_and_nothing_else(
    client: Any, service: Any, shelf: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    service.broken = RuntimeError("secret path /home/ann")
    with caplog.at_level(logging.ERROR, logger="crossbind.api"):
        answer = client.post(SEARCH, json={"query": "dog"})
    assert (answer.status_code, code(answer)) == (500, "internal")
    assert "ann" not in answer.text
    assert answer.headers["x-request-id"] in caplog.text
    assert "secret path" in caplog.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_full_queue_says_when_to_come_back(
    client: Any, service: Any, shelf: dict[str, str]
) -> None:
    service.broken = Overloaded("the queue is full")
    answer = client.post(SEARCH, json={"query": "dog"})
    assert (answer.status_code, code(answer)) == (429, "overloaded")
    assert answer.headers["retry-after"] == "1"


def test_a_damaged_catalog_is_a_500_that_says_so(
    client: Any, service: Any, shelf: dict[str, str]
) -> None:
    service.broken = CatalogError("the catalog is damaged: run crossbind doctor")
    answer = client.post(SEARCH, json={"query": "dog"})
    assert (answer.status_code, code(answer)) == (500, "catalog_error")
    assert "doctor" in answer.json()["error"]["message"]
