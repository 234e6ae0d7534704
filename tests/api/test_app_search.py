"""Search and embeddings: queries of every form, and of every wrong one."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from api.answers import BatchAnswer, EmbeddingsAnswer, HitsAnswer

SEARCH = "/v1/collections/shelf/search"
EMBED = "/v1/embeddings"
JSON = {"Content-Type": "application/json"}


def found(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    HitsAnswer.model_validate_json(answer.content)
    return [hit["id"] for hit in answer.json()["hits"]]


def refused(answer: Any, status: int, code: str) -> str:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code
    return str(error["message"])


def embedded(client: Any, given: Any, **about: Any) -> list[Any]:
    answer = client.post(EMBED, json={"model": "builtin", "input": given, **about})
    assert answer.status_code == 200, answer.text
    EmbeddingsAnswer.model_validate_json(answer.content)
    rows = answer.json()["data"]
    assert [row["index"] for row in rows] == list(range(len(rows)))
    return [row["embedding"] for row in rows]


# Search


def test_queries_of_every_form(client: Any, shelf: dict[str, str], red: bytes) -> None:
    picture = base64.b64encode(red).decode()
    vector = embedded(client, "a dog on a beach")[0]
    queries: list[tuple[Any, str]] = [
        ("a dog on a beach", "dog"),
        ({"text": "a dog on a beach"}, "dog"),
        ([{"text": "a dog on a beach", "weight": 2}], "dog"),
        ({"image": picture}, "photo"),
        ({"image": f"data:image/png;base64,{picture}"}, "photo"),
        ({"vector": vector}, "dog"),
        ([{"image": picture}, {"text": "a dog on a beach", "weight": -0.1}], "photo"),
    ]
    for query, best in queries:
        hits = found(client.post(SEARCH, json={"query": query}))
        assert hits[0] == shelf[best], query
        assert len(hits) == 3
    like = found(client.post(SEARCH, json={"query": {"item": shelf["dog"]}}))
    assert shelf["dog"] not in like


def test_what_narrows_a_search(client: Any, shelf: dict[str, str]) -> None:
    query = "a dog on a beach"
    assert len(found(client.post(SEARCH, json={"query": query, "k": 1}))) == 1
    assert found(client.post(SEARCH, json={"query": query, "modalities": ["image"]})) == [
        shelf["photo"]
    ]
    assert found(client.post(SEARCH, json={"query": query, "min_score": 0.99})) == [shelf["dog"]]
    plain = client.post(SEARCH, json={"query": query}).json()["hits"][0]
    assert "vector" not in plain
    asked = client.post(SEARCH, json={"query": query, "include": ["vector"]}).json()["hits"][0]
    assert len(asked["vector"]) == 8


def test_an_answer_says_how_it_was_found(client: Any, shelf: dict[str, str]) -> None:
    answer = client.post(SEARCH, json={"query": "boats"}).json()
    assert answer["query"] == [{"text": "boats", "weight": 1.0}]
    assert answer["search"] == {"exact": True, "recall_estimate": 1.0}
    assert answer["timings_ms"]["total"] == 5.3
    assert answer["next_cursor"] is None


def test_a_batch_answers_as_its_queries_do_alone(client: Any, shelf: dict[str, str]) -> None:
    queries = ["boats", {"item": shelf["dog"]}, [{"text": "a"}, {"text": "b"}]]
    answer = client.post(SEARCH, json={"queries": queries, "k": 2})
    BatchAnswer.model_validate_json(answer.content)
    alone = [client.post(SEARCH, json={"query": query, "k": 2}).json() for query in queries]
    assert answer.json()["results"] == alone


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "query"),
        ({"query": "a", "queries": ["b"]}, "either query"),
        ({"query": None}, "either query"),
        ({"query": []}, "query"),
        ({"queries": []}, "queries"),
        ({"queries": ["a"] * 257}, "256"),
        ({"query": ["a"] * 33}, "32"),
        ({"query": 7}, "query.0 is 7"),
        ({"query": {}}, "exactly one of text, image, audio, video, item, vector"),
        ({"query": {"weight": 2}}, "exactly one"),
        ({"query": {"text": "a", "item": "b"}}, "not ['item', 'text']"),
        ({"query": {"words": "a"}}, "'words'"),
        ({"query": {"text": 7}}, "query.0.text is 7"),
        ({"query": {"text": "a", "weight": "2"}}, "weight is '2'"),
        ({"query": {"text": "a", "weight": float("nan")}}, "weight is nan"),
        ({"query": {"vector": [1, float("nan")]}}, "vector.1 is nan"),
        ({"query": {"vector": [1, float("inf")]}}, "vector.1 is inf"),
        ({"query": {"vector": [1, "2"]}}, "vector.1 is '2'"),
        ({"query": {"vector": 3}}, "vector is 3"),
        ({"query": "a", "k": 0}, "k is 0"),
        ({"query": "a", "k": -1}, "k is -1"),
        ({"query": "a", "k": 1001}, "1000"),
        ({"query": "a", "k": 10**30}, "1000"),
        ({"query": "a", "k": "10"}, "k is '10'"),
        ({"query": "a", "k": 2.5}, "k is 2.5"),
        ({"query": "a", "k": True}, "k is True"),
        ({"query": "a", "k": None}, "k is None"),
        ({"query": "a", "modalities": ["smell"]}, "'text', 'image', 'audio' or 'video'"),
        ({"query": "a", "modalities": "image"}, "modalities is 'image'"),
        ({"query": "a", "modalities": []}, "modalities"),
        ({"query": "a", "min_score": 2}, "min_score is 2"),
        ({"query": "a", "include": ["pixels"]}, "'vector'"),
        (
            {"query": "a", "filters": {}},
            (
                "k, offset, cursor, modalities, filter, hybrid, min_score, min_probability, "
                "group_by, collapse, diversity, rerank, moments, include, query, queries, together"
            ),
        ),
    ],
)
def test_searches_of_the_wrong_shape(
    client: Any, shelf: dict[str, str], body: Any, told: str
) -> None:
    answer = client.post(SEARCH, content=json.dumps(body), headers=JSON)
    assert told in refused(answer, 422, "invalid_request")


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 400, "invalid_query"),
        ({"text": " \t"}, 400, "invalid_query"),
        ({"text": None}, 400, "invalid_query"),
        ({"image": "%%%"}, 400, "bad_input"),
        ({"image": ""}, 400, "bad_input"),
        ({"image": "data:image/png;base64,%%"}, 400, "bad_input"),
        ({"image": "http://169.254.169.254/latest"}, 403, "forbidden"),
        ({"image": "file:///etc/passwd"}, 403, "forbidden"),
        ({"vector": [1.0, 2.0]}, 400, "invalid_vector"),
        ({"vector": []}, 400, "invalid_vector"),
        ({"vector": [1e39] * 8}, 400, "invalid_vector"),
    ],
)
def test_queries_that_cannot_be_asked(
    client: Any, shelf: dict[str, str], query: Any, status: int, code: str
) -> None:
    refused(client.post(SEARCH, json={"query": query}), status, code)


def test_searches_of_what_is_not_there(client: Any, shelf: dict[str, str]) -> None:
    nowhere = client.post("/v1/collections/nowhere/search", json={"query": "a"})
    refused(nowhere, 404, "not_found")
    for body in (b"", b"query=a", b'{"query": "\\ud800"}', b'{"query": "a",}'):
        answer = client.post(SEARCH, content=body, headers=JSON)
        assert answer.status_code in (400, 422)
        assert answer.json()["error"]["code"] in ("invalid_json", "invalid_request")


# Embeddings


def test_base64_and_floats_are_the_same_numbers(client: Any) -> None:
    words = ["a dog", "a cat", "Äpfel 🍎"]
    floats = np.array(embedded(client, words), dtype=np.float32)
    packed = embedded(client, words, encoding_format="base64")
    assert all(isinstance(row, str) for row in packed)
    unpacked = np.stack([np.frombuffer(base64.b64decode(row), "<f4") for row in packed])
    np.testing.assert_array_equal(floats, unpacked)


def test_inputs_of_every_form(client: Any, red: bytes) -> None:
    picture = base64.b64encode(red).decode()
    word = embedded(client, "a dog")
    assert embedded(client, ["a dog"]) == word
    assert embedded(client, {"text": "a dog"}) == word
    both = {"text": "a dog", "image": f"data:image/png;base64,{picture}"}
    rows = embedded(client, ["a dog", {"image": picture}, both])
    assert rows[0] == word[0]
    fused = np.array(rows[0]) + np.array(rows[1])
    np.testing.assert_allclose(rows[2], fused / np.linalg.norm(fused), atol=1e-6)


def test_what_openai_documents_is_accepted(client: Any) -> None:
    body = {"model": "builtin", "input": "a dog", "dimensions": 8, "user": "ann"}
    answer = client.post(EMBED, json=body)
    assert answer.status_code == 200
    assert answer.headers["x-crossbind-ignored"] == "user"
    assert answer.json()["usage"] == {"prompt_tokens": 2, "total_tokens": 2}
    assert answer.json()["model"] == "builtin"
    plain = client.post(EMBED, json={"model": "builtin", "input": "a dog"})
    assert "x-crossbind-ignored" not in plain.headers


@pytest.mark.parametrize(
    ("about", "status", "code", "told"),
    [
        ({"input": [1, 2, 3]}, 400, "bad_input", "token ids"),
        ({"input": [[1, 2], [3]]}, 400, "bad_input", "token ids"),
        ({"input": 7}, 400, "bad_input", "token ids"),
        ({"input": ""}, 400, "invalid_query", "text is ''"),
        ({"input": ["a", " "]}, 400, "invalid_query", "text is ' '"),
        ({"input": {}}, 400, "invalid_query", "text, image, audio, video"),
        ({"input": []}, 422, "invalid_request", "input"),
        ({"input": None}, 422, "invalid_request", "input"),
        ({"input": [None]}, 422, "invalid_request", "input.0"),
        ({"input": ["a"] * 2049}, 422, "invalid_request", "2048"),
        ({"input": {"smell": "a"}}, 422, "invalid_request", "'smell'"),
        ({"input": {"image": "%"}}, 400, "bad_input", "base64"),
        ({"input": "a", "model": "gpt"}, 404, "not_found", "builtin"),
        ({"input": "a", "model": "gpt", "dimensions": 8}, 404, "not_found", "builtin"),
        ({"input": "a", "model": None}, 422, "invalid_request", "model"),
        ({"input": "a", "dimensions": 4}, 400, "bad_input", "has 8"),
        ({"input": "a", "dimensions": "8"}, 422, "invalid_request", "dimensions"),
        ({"input": "a", "encoding_format": "hex"}, 422, "invalid_request", "'float' or 'base64'"),
        ({"input": "a", "inputs": "b"}, 422, "invalid_request", "encoding_format"),
        ({}, 422, "invalid_request", "input is required"),
    ],
)
def test_embeddings_that_are_refused(
    client: Any, about: Any, status: int, code: str, told: str
) -> None:
    answer = client.post(EMBED, json={"model": "builtin", **about})
    assert told in refused(answer, status, code)
