"""How vectors are kept, chosen when a collection is made: through REST and the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.cli import main
from api.config import Settings
from api.job_kinds import IngestJob
from api.service import Service


def test_a_collection_keeps_what_it_was_made_with(
    settings: Settings,
    client_of: Callable[[Service], Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    service = Service(settings)
    client = client_of(service)
    place, body = "/v1/collections/c", {"space": "vectors:4", "storage": "float16"}
    assert client.request("PUT", place, json=body).json()["storage"] == "float16"
    assert client.request("PUT", place, json=body).status_code == 200
    other = client.request("PUT", place, json={"space": "vectors:4"})
    assert other.status_code == 409
    assert "storage float16" in other.json()["error"]["message"]
    wrong = client.request("PUT", "/v1/collections/d", json={"storage": "float8"})
    assert wrong.status_code == 422
    item = {"modality": "image", "vector": [0.1, 0.2, 0.3, 0.4]}
    assert client.post(f"{place}/items", json={"items": [item]}).status_code < 300
    search = {"query": {"vector": [1, 2, 3, 4]}}
    [hit] = client.post(f"{place}/search", json=search).json()["hits"]
    assert hit["score"] == pytest.approx(1, abs=1e-3)
    service.close()

    def crossbind(*words: str) -> tuple[int, Any]:
        code = main(["--home", str(settings.home), "--json", "--quiet", *words])
        return code, json.loads(capsys.readouterr().out)

    assert crossbind("collections", "show", "c")[1]["storage"] == "float16"
    ingest = ("ingest", str(tmp_path), "--collection", "c", "--storage")
    code, told = crossbind(*ingest, "float32")
    assert (code, told["error"]["code"]) == (4, "conflict")
    assert crossbind(*ingest, "float8")[0] == 2
    job = IngestJob(kind="ingest", paths=["/x"], storage="float16")
    assert job.words() == ["ingest", "/x", "--collection=default", "--storage=float16"]
