"""Migration through the doors: searched and written to all the while, killed, resumed, refused."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from api.cli import main
from api.config import Settings
from api.job_types import JobState
from api.requests import SearchRequest, Term, Upload
from api.service import Service
from embed import registry
from embed.errors import Conflict, NotFound, SpaceMismatch, UnsupportedModality
from embed.registry import LoadOptions
from embed.types import Modality
from index.batch.ingest import Progress

# Two spaces that count letters, each in its own order; `MODULE seconds WORDS` is our command line
# with both of them, at so many seconds an item.
MODULE = """
import sys, time
import numpy as np
from api.cli import main
from api.job_child import live_as_a_job
from embed import registry
from embed.registry import Capabilities, Family
from embed.types import Batching, Modality, Space, Vectors, normalise

class Letters:
    modalities = frozenset({Modality.TEXT})
    chunker = "whole"
    batching = Batching(workers=1, max_batch=1)
    image_side = 8
    seconds = 0.0

    def __init__(self, name, revision="1"):
        self.space = Space(
            name=name, revision=revision, preprocessing="1", precision="fp32", dim=26
        )

    def fragment(self, media):
        yield None, media

    def count_tokens(self, text):
        return len(text)

    def warm(self):
        pass

    def prepare(self, piece):
        return piece.data.lower()

    def run(self, modality, batch):
        time.sleep(self.seconds * len(batch))
        order = range(26) if self.space.name == "rising" else range(25, -1, -1)
        rows = [[text.count(chr(97 + n)) + 0.01 for n in order] for text in batch]
        return Vectors(self.space, normalise(np.array(rows)))

REVISION = {"rising": "1", "falling": "1"}

def describe(name):
    return lambda detail, options: Capabilities(
        space=Letters(name, REVISION[name]).space, summary="", modalities=Letters.modalities,
        native_dims={}, preprocessing="", licence="", source="",
    )

FAMILIES = {
    name: Family(
        form=name, describe=describe(name), check=lambda detail, options: None,
        load=lambda detail, options, name=name: Letters(name, REVISION[name]),
    )
    for name in ("rising", "falling")
}

if __name__ == "__main__":
    for name, family in FAMILIES.items():
        registry.register(name, family)
    Letters.seconds = float(sys.argv[1])
    live_as_a_job()
    sys.exit(main(sys.argv[2:]))
"""

WORDS = ["apple", "berry", "cherry", "damson", "elder", "fig", "grape", "hazel", "iris", "jasmine"]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is in MODULE, with its spaces known to this process."""
    script = tmp_path / "letters.py"
    script.write_text(MODULE)
    names: dict[str, Any] = {"__name__": "letters", "path": script}
    exec(compile(MODULE, str(script), "exec"), names)
    for name, family in names["FAMILIES"].items():
        monkeypatch.setitem(registry._FAMILIES, name, family)
    return names


@pytest.fixture
def opened(settings: Settings, module: dict[str, Any]) -> Iterator[Callable[..., Service]]:
    services: list[Service] = []

    def make(**about: Any) -> Service:
        services.append(Service(replace(settings, **about)))
        return services[-1]

    yield make
    for service in services:
        service.close()


@pytest.fixture
def service(opened: Callable[..., Service]) -> Service:
    service = opened(spaces=("rising", "falling"))
    service.create_collection("fruit", space="rising")
    service.add_items("fruit", [Upload(data=word.encode(), id=word) for word in WORDS])
    return service


def _find(service: Service, text: str) -> str:
    request = SearchRequest(terms=(Term(kind="text", value=text),), collection="fruit", k=1)
    [hit] = service.search(request).hits
    return str(hit.item.text)


def _until(so: Callable[[], Any]) -> Any:
    for _ in range(600):
        if found := so():
            return found
        time.sleep(0.05)
    raise AssertionError("it never came")


class Busy:
    """Threads that do things to the collection all the while, and what went wrong in them."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.faults: list[BaseException] = []
        self.written: list[str] = []
        self.over = threading.Event()
        works = (self._ask, self._ask, self._write)
        self.threads = [threading.Thread(target=self._repeat, args=[work]) for work in works]
        for thread in self.threads:
            thread.start()

    def _repeat(self, work: Callable[[], None]) -> None:
        try:
            while not self.over.is_set():
                work()
        except BaseException as fault:
            self.faults.append(fault)

    def _ask(self) -> None:
        assert _find(self.service, "cherry") == "cherry"

    def _write(self) -> None:
        name = f"new{len(self.written)}"
        data = f"{'kiwi ' * (len(self.written) + 1)}x{len(self.written)}".encode()
        [outcome] = self.service.add_items("fruit", [Upload(data=data, id=name)])
        assert outcome.error is None
        assert self.service.update_item("fruit", name, title=f"{name}!").title == f"{name}!"
        self.written.append(name)
        time.sleep(0.02)

    def stop(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()


def test_it_answers_and_takes_writes_at_every_moment(
    service: Service, opened: Callable[..., Service], module: dict[str, Any]
) -> None:
    """Another service migrates, there and back, while this one is asked and written to."""
    module["Letters"].seconds = 0.001
    other = opened()
    busy = Busy(service)
    try:
        for space in ("falling", "rising") * 3:
            assert other.migrate("fruit", space).switched
            count = len(busy.written)
            _until(lambda count=count: busy.faults or len(busy.written) > count)
    finally:
        busy.stop()
    assert busy.faults == []
    assert service.collection("fruit").counts["text"] == len(WORDS) + len(busy.written)
    for name in busy.written:
        assert service.item("fruit", name).title == f"{name}!"
        assert _find(service, str(service.item("fruit", name).text)).startswith("kiwi")


def test_killed_in_the_middle_it_goes_on(
    service: Service, module: dict[str, Any], client_of: Callable[[Service], Any]
) -> None:
    service.jobs.command = (
        sys.executable,
        str(module["path"]),
        "0.15",
        "--json",
        "--json-progress",
    )
    client = client_of(service)
    body = {"kind": "migrate", "collection": "fruit", "space": "falling"}
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202
    path = answer.headers["location"]
    job = _until(lambda: (job := client.get(path).json())["progress"] and job)
    assert job["progress"]["total"] == 10
    assert client.get("/v1/collections/fruit").json()["space"] == "rising"
    os.kill(job["pid"], signal.SIGKILL)  # the command ends itself, when nobody watches it
    _until(lambda: client.get(path).json()["state"] != "running")
    assert client.get(path).json()["state"] == "interrupted"
    assert _find(service, "grape") == "grape"
    assert client.get("/v1/collections/fruit").json()["space"] == "rising"

    client.post(f"{path}/resume")
    assert "event: progress" in client.get(f"{path}/events").text
    job = client.get(path).json()
    assert (job["state"], job["attempts"], job["failures"]) == ("done", 2, [])
    assert job["result"]["switched"] is True
    assert 0 < job["result"]["embedded"] < 10
    assert client.get("/v1/collections/fruit").json()["space"] == "falling"
    assert _find(service, "grape") == "grape"


def test_what_was_begun_can_be_given_up(
    service: Service, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(at: Progress) -> None:
        if at.done == 4:
            service.delete_item("fruit", "apple")  # whose bytes the migration still holds
            with pytest.raises(Conflict, match="being migrated already"):
                service.give_up_migration("fruit")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        service.migrate("fruit", "falling", progress=stop)
    words = ["--json", "collections", "migrate", "fruit", "--give-up"]
    assert main(["--home", str(settings.home), *words]) == 0
    assert json.loads(capsys.readouterr().out) == {"collection": "fruit", "space": "rising"}
    left = [path for path in (settings.home / "blobs").rglob("*") if path.is_file()]
    assert len(left) == len(WORDS) - 1
    assert service.migrate("fruit", "falling").embedded == len(WORDS) - 1


def _uploads(service: Service) -> int:
    blobs = service.settings.home / "blobs"
    return len([path for path in blobs.rglob("*") if path.is_file()])


@pytest.mark.parametrize("then", ["goes on", "is deleted"])
def test_what_was_deleted_between_two_attempts_leaves_no_bytes(service: Service, then: str) -> None:
    def stop(at: Progress) -> None:
        if at.done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        service.migrate("fruit", "falling", progress=stop)
    service.delete_item("fruit", "apple")
    assert _uploads(service) == len(WORDS)  # the half-done one holds it
    if then == "goes on":
        assert service.migrate("fruit", "falling").switched
        assert _uploads(service) == len(WORDS) - 1
    else:
        service.delete_collection("fruit")
        assert _uploads(service) == 0


def test_what_comes_meanwhile_and_cannot_be_read_is_not_lost(
    service: Service, opened: Callable[..., Service], module: dict[str, Any]
) -> None:
    """A picture, into a space that reads words only."""
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    load: Any = registry._FAMILIES["rising"].load

    def seeing(detail: str, options: LoadOptions) -> Any:
        space: Any = load(detail, options)
        space.modalities = frozenset({Modality.TEXT, Modality.IMAGE})
        space.prepare = lambda piece: piece.data if isinstance(piece.data, str) else "kiwi"
        return space

    registry._FAMILIES["rising"] = replace(registry._FAMILIES["rising"], load=seeing)
    writer = opened()

    def add(at: Progress) -> None:
        if at.done == 4:
            [outcome] = writer.add_items("fruit", [Upload(data=picture.getvalue(), id="new")])
            assert outcome.error is None

    with pytest.raises(UnsupportedModality, match="also holds 1 image"):
        service.migrate("fruit", "falling", progress=add)
    assert service.item("fruit", "new").modality is Modality.IMAGE
    assert service.collection("fruit").info.space.name == "rising"
    report = service.migrate("fruit", "falling", drop=True)
    assert (report.switched, report.embedded, report.left) == (True, 0, {Modality.IMAGE: 1})


def test_a_name_that_is_taken_meanwhile_is_told(service: Service) -> None:
    def take(at: Progress) -> None:
        if at.done == 4:
            service.create_collection("was", space="rising")

    with pytest.raises(Conflict, match="there is a collection 'was' already"):
        service.migrate("fruit", "falling", keep="was", progress=take)
    assert service.collection("fruit").info.space.name == "rising"
    assert service.migrate("fruit", "falling", keep="before").embedded == 0


def test_who_deletes_it_meanwhile_is_told_of_it_by_its_name(service: Service) -> None:
    def delete(at: Progress) -> None:
        if at.done == 4:
            service.delete_collection("fruit")

    with pytest.raises(NotFound, match="collection 'fruit' was deleted"):
        service.migrate("fruit", "falling", progress=delete)
    assert (service.collections(), _uploads(service)) == ([], 0)


def test_uploads_are_let_go_of_only_when_nobody_has_them(service: Service) -> None:
    blobs = service.settings.home / "blobs"
    service.migrate("fruit", "falling", keep="before")
    service.delete_collection("before")
    assert service.media("fruit", "fig").path.read_bytes() == b"fig"
    service.media("fruit", "fig").path.unlink()
    service.delete_item("fruit", "grape")
    assert len([path for path in blobs.rglob("*") if path.is_file()]) == len(WORDS) - 2
    assert service.migrate("fruit", "rising").switched  # the words of `fig` are known


def test_after_an_upgrade_the_message_names_the_way(
    service: Service,
    opened: Callable[..., Service],
    module: dict[str, Any],
    client_of: Callable[[Service], Any],
) -> None:
    module["REVISION"]["rising"] = "2"
    upgraded = opened()
    way_out = "crossbind collections migrate fruit --space rising"
    with pytest.raises(SpaceMismatch, match=way_out):
        _find(upgraded, "fig")
    client = client_of(upgraded)
    answer = client.post("/v1/collections/fruit/search", json={"query": "fig"})
    assert answer.status_code == 409
    assert way_out in answer.json()["error"]["message"]
    assert upgraded.migrate("fruit", "rising").switched
    assert _find(upgraded, "fig") == "fig"
    # One that has been running all the while loads what is there now.
    assert _find(service, "fig") == "fig"


def test_a_space_that_is_gone_can_be_left(
    service: Service, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    service.close()
    monkeypatch.delitem(registry._FAMILIES, "rising")
    assert (
        main(
            ["--home", str(settings.home), "collections", "migrate", "fruit", "--space", "falling"]
        )
        == 0
    )


def test_on_the_command_line(
    service: Service, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def crossbind(*words: str) -> tuple[int, str]:
        code = main(["--home", str(settings.home), *words])
        return code, capsys.readouterr().out

    library = tmp_path / "library"
    library.mkdir()
    for number in range(3):
        (library / f"{number}.txt").write_text(f"note {number}")
    service.ingest([library], collection="fruit")
    (library / "1.txt").write_bytes(b"\x89PNG\r\n\x1a\n")
    migrate = ("collections", "migrate", "fruit", "--space")
    assert crossbind(*migrate, "rising")[0] == 4
    assert crossbind(*migrate, "smell")[0] == 3
    code, out = crossbind("--json", "--json-progress", *migrate, "falling", "--keep", "was")
    report = json.loads(out)
    assert (code, report["switched"], report["items"], report["changed"]) == (0, True, 13, 0)
    assert report["failures"] == report["recall"] == []
    names = [
        one["name"] for one in json.loads(crossbind("--json", "collections")[1])["collections"]
    ]
    assert names == ["fruit", "was"]
    code, out = crossbind(*migrate, "rising")
    assert code == 0
    assert "'fruit' is in space rising@" in out
    assert service.jobs.latest(state=JobState.DONE) == []
