"""Archives, tables and watched folders through both doors, in the space of tints."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from api.cli import main
from api.config import Settings
from api.fetched import Fetched
from api.job_kinds import IngestJob
from api.service import Service
from embed.errors import BadInput, NotFound
from embed.types import Space


def shard(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def red() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 20), (200, 30, 30)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def service(settings: Settings, tint_space: Space) -> Iterator[Service]:
    service = Service(settings)
    yield service
    service.close()


def test_what_lies_in_an_archive_is_shown_as_long_as_it_is_there(
    service: Service, client_of: Callable[..., Any], tmp_path: Path
) -> None:
    path = shard(tmp_path / "x.tar", {"a.png": red(), "a.txt": b"a tint of 0 degrees"})
    report = service.ingest([path], collection="c", space="tints")
    assert (report.ingested, report.failed) == (2, 0)
    client = client_of(service)
    items = client.get("/v1/collections/c/items").json()["items"]
    picture, words = (f"/v1/collections/c/items/{item['id']}" for item in items)
    whole = client.get(f"{picture}/media")
    assert (whole.content, whole.headers["content-type"]) == (red(), "image/png")
    part = client.get(f"{picture}/media", headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, b"PNG")
    assert client.get(f"{picture}/preview").headers["content-type"] == "image/jpeg"
    assert client.get(f"{words}/media").content == b"a tint of 0 degrees"
    for kept in (tmp_path / "fetched").glob("*/*"):
        kept.unlink()
    shard(path, {"a.png": b"something else"})
    changed = client.get(f"{picture}/media")
    assert changed.status_code == 404
    assert "holds something else than when it was indexed" in changed.json()["error"]["message"]
    path.unlink()
    gone = client.get(f"{picture}/media").json()["error"]["message"]
    assert "x.tar is not there" in gone
    assert "bring it back, or ingest its source again" in gone


def test_what_is_fetched_is_bounded(service: Service, tmp_path: Path) -> None:
    members = {f"{number}.txt": b"%d degrees" % number * 100 for number in range(9)}
    service.ingest([shard(tmp_path / "x.tar", members)], collection="c", space="tints")
    fetched = Fetched(tmp_path / "few", max_bytes=2500)
    paths = [fetched.get(item) for item in service.items("c")[0]]
    assert [path.exists() for path in paths] == [False] * 7 + [True] * 2


def test_an_archive_on_the_command_line(
    settings: Settings, tint_space: Space, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard(tmp_path / "x.tar", {"a.txt": b"90 degrees", "b.png": b"\x89PNG broken"})
    (tmp_path / "c.txt").write_text("180 degrees")

    def crossbind(*words: str) -> tuple[int, dict[str, Any]]:
        flags = ["--collection=c", "--space=tints"]
        code = main(["--home", str(settings.home), "--json", "ingest", *flags, *words])
        return code, json.loads(capsys.readouterr().out)

    code, report = crossbind(str(tmp_path / "*.t*"))
    assert (code, report["ingested"], report["failed"]) == (1, 2, 1)
    assert report["failures"][0]["uri"].startswith("tar://b.png::file:///")
    code, refused = crossbind(str(tmp_path / "x.tar"), "--prune")
    assert (code, refused["error"]["param"]) == (4, "prune")
    assert crossbind("ftp://x/y.tar")[0] == 4
    assert crossbind("s3://bucket/x.tar", "--watch")[0] == 2
    assert crossbind("x", "--watch=soon")[0] == 2


def test_a_watched_folder_ends_with_all_that_was_done(
    settings: Settings,
    tint_space: Space,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "watched"
    folder.mkdir()
    (folder / "a.txt").write_text("10 degrees")
    looks = iter(["b", "", "", "c", ""])

    class Clock(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout == 2.5
            name = next(looks, None)
            if name is None:
                raise KeyboardInterrupt
            if name:
                (folder / f"{name}.txt").write_text(f"{name} degrees")
            return False

    monkeypatch.setattr("api.commands_watch.Never", Clock)
    words = ["ingest", str(folder), "--collection=c", "--space=tints", "--watch=2.5"]
    code = main(["--home", str(settings.home), "--json", *words])
    out, err = capsys.readouterr()
    assert code == 130
    assert json.loads(out)["ingested"] == 3
    assert err.count("1 indexed, 0 moved, 0 forgotten, 0 failed") == 2
    service = Service(settings)
    assert sorted(str(item.title) for item in service.items("c")[0]) == ["a.txt", "b.txt", "c.txt"]
    service.close()


def test_a_job_takes_stores_and_says_so_in_words() -> None:
    body = {"kind": "ingest", "paths": ["/a", "s3://bucket/x"], "watch": 3, "columns": "text=t"}
    words = IngestJob.model_validate(body).words()
    flags = ["--columns=text=t", "--watch=3.0"]
    assert words == ["ingest", "/a", "s3://bucket/x", "--collection=default", *flags]
    with pytest.raises(ValueError, match="an absolute path"):
        IngestJob.model_validate({"kind": "ingest", "paths": ["https://x/y"]})


def test_pruning_goes_with_folders_only(service: Service, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--prune forgets files"):
        service.ingest([tmp_path], collection="c", space="tints", prune=True, ray="")
    with pytest.raises(NotFound, match="does not exist"):
        service.ingest([tmp_path / "none.tar"], collection="c", space="tints")
