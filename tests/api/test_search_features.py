"""Searching and exploring through both doors, over a small space where every answer is known."""

from __future__ import annotations

import base64
import colorsys
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from api.answers import AliasList, BatchAnswer, HitsAnswer
from api.answers_explore import (
    ClustersAnswer,
    CountAnswer,
    DeletedAnswer,
    DuplicatesAnswer,
    FacetsAnswer,
    MapAnswer,
    OutliersAnswer,
    SampleAnswer,
)
from api.cli import main
from api.config import Settings
from api.service import Service
from embed.types import Space

SHELF = "/v1/collections/shelf"
JSON = {"Content-Type": "application/json"}
EVERY = 15  # degrees


def picture(degrees: int) -> bytes:
    colour = tuple(round(255 * part) for part in colorsys.hsv_to_rgb(degrees / 360, 1, 1))
    shown = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(shown, "PNG")
    return shown.getvalue()


@pytest.fixture
def service(tmp_path: Path, tint_space: Space) -> Iterator[Service]:
    service = Service(Settings(home=tmp_path / "home", cache=tmp_path / "cache", threads=1))
    service.create_collection("shelf", space="tints")
    yield service
    service.close()


@pytest.fixture
def http(service: Service, client_of: Callable[[Service], Any]) -> Any:
    """A client of a shelf with a picture and a text of each of 24 tints."""
    client = client_of(service)
    for kind in ("text", "image"):
        items = []
        for number, degrees in enumerate(range(0, 360, EVERY)):
            item: dict[str, Any] = {
                "id": f"{kind}{degrees}",
                "record": f"r{degrees}",
                "metadata": {"degrees": degrees, "half": "warm" if degrees < 180 else "cold"},
            }
            if kind == "text":
                item["text"] = f"a tint of {degrees} degrees" + (" velvet" if number == 3 else "")
            else:
                item["data"] = base64.b64encode(picture(degrees)).decode()
            items.append(item)
        answer = client.post(f"{SHELF}/items", json={"items": items})
        assert answer.status_code == 200, answer.text
    return client


def hits(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    HitsAnswer.model_validate_json(answer.content)
    found: list[dict[str, Any]] = answer.json()["hits"]
    return found


def names(answer: Any) -> list[str]:
    return [hit["id"] for hit in hits(answer)]


def ask(http: Any, query: Any = "a tint of 90 degrees", **about: Any) -> Any:
    return http.post(f"{SHELF}/search", json={"query": query, **about})


def asked(http: Any, path: str, shape: Any, **body: Any) -> Any:
    answer = http.post(f"{SHELF}/{path}", json=body)
    assert answer.status_code == 200, answer.text
    shape.model_validate_json(answer.content)
    return answer.json()


def refused(answer: Any, status: int, code: str) -> str:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code
    return str(error["message"])


# Searching


def test_filters_as_text_and_as_json_are_one(http: Any) -> None:
    text = 'degrees >= 45 and half = "warm" and @modality = "image"'
    written = {
        "and": [
            {"field": "degrees", "gte": 45},
            {"field": "half", "eq": "warm"},
            {"field": "@modality", "eq": "image"},
        ]
    }
    found = names(ask(http, filter=text, k=99))
    assert found == names(ask(http, filter=written, k=99))
    assert set(found) == {f"image{degrees}" for degrees in range(45, 180, EVERY)}
    assert found[0] == "image90"
    record = names(ask(http, filter="has(image) and @modality = 'text'", k=99))
    assert len(record) == 24
    assert "character 6" in refused(ask(http, filter="half warm"), 400, "invalid_query")
    assert "'near'" in refused(ask(http, filter={"field": "half", "near": 1}), 400, "invalid_query")


def test_hybrid_finds_by_words_what_vectors_do_not(http: Any) -> None:
    plain = names(ask(http, "velvet 270", k=5, modalities=["text"]))
    mixed = hits(ask(http, "velvet 270", k=5, modalities=["text"], hybrid=True))
    assert "text45" not in plain
    [velvet] = [hit for hit in mixed if hit["id"] == "text45"]
    assert "words" in velvet["found_by"]
    alone = hits(ask(http, "velvet", hybrid={"dense": 0, "words": 1}))
    assert [(hit["id"], hit["score"], hit["found_by"]) for hit in alone] == [
        ("text45", None, ["words"])
    ]
    assert "has none" in refused(ask(http, {"item": "text0"}, hybrid=True), 400, "invalid_query")
    assert "not both 0" in refused(ask(http, hybrid={"dense": 0, "words": 0}), 400, "invalid_query")


def test_each_hit_says_what_each_term_gave(http: Any) -> None:
    query = [{"text": "a tint of 0 degrees"}, {"item": "image60", "weight": -0.5}]
    found = hits(ask(http, query, include=["contributions", "vector"], k=20))
    told = [sum(hit["contributions"]) / hit["score"] for hit in found]
    assert told == pytest.approx([told[0]] * 20, rel=1e-3)
    one = hits(ask(http, query[0], include=["vector"], k=1))[0]["vector"]
    assert found[0]["contributions"][0] == pytest.approx(
        float(np.dot(one, found[0]["vector"])), abs=0.05
    )
    assert "vector" not in hits(ask(http, query))[0]


def test_pages_go_on_and_only_with_their_own_search(http: Any) -> None:
    whole = names(ask(http, k=48))
    page, seen = ask(http, k=20), []
    for _ in range(9):
        seen += names(page)
        cursor = page.json()["next_cursor"]
        if cursor is None:
            break
        page = ask(http, k=20, cursor=cursor)
    assert seen == whole
    assert names(ask(http, k=10, offset=38)) == whole[38:]
    first = ask(http, k=5).json()["next_cursor"]
    assert names(ask(http, k=3, cursor=first)) == whole[5:8]
    assert "another search" in refused(
        ask(http, "a tint of 91 degrees", cursor=first), 400, "invalid_query"
    )
    assert "another search" in refused(
        ask(http, cursor=first, filter="degrees > 3"), 400, "invalid_query"
    )
    assert "not both" in refused(ask(http, cursor=first, offset=3), 400, "invalid_query")
    for broken in ("", "x", "ä", first[:-8], first[:12] + "A" + first[13:]):
        assert ask(http, cursor=broken).status_code == 400, broken
    batch = http.post(f"{SHELF}/search", json={"queries": ["a", "b"], "cursor": first})
    assert "one search" in refused(batch, 422, "invalid_request")


def test_groups_variety_and_places(http: Any) -> None:
    best = hits(ask(http, group_by="record", k=99))
    assert len({hit["record"] for hit in best}) == len(best) == 24
    assert {hit["group_size"] for hit in best} == {2}
    halves = hits(ask(http, group_by="half", filter="@modality = 'image'"))
    assert [(hit["metadata"]["half"], hit["group_size"]) for hit in halves] == [
        ("warm", 12),
        ("cold", 12),
    ]
    near = names(ask(http, k=6, modalities=["image"]))
    apart = names(ask(http, k=6, modalities=["image"], diversity=0.9))
    assert apart[0] == near[0]
    assert apart != near
    assert len(names(ask(http, k=99, modalities=["image"], collapse=0.9))) < 20
    told = hits(ask(http, moments=3, k=1))[0]
    assert [moment["fragment"] for moment in told["moments"]] == [told["fragment"]]


def test_long_queries_rank_anew_by_their_pieces(http: Any) -> None:
    query = [{"text": "a tint of 0 degrees"}, {"text": "a tint of 120 degrees"}]
    added = hits(ask(http, query, modalities=["text"], k=24))
    late = hits(ask(http, query, modalities=["text"], k=24, rerank="maxsim"))
    assert {hit["id"] for hit in added} == {hit["id"] for hit in late}
    by_id = {hit["id"]: hit for hit in added}
    assert all(hit["score"] == by_id[hit["id"]]["score"] for hit in late)
    assert late[0]["rank_score"] >= late[1]["rank_score"]


def test_a_batch_shares_what_narrows_it(http: Any) -> None:
    body = {"queries": ["a tint of 0 degrees", "a tint of 180 degrees"], "k": 3}
    answer = http.post(f"{SHELF}/search", json={**body, "filter": "@modality = 'image'"})
    BatchAnswer.model_validate_json(answer.content)
    tops = [result["hits"][0]["id"] for result in answer.json()["results"]]
    assert tops == ["image0", "image180"]


def test_lists_take_a_filter_too(http: Any) -> None:
    answer = http.get(f"{SHELF}/items", params={"filter": "degrees < 30", "modality": "image"})
    assert [item["id"] for item in answer.json()["items"]] == ["image0", "image15"]
    bad = http.get(f"{SHELF}/items", params={"filter": "degrees <"})
    assert "a value is wanted" in refused(bad, 400, "invalid_query")


# Exploring


def test_counts_facets_and_samples(http: Any) -> None:
    assert asked(http, "count", CountAnswer)["count"] == 48
    assert asked(http, "count", CountAnswer, filter="degrees < 30")["count"] == 4
    body = asked(http, "facets", FacetsAnswer, fields=["half", "degrees", "@modality", "nothing"])
    half, degrees, modality, nothing = body["facets"]
    assert {one["value"]: one["items"] for one in half["values"]} == {"warm": 24, "cold": 24}
    assert (degrees["distinct"], len(degrees["values"]), len(degrees["bins"])) == (24, 10, 10)
    assert {one["value"]: one["items"] for one in modality["values"]} == {"text": 24, "image": 24}
    assert nothing["values"] == []
    one = asked(http, "sample", SampleAnswer, count=5, seed=1, filter="half = 'cold'")["items"]
    assert (
        one == asked(http, "sample", SampleAnswer, count=5, seed=1, filter="half = 'cold'")["items"]
    )
    assert len({item["id"] for item in one}) == 5
    assert all(item["metadata"]["half"] == "cold" for item in one)
    assert one != asked(http, "sample", SampleAnswer, count=5, seed=2)["items"]


@pytest.mark.parametrize("strategy", ["average", "best_score"])
def test_recommendations_are_like_the_good_and_unlike_the_bad(http: Any, strategy: str) -> None:
    body = {
        "positive": [{"item": "image0"}, {"item": "image120"}],
        "negative": [{"item": "image15"}],
        "strategy": strategy,
        "modalities": ["image"],
        "k": 4,
    }
    found = names(http.post(f"{SHELF}/recommend", json=body))
    assert not {"image0", "image120", "image15"} & set(found)
    if strategy == "best_score":
        assert {"image105", "image135", "image345"} <= set(found)
        assert "image30" not in found
    first = http.post(f"{SHELF}/recommend", json=body)
    more = {**body, "cursor": first.json()["next_cursor"]}
    whole = names(http.post(f"{SHELF}/recommend", json={**body, "k": 8}))
    assert [*found, *names(http.post(f"{SHELF}/recommend", json=more))] == whole
    lone = http.post(f"{SHELF}/recommend", json={"positive": {"item": "image0"}, "k": 2})
    assert len(names(lone)) == 2
    paired = {"positive": [{"item": "image0"}], "negative": [{"item": "image180"}]}
    near = http.post(f"{SHELF}/recommend", json={**paired, "strategy": "context", "k": 3})
    assert {hit["rank_score"] for hit in near.json()["hits"]} == {0.0}
    uneven = {**body, "strategy": "context"}
    assert "2 positive examples and 1 negative" in refused(
        http.post(f"{SHELF}/recommend", json=uneven), 400, "invalid_query"
    )
    wrong = {"positive": [{"item": "image0", "weight": -1}]}
    assert "as negative" in refused(
        http.post(f"{SHELF}/recommend", json=wrong), 400, "invalid_query"
    )


def test_what_a_filter_means_is_forgotten(http: Any, service: Service) -> None:
    assert "filter is required" in refused(
        http.post(f"{SHELF}/delete", json={}), 422, "invalid_request"
    )
    gone = asked(http, "delete", DeletedAnswer, filter="half = 'warm' and @modality = 'image'")
    assert gone == {"deleted": 12}
    assert asked(http, "count", CountAnswer)["count"] == 36
    assert names(ask(http, k=48, modalities=["image"])) == names(
        ask(http, k=48, modalities=["image"], filter="half = 'cold'")
    )
    assert http.get(f"{SHELF}/items/image0").status_code == 404
    assert http.get(f"{SHELF}/items/image180/media").status_code == 200
    kept = [path for path in (service.settings.home / "blobs").rglob("*") if path.is_file()]
    assert len(kept) == 36


def test_a_collection_comes_as_a_file(http: Any, service: Service) -> None:
    answer = http.post(f"{SHELF}/export", json={"format": "npz", "filter": "half = 'warm'"})
    assert answer.status_code == 200
    with np.load(io.BytesIO(answer.content)) as held:
        assert held["vectors"].shape == (24, 6)
        about = [json.loads(line) for line in held["about"].tobytes().splitlines()]
    assert {row["metadata"]["half"] for row in about} == {"warm"}
    lines = http.post(f"{SHELF}/export", json={"format": "jsonl"})
    assert "shelf.jsonl" in lines.headers["content-disposition"]
    assert len(lines.content.splitlines()) == 48
    assert not list(service.settings.cache.glob("export-*"))
    nowhere = http.post("/v1/collections/nowhere/export", json={})
    refused(nowhere, 404, "not_found")
    assert not list(service.settings.cache.glob("export-*"))


def test_a_collection_answers_to_other_names(http: Any) -> None:
    def told(answer: Any) -> Any:
        assert answer.status_code == 200, answer.text
        AliasList.model_validate_json(answer.content)
        return answer.json()["aliases"]

    assert told(http.get(f"{SHELF}/aliases")) == []
    assert told(http.request("PUT", f"{SHELF}/aliases/best")) == ["best"]
    found = http.post("/v1/collections/best/search", json={"query": "a tint of 90 degrees"})
    assert hits(found)[0]["collection"] == "shelf"
    assert told(http.get("/v1/collections/best/aliases")) == ["best"]
    assert http.request("PUT", "/v1/collections/none/aliases/x").status_code == 404
    assert http.request("PUT", f"{SHELF}/aliases/shelf").status_code == 409
    assert http.request("DELETE", f"{SHELF}/aliases/worst").status_code == 404
    assert http.request("DELETE", f"{SHELF}/aliases/best").status_code == 204
    assert http.get("/v1/collections/best").status_code == 404


def test_another_index_answers_the_same(
    http: Any, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index.vectors.plan.LEAST", 20)
    exact = names(ask(http, k=5, modalities=["image"]))
    made = service.set_index("shelf", "faiss:hnsw?recall=0.9", wait=True)
    assert made.info.index == "faiss:hnsw?recall=0.9"
    built = [path for path in (tmp_path / "home" / "indexes").rglob("*") if path.is_file()]
    assert len(built) > 3
    assert names(ask(http, k=5, modalities=["image"])) == exact
    message = refused(
        http.request("PUT", f"{SHELF}/index", json={"index": "faiss:hnws"}), 404, "not_found"
    )
    assert "faiss:hnsw" in message
    assert http.get(SHELF).json()["index"] == "faiss:hnsw?recall=0.9"
    again = http.request("PUT", f"{SHELF}/index", json={"index": "exact"})
    assert again.json()["index"] == "exact"
    assert not any(path.exists() for path in built)
    assert names(ask(http, k=5, modalities=["image"])) == exact


def test_reports_on_a_collection(http: Any) -> None:
    again = {"id": "again", "data": base64.b64encode(picture(90)).decode()}
    http.post(f"{SHELF}/items", json={"items": [again]})
    shapes = {
        "duplicates?modality=image&least=0.9999": DuplicatesAnswer,
        "clusters?modality=image&count=4": ClustersAnswer,
        "outliers?modality=image&count=3": OutliersAnswer,
        "map?modality=image": MapAnswer,
    }
    told = {}
    for path, shape in shapes.items():
        answer = http.get(f"{SHELF}/{path}")
        assert answer.status_code == 200, answer.text
        shape.model_validate_json(answer.content)
        told[path.partition("?")[0]] = answer.json()
    [twins] = told["duplicates"]["groups"]
    assert [item["id"] for item in twins["items"]] == ["image90", "again"]
    assert sum(cluster["size"] for cluster in told["clusters"]["clusters"]) == 25
    assert len(told["outliers"]["outliers"]) == 3
    assert len(told["map"]["spots"]) == 25
    nothing = http.get(f"{SHELF}/map?modality=audio")
    assert "no audio items" in refused(nothing, 400, "invalid_query")


# Writing


def test_a_request_that_comes_again_adds_nothing_twice(http: Any) -> None:
    def send(key: str, *texts: str) -> list[dict[str, Any]]:
        body = {"items": [{"text": text} for text in texts]}
        answer = http.post(f"{SHELF}/items", json=body, headers={"Idempotency-Key": key})
        return list(answer.json()["results"])

    first = send("k", "a tint of 1 degrees", "a tint of 1 degrees")
    assert [row["status"] for row in first] == ["created"] * 2
    assert send("k", "a tint of 1 degrees", "a tint of 1 degrees") == first
    assert asked(http, "count", CountAnswer)["count"] == 50
    other = send("k", "a tint of 2 degrees", "a tint of 1 degrees")
    assert other[0]["error"]["code"] == "conflict"
    assert other[1] == first[1]
    assert send("l", "a tint of 1 degrees")[0]["id"] not in {row["id"] for row in first}
    files = {"files": ("a.txt", b"a tint of 9 degrees")}
    twice = [
        http.post(f"{SHELF}/items", files=files, headers={"Idempotency-Key": "f"}).json()
        for _ in range(2)
    ]
    assert twice[0] == twice[1]
    long = http.post(
        f"{SHELF}/items", json={"items": [{"text": "x"}]}, headers={"Idempotency-Key": "x" * 256}
    )
    assert "255" in refused(long, 400, "bad_input")


# Vectors of one's own


def test_items_may_bring_their_vectors(http: Any, service: Service) -> None:
    own = [3.0, 0, 0, 0, 0, 4.0]
    items = [
        {"id": "mine", "vector": own, "text": "a tint of 7 degrees", "metadata": {"own": True}},
        {"id": "bare", "vector": own, "modality": "image"},
        {"id": "short", "vector": [1.0]},
        {"id": "none", "vector": [0.0] * 6},
        {"id": "both", "vector": own, "data": base64.b64encode(picture(1)).decode()},
    ]
    answer = http.post(f"{SHELF}/items", json={"items": items})
    results = {row["id"]: row for row in answer.json()["results"]}
    codes = {name: (row.get("error") or {}).get("code") for name, row in results.items()}
    assert codes == {
        "mine": None,
        "bare": None,
        "short": "space_mismatch",
        "none": "invalid_vector",
        "both": "bad_input",
    }
    found = hits(ask(http, {"vector": own}, k=2, include=["vector"]))
    assert {hit["id"] for hit in found} == {"mine", "bare"}
    assert found[0]["vector"] == pytest.approx([0.6, 0, 0, 0, 0, 0.8])
    text = {"items": [{"id": "plain", "text": "a tint of 7 degrees"}]}
    assert http.post(f"{SHELF}/items", json=text).status_code == 200
    plain = hits(ask(http, {"item": "plain"}, k=99, include=["vector"], filter="own = true"))
    assert plain[0]["score"] < 0.99  # its vector is the tower's, whoever brought the same words
    assert http.get(f"{SHELF}/items/mine").json()["text"] == "a tint of 7 degrees"
    assert http.request("DELETE", f"{SHELF}/items/bare").status_code == 204
    wrong = {"items": [{"modality": "image", "text": "x"}]}
    assert "modality" in refused(http.post(f"{SHELF}/items", json=wrong), 422, "invalid_request")


def test_a_space_of_vectors_needs_no_tower(http: Any) -> None:
    made = http.request("PUT", "/v1/collections/own", json={"space": "vectors:3"})
    assert made.status_code == 201, made.text
    assert made.json()["dim"] == 3
    items = [
        {"id": "x", "vector": [2.0, 0, 0], "data": base64.b64encode(picture(1)).decode()},
        {"id": "y", "vector": [0, 1.0, 0], "text": "words of its own"},
        {"id": "z", "vector": [0, 0, 1.0], "modality": "audio"},
        {"id": "w", "text": "no vector"},
    ]
    answer = http.post("/v1/collections/own/items", json={"items": items})
    assert [row["status"] for row in answer.json()["results"]] == ["created"] * 3 + ["failed"]
    assert "embeds nothing" in answer.json()["results"][3]["error"]["message"]
    found = http.post("/v1/collections/own/search", json={"query": {"vector": [1.0, 0.5, 0]}})
    assert names(found)[0] == "x"
    assert names(
        http.post(
            "/v1/collections/own/search",
            json={"query": {"vector": [0, 0, 1.0]}, "filter": "match(@text, 'words')"},
        )
    ) == ["y"]
    assert names(http.post("/v1/collections/own/search", json={"query": {"item": "x"}}))
    words = http.post("/v1/collections/own/search", json={"query": "words"})
    assert "embeds nothing" in refused(words, 415, "unsupported_modality")
    assert http.get("/v1/collections/own/items/x/preview").status_code == 200
    assert http.get("/v1/collections/own/items/y/media").text == "words of its own"
    for wrong in ("vectors:0", "vectors:x", "vectors:-1"):
        bad = http.request("PUT", "/v1/collections/bad", json={"space": wrong})
        assert "after the colon" in refused(bad, 404, "not_found")


# The command line


@pytest.fixture
def crossbind(
    http: Any, service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, Any]]:
    """Runs a command over the same shelf: its exit code, and its output, with --json as a
    document."""
    monkeypatch.setenv("CROSSBIND_HOME", str(service.settings.home))
    monkeypatch.setenv("CROSSBIND_CACHE", str(service.settings.cache))
    monkeypatch.setenv("COLUMNS", "120")

    def run(*words: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = main(list(words))
        printed = capsys.readouterr()
        if "--json" in words:
            return code, json.loads(printed.out)
        return code, printed.out + printed.err

    return run


TINT = ("search", "a tint of 90 degrees", "--collection", "shelf")


def test_what_narrows_a_search_on_the_command_line(
    crossbind: Callable[..., tuple[int, Any]], tmp_path: Path
) -> None:
    def found(*words: str) -> list[dict[str, Any]]:
        code, answer = crossbind(*TINT, "--json", *words)
        assert code == 0, answer
        return list(answer["hits"])

    only = found("--filter", "degrees <= 30 and @modality = 'image'")
    assert {hit["id"] for hit in only} == {"image0", "image15", "image30"}
    grouped = found("--group-by", "half", "--offset", "1")
    assert len(grouped) == 1
    apart = found("--modality", "image", "--diversity", "0.9", "--collapse", "0.99", "-k", "3")
    assert len(apart) == 3
    assert found("--hybrid", "--min-score", "-1", "--include", "contributions,vector")[0][
        "contributions"
    ]
    assert found("--item", "image0", "--weights", "0.1,1", "-k", "2", "--modality", "image")
    assert len(found("--moments", "2", "--rerank", "-k", "2")) == 2
    code, first = crossbind(*TINT, "--json", "-k", "2")
    assert found("--cursor", first["next_cursor"], "-k", "1")[0] not in first["hits"]
    lines = tmp_path / "lines"
    lines.write_text('{"query": "a tint of 0 degrees"}\n')
    code, answer = crossbind(
        "--json",
        "search",
        "--queries",
        str(lines),
        "--collection",
        "shelf",
        "--filter",
        "degrees < 9",
    )
    assert [hit["metadata"]["degrees"] for hit in answer["hits"]] == [0, 0]
    for wrong, exit_code in (
        (("--filter", "degrees <"), 4),
        (("--include", "pixels"), 2),
        (("--diversity", "2"), 2),
        (("--collapse", "x"), 2),
    ):
        assert crossbind(*TINT, *wrong)[0] == exit_code
    code, shown = crossbind(*TINT, "--hybrid", "--group-by", "record")
    assert code == 0
    assert "+1" in shown


def test_collections_are_explored_on_the_command_line(
    crossbind: Callable[..., tuple[int, Any]], tmp_path: Path
) -> None:
    def told(*words: str) -> Any:
        code, answer = crossbind("--json", "collections", *words)
        assert code == 0, answer
        return answer

    assert told("count", "shelf", "--filter", "degrees < 30") == {"count": 4}
    assert told("facets", "shelf", "half")["facets"][0]["distinct"] == 2
    assert len(told("sample", "shelf", "-k", "3")["items"]) == 3
    file = tmp_path / "all.npz"
    assert told("export", "shelf", str(file))["fragments"] == 48
    assert file.is_file()
    assert told("alias", "best", "shelf") == {"aliases": {"best": "shelf"}}
    assert told("count", "best")["count"] == 48
    assert told("alias", "best", "--delete") == {"aliases": {}}
    assert told("index", "shelf", "auto")["index"] == "auto"
    assert told("duplicates", "shelf", "--modality", "image", "--least", "0.9999")["groups"] == []
    assert len(told("clusters", "shelf", "--count", "3")["clusters"]) == 3
    assert len(told("outliers", "shelf", "--count", "2")["outliers"]) == 2
    assert len(told("map", "shelf", "--modality", "image")["spots"]) == 24
    for words in (
        ("count", "shelf"),
        ("facets", "shelf", "half", "degrees"),
        ("sample", "shelf"),
        ("export", "shelf", str(file)),
        ("alias", "best", "shelf"),
        ("index", "shelf", "exact"),
        ("duplicates", "shelf", "--least", "0.9"),
        ("clusters", "shelf"),
        ("outliers", "shelf"),
        ("map", "shelf"),
    ):
        code, shown = crossbind("collections", *words)
        assert code == 0, shown
        assert shown.strip()
    assert crossbind("collections", "clear", "shelf", "--filter", "half = 'warm'")[0] == 2
    assert told("clear", "shelf", "--filter", "half = 'warm'", "--yes") == {"deleted": 24}
    assert crossbind("collections", "alias", "lonely")[0] == 2
    assert crossbind("collections", "export", "shelf", "all.csv")[0] == 4
    assert crossbind("collections", "count", "nowhere")[0] == 3
