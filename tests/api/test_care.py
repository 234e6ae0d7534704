"""Snapshots, restoring, verifying and repairing, through both doors; and a library on a disk that
may only be read."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from api.cli import main
from api.config import load_settings
from api.requests import SearchRequest, Term, Upload
from api.service import Service
from embed.errors import Forbidden


def call(capsys: pytest.CaptureFixture[str], home: Path, *words: object) -> tuple[int, Any]:
    """The exit code of a command, and the document that it printed."""
    capsys.readouterr()
    code = main(["--home", str(home), "--json", "--quiet", *map(str, words)])
    return code, json.loads(capsys.readouterr().out)


def found(service: Service, text: str = "a tint of 60 degrees") -> list[str]:
    terms = (Term(kind="text", value=text, weight=1.0),)
    answer = service.search(SearchRequest(terms=terms, collection="default", k=3))
    return [str(hit.item.uri or hit.item.title) for hit in answer.hits]


@pytest.fixture
def library(tinted: Path) -> Path:
    """Sixty tints with their words, and an upload."""
    with closing(Service(load_settings(tinted))) as service:
        upload = Upload(data=b"a tint of 61 degrees, uploaded", name="up.txt", id="up")
        [outcome] = service.add_items("default", [upload])
        assert outcome.error is None
    return tinted


def test_the_library_there_and_back(library: Path, tmp_path: Path, capsys: Any) -> None:
    tar = tmp_path / "out" / "all.tar"
    code, made = call(capsys, library, "snapshot", tar)
    assert (code, made["items"], made["collections"], made["scope"]) == (
        0,
        121,
        ["default"],
        "home",
    )
    code, refused = call(capsys, library, "snapshot", tar)
    assert (code, refused["error"]["code"]) == (4, "conflict")
    code, back = call(capsys, tmp_path / "again", "restore", tar)
    assert (code, back) == (
        0,
        {"restored": ["default"], "items": 121, "missing": [], "kept": None},
    )
    with closing(Service(load_settings(library))) as old:
        before = found(old)
    with closing(Service(load_settings(tmp_path / "again"))) as new:
        assert found(new) == before
        assert new.media("default", "up").path.read_bytes().startswith(b"a tint of 61")
    assert call(capsys, library, "restore", tar)[0] == 4
    assert call(capsys, library, "restore", tar, "--yes")[0] == 0
    assert call(capsys, library, "restore", tmp_path / "none.tar")[0] == 3


def test_one_collection_there_and_back(library: Path, tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "one"
    assert call(capsys, library, "collections", "snapshot", "default", folder)[0] == 0
    assert call(capsys, library, "collections", "snapshot", "nothing", tmp_path / "x")[0] == 3
    assert call(capsys, library, "collections", "restore", folder)[0] == 4
    code, back = call(capsys, library, "collections", "restore", folder, "--as", "before")
    assert (code, back["restored"], back["items"]) == (0, ["before"], 121)
    code, listed = call(capsys, library, "collections")
    assert {one["name"] for one in listed["collections"]} == {"default", "before"}
    assert call(capsys, library, "verify")[1]["clean"]


def test_damage_is_found_and_mended(library: Path, capsys: Any) -> None:
    code, well = call(capsys, library, "verify")
    assert (code, well["clean"], well["items"], well["blobs"]) == (0, True, 121, 1)
    with closing(sqlite3.connect(library / "catalog.db", isolation_level=None)) as connection:
        connection.execute("UPDATE vectors SET vector = x'00' WHERE fragment = 5")
        connection.execute("DELETE FROM meta")
    code, ill = call(capsys, library, "collections", "verify", "default")
    assert (code, ill["clean"]) == (1, False)
    code, ill = call(capsys, library, "verify")
    assert code == 1
    assert ill["counts"].keys() == {"vector", "epoch"}
    assert {"code", "severity", "id", "collection", "message", "remedy"} == ill["findings"][
        0
    ].keys()
    code, report = call(capsys, library, "repair")
    assert (code, report["clean"], report["recovered"]) == (0, True, None)
    assert len(report["mended"]) == ill["counts"]["vector"] + 1
    assert call(capsys, library, "collections", "repair", "default")[1]["mended"] == []
    # What lost its vectors is embedded again by the next ingest.
    folder = library.parent / "tints"
    code, ingested = call(capsys, library, "ingest", folder)
    assert (code, ingested["ingested"]) == (0, 1)
    assert call(capsys, library, "collections", "show", "default")[1]["failed_files"] == []


def test_people_are_told(library: Path, tmp_path: Path, capsys: Any) -> None:
    home = ["--home", str(library)]
    assert main([*home, "verify"]) == 0
    assert "all is well: 121 items" in capsys.readouterr().out
    assert main([*home, "snapshot", str(tmp_path / "snap")]) == 0
    assert "121 items" in capsys.readouterr().out
    (library / "catalog.db").write_bytes(b"no database" * 1000)
    assert main([*home, "verify"]) == 1
    shown = capsys.readouterr()
    assert "file: 1 (damage)" in shown.out
    assert "damage was found" in shown.out
    assert main([*home, "repair"]) == 70
    assert "snapshot" in capsys.readouterr().err
    assert main([*home, "restore", str(tmp_path / "snap"), "--yes"]) == 0
    assert "kept as" in capsys.readouterr().out
    assert main([*home, "repair"]) == 0


def test_clients_may_take_a_snapshot_and_look(
    library: Path, tmp_path: Path, client_of: Callable[[Service], Any], capsys: Any
) -> None:
    with closing(Service(load_settings(library))) as service:
        client = client_of(service)
        assert client.get("/v1/collections/default/snapshots").json() == {"snapshots": []}
        made = client.post("/v1/collections/default/snapshot")
        assert (made.status_code, made.json()["items"]) == (201, 121)
        name = made.json()["name"]
        listed = client.get("/v1/collections/default/snapshots").json()["snapshots"]
        assert [one["name"] for one in listed] == [name]
        tar = client.get(f"/v1/collections/default/snapshots/{name}")
        (tmp_path / "sent.tar").write_bytes(tar.content)
        for strange in ("..%2Fcatalog.db", "default-x.tar", "catalog.db"):
            assert client.get(f"/v1/collections/default/snapshots/{strange}").status_code == 404
        assert client.post("/v1/collections/nothing/snapshot").status_code == 404
        kept = f"/v1/collections/default/snapshots/{name}"
        assert client.request("DELETE", kept).status_code == 204
        assert client.request("DELETE", kept).status_code == 404
        assert client.get("/v1/collections/default/verify").json()["clean"]
    assert call(capsys, tmp_path / "again", "collections", "restore", tmp_path / "sent.tar")[0] == 0


def test_a_library_that_may_only_be_read(
    library: Path, client_of: Callable[[Service], Any]
) -> None:
    settings = replace(load_settings(library), read_only=True)
    before = {path: path.stat().st_mtime_ns for path in library.rglob("*") if path.is_file()}
    with closing(Service(settings)) as service:
        client = client_of(service)
        assert len(found(service)) == 3
        assert client.get("/health/ready").status_code == 200
        assert client.get("/v1/collections/default/items/up/media").status_code == 200
        assert client.get("/v1/collections/default/verify").json()["clean"]
        upload = {"items": [{"text": "more"}]}
        for method, path, body in (
            ("POST", "/v1/collections/default/items", upload),
            ("PATCH", "/v1/collections/default/items/up", {"title": "other"}),
            ("DELETE", "/v1/collections/default/items/up", None),
            ("PUT", "/v1/collections/new", {"space": "tints"}),
            ("DELETE", "/v1/collections/default", None),
            ("POST", "/v1/collections/default/snapshot", None),
            ("GET", "/v1/jobs", None),
        ):
            answer = client.request(method, path, json=body)
            told = json.dumps(answer.json())
            assert "forbidden" in told, (method, path, told)
            assert "read only" in told
        with pytest.raises(Forbidden, match="read only"):
            service.jobs  # noqa: B018
    after = {path: path.stat().st_mtime_ns for path in library.rglob("*") if path.is_file()}
    assert {
        path: at for path, at in after.items() if path.suffix not in {".db-wal", ".db-shm"}
    } == before


SEARCH = """
import os, sys
from pathlib import Path
import numpy as np
from index.catalog import Catalog
from index.collection import Collection
from index.home import Home
from index.search.query import Query
from index.care.verify import verify

def look(home):
    catalog = Catalog(home.catalog, read_only=True)
    collection = Collection(catalog, catalog.collection("default"))
    hits = collection.search(Query(joint=np.eye(6, dtype=np.float32)[0], k=5)).hits
    catalog.close()
    return len(hits), verify(home).clean

look(Home(Path(sys.argv[1])))  # imports all it needs, which nobody may not read everywhere
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
print(*look(Home(Path(sys.argv[2]))))
"""


def test_a_folder_that_nobody_may_write_to(library: Path) -> None:
    """As root one may write anywhere, so a process of nobody's looks at it, where it may."""
    place = (
        Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp") / f"crossbind-{os.getpid()}"
    )
    shutil.copytree(library, place)
    try:
        for path in (place, *place.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        done = subprocess.run(
            [sys.executable, "-c", SEARCH, str(library), str(place)], capture_output=True, text=True
        )
        assert done.stdout.split() == ["5", "True"], done.stderr
        assert not list(place.glob("*-wal"))
    finally:
        for path in (place, *place.rglob("*")):
            if path.is_dir():
                path.chmod(0o755)
        shutil.rmtree(place)
