"""Media in and out: uploads of every form, their outcomes, ranges, and types that run nothing."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

from api.answers import UploadAnswer
from api.app import STORING
from api.requests import Upload, UploadOutcome

COLLECTION = "/v1/collections/shelf"
ITEMS = f"{COLLECTION}/items"


@pytest.fixture(autouse=True)
def _made(client: Any) -> None:
    client.request("PUT", COLLECTION)


def results(answer: Any, status: int = 200) -> list[dict[str, Any]]:
    assert answer.status_code == status, answer.text
    UploadAnswer.model_validate_json(answer.content)
    rows: list[dict[str, Any]] = answer.json()["results"]
    return rows


def refused(answer: Any, status: int, code: str) -> str:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code
    return str(error["message"])


def stored(client: Any, data: bytes) -> str:
    encoded = base64.b64encode(data).decode()
    [row] = results(client.post(ITEMS, json={"items": [{"data": encoded}]}))
    return f"{ITEMS}/{row['id']}"


# In, as JSON


def test_json_items_of_every_form(client: Any, red: bytes) -> None:
    encoded = base64.b64encode(red).decode()
    items = [
        {"text": "a dog", "id": "dog-1", "record": "rex", "name": "dog.txt", "metadata": {"n": 1}},
        {"data": encoded, "id": "plain"},
        {"data": f"data:image/jpeg;base64,{encoded}", "id": "uri"},
    ]
    rows = results(client.post(ITEMS, json={"items": items}))
    assert [(row["id"], row["status"], row["modality"]) for row in rows] == [
        ("dog-1", "created", "text"),
        ("plain", "created", "image"),
        ("uri", "created", "image"),
    ]
    item = client.get(f"{ITEMS}/dog-1").json()
    assert (item["record"], item["title"], item["metadata"]) == ("rex", "dog.txt", {"n": 1})


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"data": "not base64!"}, "bad_input"),
        ({"data": "YWJj\n"}, "bad_input"),
        ({"data": "YWJ"}, "bad_input"),
        ({"data": ""}, "bad_input"),
        ({"data": "data:image/png,raw"}, "bad_input"),
        ({"data": "data:;base64"}, "bad_input"),
        ({"data": "data:image/png;base64,ÄÖ"}, "bad_input"),
        ({"data": "https://example.org/a.png"}, "forbidden"),
        ({"data": "AAECAwQ="}, "unsupported_media"),
        ({"text": " \n"}, "bad_input"),
    ],
)
def test_a_bad_item_fails_alone_and_in_its_place(client: Any, bad: Any, code: str) -> None:
    items = [{"text": "before"}, {**bad, "id": "bad"}, {"text": "after"}]
    rows = results(client.post(ITEMS, json={"items": items}), 207)
    assert [row["status"] for row in rows] == ["created", "failed", "created"]
    assert rows[1]["id"] == "bad"
    assert rows[1]["error"]["code"] == code
    assert client.get(f"{ITEMS}/{rows[2]['id']}").json()["text"] == "after"
    assert len(client.get(ITEMS).json()["items"]) == 2


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"items": []}, "items"),
        ({"items": "a dog"}, "items is 'a dog'"),
        ({"items": [{}]}, "exactly one of text and data"),
        ({"items": [{"text": "a", "data": "YQ=="}]}, "exactly one"),
        ({"items": [{"txt": "a"}]}, "in items.0"),
        ({"items": [{"text": ["a"]}]}, "items.0.text"),
        ({"items": [{"text": "a", "id": "../../etc/passwd"}]}, "items.0.id"),
        ({"items": [{"text": "a", "id": ".."}]}, "items.0.id"),
        ({"items": [{"text": "a", "id": "x" * 129}]}, "items.0.id"),
        ({"items": [{"text": "a", "id": "a\n"}]}, "items.0.id"),
        ({"items": [{"text": "a", "metadata": {"k": None}}]}, "items.0.metadata"),
        ({"items": [{"text": "a"}] * 257}, "256"),
        ({}, "items is required"),
    ],
)
def test_items_of_the_wrong_shape_store_nothing(client: Any, body: Any, told: str) -> None:
    assert told in refused(client.post(ITEMS, json=body), 422, "invalid_request")
    assert client.get(ITEMS).json()["items"] == []


def test_a_uri_is_not_fetched(client: Any) -> None:
    body = {"items": [{"text": "a"}, {"uri": "http://169.254.169.254/"}]}
    answer = client.post(ITEMS, json=body)
    assert "send the bytes instead" in refused(answer, 403, "forbidden")
    assert answer.json()["error"]["param"] == "items.1.uri"
    assert client.get(ITEMS).json()["items"] == []


def test_an_unknown_collection_takes_nothing(client: Any) -> None:
    nowhere = "/v1/collections/nowhere/items"
    refused(client.post(nowhere, json={"items": [{"text": "a"}]}), 404, "not_found")
    refused(client.post(nowhere, json={"items": [{"data": "!"}]}), 404, "not_found")
    refused(client.post(nowhere, files={"files": ("a.txt", b"a")}), 404, "not_found")


# In, as files


def test_multipart_files(client: Any, red: bytes) -> None:
    files = [
        ("files", ("C:\\photos\\red.png", red)),
        ("files[]", ("../../note.txt", b"a note")),
    ]
    rows = results(client.post(ITEMS, files=files, data={"metadata": '{"year": 2020}'}))
    assert [row["modality"] for row in rows] == ["image", "text"]
    items = client.get(ITEMS).json()["items"]
    assert [item["title"] for item in items] == ["red.png", "note.txt"]
    assert all(item["metadata"] == {"year": 2020} for item in items)


def test_metadata_of_each_file(client: Any) -> None:
    files = [("files", ("a.txt", b"aaa")), ("files", ("b.txt", b"bbb"))]
    data = {"metadata": json.dumps([{"n": 1}, {"n": 2}])}
    results(client.post(ITEMS, files=files, data=data))
    assert [item["metadata"]["n"] for item in client.get(ITEMS).json()["items"]] == [1, 2]


def test_a_bad_file_fails_alone(client: Any, red: bytes) -> None:
    files = [("files", ("empty", b"")), ("files", ("noise", b"\0\1")), ("files", ("r.png", red))]
    rows = results(client.post(ITEMS, files=files), 207)
    assert [row["status"] for row in rows] == ["failed", "failed", "created"]
    assert [row["error"]["code"] for row in rows[:2]] == ["bad_input", "unsupported_media"]
    assert "'empty'" in rows[0]["error"]["message"]


@pytest.mark.parametrize(
    ("metadata", "status", "code", "told"),
    [
        ("{", 400, "invalid_json", "metadata"),
        ("[]", 400, "bad_input", "0 objects for 1 files"),
        ("[{}, {}]", 400, "bad_input", "2 objects for 1 files"),
        ('"a"', 422, "invalid_request", "metadata"),
        ('{"a": NaN}', 422, "invalid_request", "'a' is nan"),
        ('{"a": null}', 422, "invalid_request", "'a' is None"),
    ],
)
def test_form_metadata_is_checked(
    client: Any, metadata: str, status: int, code: str, told: str
) -> None:
    files = {"files": ("a.txt", b"aaa")}
    answer = client.post(ITEMS, files=files, data={"metadata": metadata})
    assert told in refused(answer, status, code)
    assert client.get(ITEMS).json()["items"] == []


def test_forms_of_the_wrong_shape(client: Any) -> None:
    files = {"file": ("a.txt", b"aaa")}
    assert "files" in refused(client.post(ITEMS, files=files), 400, "bad_input")
    only = {"metadata": (None, b"{}")}
    assert "files must hold" in refused(client.post(ITEMS, files=only), 400, "bad_input")
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    refused(client.post(ITEMS, content=b"--y", headers=kind), 400, "bad_input")
    kind = {"Content-Type": "multipart/form-data"}
    refused(client.post(ITEMS, content=b"--y", headers=kind), 400, "bad_input")
    refused(client.post(ITEMS, content=b"aaa"), 415, "unsupported_media")


def test_too_much_at_once(client: Any) -> None:
    files = {"files": ("a.txt", b"a" * 200_000)}
    assert "CROSSBIND_MAX_UPLOAD_MIB" in refused(client.post(ITEMS, files=files), 413, "too_large")


# Out


def test_bytes_come_back_with_their_type_and_ranges(client: Any, red: bytes) -> None:
    path = stored(client, red) + "/media"
    whole = client.get(path)
    assert whole.content == red
    assert whole.headers["content-type"] == "image/png"
    assert whole.headers["content-disposition"].startswith("inline; filename=")
    assert "sandbox" in whole.headers["content-security-policy"]
    part = client.get(path, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, red[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(red)}"
    assert client.get(path, headers={"Range": "bytes=-5"}).content == red[-5:]
    assert client.get(path, headers={"Range": "bytes=999999-"}).status_code == 416
    head = client.request("HEAD", path)
    assert (head.content, head.headers["content-length"]) == (b"", str(len(red)))


@pytest.mark.parametrize("rest", ["/media", "/preview", "/preview?side=16"])
def test_what_is_known_is_not_sent_again(client: Any, red: bytes, rest: str) -> None:
    path = stored(client, red) + rest
    etag = client.get(path).headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}'):
        again = client.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag
    assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("markup", [b"<svg onload='alert(1)'/>", b"<html><script>x</script>"])
def test_markup_is_never_shown_as_markup(client: Any, markup: bytes) -> None:
    headers = client.get(stored(client, markup) + "/media").headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"].startswith("attachment; filename=")
    assert "sandbox" in headers["content-security-policy"]


def test_text_is_plain(client: Any) -> None:
    answer = client.get(stored(client, "Äpfel".encode()) + "/media")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == "Äpfel"


def test_previews(client: Any, red: bytes) -> None:
    path = stored(client, red)
    answer = client.get(f"{path}/preview?side=20")
    assert answer.headers["content-type"] == "image/jpeg"
    assert Image.open(BytesIO(answer.content)).size == (20, 10)
    for side in ("0", "15", "2049", "wide"):
        refused(client.get(f"{path}/preview?side={side}"), 422, "invalid_request")
    text = stored(client, b"a text")
    refused(client.get(f"{text}/preview"), 415, "unsupported_modality")
    refused(client.get(f"{ITEMS}/nothing/preview"), 404, "not_found")
    refused(client.get(f"{ITEMS}/nothing/media"), 404, "not_found")


def test_a_page_full_of_previews_holds_up_nothing_else(
    client: Any, red: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stored(client, red)
    drawn = threading.Event()

    def slow(*_: Any, **__: Any) -> bytes:
        drawn.wait(30)
        return b"a JPEG"

    monkeypatch.setattr(client.app.state.service, "preview", slow)

    async def browse() -> list[httpx.Response]:
        transport = httpx.ASGITransport(client.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            sights = [
                asyncio.create_task(http.get(f"{path}/preview?side={side}"))
                for side in range(16, 116)
            ]
            try:
                await asyncio.sleep(0.2)
                await asyncio.wait_for(http.get(COLLECTION), 10)
            finally:
                drawn.set()
            return await asyncio.gather(*sights)

    assert {answer.content for answer in asyncio.run(browse())} == {b"a JPEG"}


def test_uploads_that_take_long_hold_up_nothing_else_and_wait_on_disk(
    client: Any, red: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on, sizes = threading.Event(), []
    add = client.app.state.service.add_items

    def slow(collection: str, uploads: Sequence[Upload]) -> list[UploadOutcome]:
        sizes.append(sum(len(upload.data) for upload in uploads))
        may_go_on.wait(30)
        outcomes: list[UploadOutcome] = add(collection, uploads)
        return outcomes

    monkeypatch.setattr(client.app.state.service, "add_items", slow)

    async def crowd() -> list[httpx.Response]:
        transport = httpx.ASGITransport(client.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            sent = [
                asyncio.create_task(http.post(ITEMS, files={"files": (f"{n}.png", red)}))
                for n in range(60)
            ]
            try:
                await asyncio.sleep(0.2)
                await asyncio.wait_for(http.get(COLLECTION), 10)
                assert 0 < len(sizes) <= STORING
            finally:
                may_go_on.set()
            return await asyncio.gather(*sent)

    for answer in asyncio.run(crowd()):
        assert [row["status"] for row in results(answer)] == ["created"]
    assert sizes == [len(red)] * 60
