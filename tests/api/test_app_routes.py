"""Every route on its happy path and on its wrong inputs, held against the shapes it documents."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from api import answers
from api.app import PAGE, WEB

COLLECTION = "/v1/collections/shelf"


def shaped(answer: httpx.Response, shape: type[BaseModel], status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    shape.model_validate_json(answer.content)
    return answer.json()


def refused(answer: httpx.Response, status: int, code: str) -> str:
    error = shaped(answer, answers.ErrorAnswer, status)["error"]
    assert error["code"] == code
    return str(error["message"])


# Health and models


def test_health(client: Any, service: Any) -> None:
    assert shaped(client.get("/health/live"), answers.LiveAnswer) == {"status": "alive"}
    assert shaped(client.get("/health/ready"), answers.HealthAnswer)["ready"] is True
    service.reasons.append("space 'builtin': its workers stopped")
    told = shaped(client.get("/health/ready"), answers.HealthAnswer, 503)
    assert told["reasons"] == ["space 'builtin': its workers stopped"]
    assert client.get("/health/live").status_code == 200


def test_models(client: Any) -> None:
    [model] = shaped(client.get("/v1/models"), answers.ModelList)["data"]
    assert (model["id"], model["dim"], model["object"]) == ("builtin", 8, "model")
    assert shaped(client.get("/v1/models/builtin"), answers.ModelAnswer) == model
    assert "builtin" in refused(client.get("/v1/models/a/b:c"), 404, "not_found")


# Collections


def test_a_collection_is_made_once(client: Any) -> None:
    made = shaped(client.request("PUT", COLLECTION), answers.CollectionAnswer, 201)
    assert made["items"] == 0
    body = {"space": "builtin", "index": "exact"}
    again = client.request("PUT", COLLECTION, json=body)
    assert shaped(again, answers.CollectionAnswer) == made
    other = client.request("PUT", COLLECTION, json={"index": "faiss:flat"})
    assert "exact" in refused(other, 409, "conflict")
    listed = shaped(client.get("/v1/collections"), answers.CollectionList)
    assert listed == {"collections": [made]}
    assert shaped(client.get(COLLECTION), answers.CollectionAnswer) == made
    [failure] = shaped(client.get(f"{COLLECTION}/failures"), answers.FailureList)["failures"]
    assert failure["code"] == "corrupt_media"
    assert client.request("DELETE", COLLECTION).status_code == 204
    refused(client.get(COLLECTION), 404, "not_found")
    refused(client.request("DELETE", COLLECTION), 404, "not_found")


@pytest.mark.parametrize(
    ("body", "status", "code", "told"),
    [
        (b'{"spaec": "builtin"}', 422, "invalid_request", "space, index"),
        (b'{"space": 7}', 422, "invalid_request", "space is 7"),
        (b'{"space": "clip"}', 404, "not_found", "builtin"),
        (b"{", 400, "invalid_json", "JSON"),
        (b"[]", 422, "invalid_request", "object"),
        (b"[" * 9000, 400, "invalid_json", "recursion"),
        (b"\xff\xfe", 400, "invalid_json", "JSON"),
    ],
)
def test_a_collection_is_refused(
    client: Any, body: bytes, status: int, code: str, told: str
) -> None:
    kind = {"Content-Type": "application/json"}
    answer = client.request("PUT", COLLECTION, content=body, headers=kind)
    assert told in refused(answer, status, code)
    assert shaped(client.get("/v1/collections"), answers.CollectionList) == {"collections": []}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_json_must_say_that_it_is_json(client: Any, kind: str) -> None:
    answer = client.request("PUT", COLLECTION, content=b"{}", headers={"Content-Type": kind})
    assert "application/json" in refused(answer, 415, "unsupported_media")


# Items


def test_items_are_listed_shown_changed_and_deleted(client: Any, shelf: dict[str, str]) -> None:
    page = shaped(client.get(f"{COLLECTION}/items?limit=2"), answers.ItemList)
    assert [item["id"] for item in page["items"]] == [shelf["photo"], shelf["dog"]]
    rest = client.get(f"{COLLECTION}/items", params={"cursor": page["next_cursor"]})
    assert shaped(rest, answers.ItemList)["next_cursor"] is None
    texts = shaped(client.get(f"{COLLECTION}/items?modality=text"), answers.ItemList)["items"]
    assert {item["modality"] for item in texts} == {"text"}

    path = f"{COLLECTION}/items/{shelf['photo']}"
    assert shaped(client.get(path), answers.ItemAnswer)["title"] == "red.png"
    metadata = {"year": 2021, "tags": ["a", 1, True], "at": {"lat": 1.5, "lon": -2}, "open": False}
    changed = client.request("PATCH", path, json={"title": "Red", "metadata": metadata})
    assert shaped(changed, answers.ItemAnswer)["metadata"] == metadata
    assert shaped(client.get(path), answers.ItemAnswer)["title"] == "Red"
    assert client.request("DELETE", path).status_code == 204
    refused(client.get(path), 404, "not_found")
    refused(client.request("PATCH", path, json={"title": "x"}), 404, "not_found")
    refused(client.request("DELETE", path), 404, "not_found")


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "1000"),
        ("limit=ten", "'ten'"),
        ("modality=smell", "'image'"),
        ("limti=3", "limit, cursor, modality"),
    ],
)
def test_a_page_that_makes_no_sense(
    client: Any, shelf: dict[str, str], query: str, told: str
) -> None:
    assert told in refused(client.get(f"{COLLECTION}/items?{query}"), 422, "invalid_request")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "title, metadata"),
        ({"title": 3}, "title is 3"),
        ({"modality": "text"}, "the known ones are: title, metadata"),
        ({"metadata": {"a": None}}, "'a' is None"),
        ({"metadata": {"a": {"b": 1}}}, '"lat"'),
        ({"metadata": {"a": {"lat": 91, "lon": 0}}}, "-90 to 90"),
        ({"metadata": {"a": {"lat": True, "lon": 0}}}, "-90 to 90"),
        ({"metadata": {"a": [[1]]}}, "'a' is [[1]]"),
        ({"metadata": {" ": 1}}, "blank"),
        ({"metadata": {"a": 10**400}}, "64 bits"),
        ({"metadata": {"a": float("nan")}}, "finite"),
        ({"metadata": {"a": [1, float("inf")]}}, "finite"),
        ({"metadata": ["a"]}, "metadata is ['a']"),
    ],
)
def test_a_change_that_is_refused(client: Any, shelf: dict[str, str], body: Any, told: str) -> None:
    path = f"{COLLECTION}/items/{shelf['dog']}"
    before = client.get(path).json()
    kind = {"Content-Type": "application/json"}
    answer = client.request("PATCH", path, content=json.dumps(body), headers=kind)
    assert told in refused(answer, 422, "invalid_request")
    assert client.get(path).json() == before


# The document that describes all this


def test_openapi_describes_every_route_and_resolves(client: Any) -> None:
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    assert {"SearchBody", "QueryBody", "EmbeddingsBody", "HitsAnswer", "ItemsBody"} <= set(schemas)
    assert "/v1/collections/{c}/search" in document["paths"]
    items = "/v1/collections/{c}/items"
    for path, name in ((items, "record"), (f"{items}/{{item_id}}/preview", "at")):
        told = document["paths"][path]["get"]["parameters"]
        assert name in [parameter["name"] for parameter in told]
    text = json.dumps(document)
    for part in text.split('"$ref": "')[1:]:
        ref = part.partition('"')[0]
        assert ref.removeprefix("#/components/schemas/") in schemas, ref


def test_the_page_is_ours_alone(client: Any) -> None:
    assert {f"/{path.name}" for path in WEB.glob("*.*s")} <= PAGE.keys()
    for path in PAGE.keys() - {"/icon.svg"}:
        answer = client.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert client.request("HEAD", path).headers["content-length"] == str(len(answer.content))
        for forbidden in ("https://", "innerHTML", "onclick=", "style=", "eval("):
            assert forbidden not in answer.text, path
