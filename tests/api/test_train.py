"""Training through the doors: from a collection, into a space, and the collection into that."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from api.cli import main
from api.config import Settings
from api.requests import SearchRequest, Term, Upload
from api.service import Service
from api.training import CollectionSource, Neighbours
from embed import registry
from embed.errors import BadInput, NotFound
from embed.registry import Capabilities, Family, LoadOptions
from embed.types import Batching, Media, Modality, Space, Span, Vectors, normalise

# Words that a network can learn from pictures in a moment: eight tints, three patterns.
TINTS = {
    "red": (220, 30, 30),
    "green": (30, 200, 30),
    "blue": (30, 30, 220),
    "yellow": (220, 220, 30),
    "purple": (200, 30, 200),
    "cyan": (30, 210, 210),
    "white": (240, 240, 240),
    "grey": (90, 90, 90),
}
PATTERNS = ("plain", "striped", "split")

TOML = """
[run]
out = "{out}"
steps = {steps}
batch = 24
held_out = 0
log_every = 2
eval_every = 1000
save_every = 20
augment = false

[data]
{data}

[model]
dim = 32
[model.image]
network = "convnet"
side = 16
width = 12
[model.text]
network = "words"
width = 32
depth = 1
heads = 2
tokens = 16

[optimiser]
lr = 0.003
warmup = 10
"""


class Blind:
    """A vector made up for every picture and text."""

    space = Space(name="blind", revision="1", preprocessing="1", precision="fp32", dim=16)
    modalities = frozenset({Modality.TEXT, Modality.IMAGE})
    chunker = "whole"
    batching = Batching(workers=1, max_batch=16)
    image_side = 16

    def fragment(self, media: Media) -> Iterator[tuple[Span | None, Media]]:
        yield None, media

    def count_tokens(self, text: str) -> int:
        return 0

    def warm(self) -> None:
        pass

    def prepare(self, piece: Media) -> list[int]:
        data = piece.data.encode() if isinstance(piece.data, str) else np.asarray(piece.data)
        return list(bytes(data)[:600:7])

    def run(self, modality: Modality, batch: Sequence[list[int]]) -> Vectors:
        rows = [np.random.default_rng([7, *one]).standard_normal(16) for one in batch]
        return Vectors(self.space, normalise(np.stack(rows)))


def _capabilities(_: str, __: LoadOptions) -> Capabilities:
    return Capabilities(
        space=Blind.space,
        summary="",
        modalities=Blind.modalities,
        native_dims={},
        preprocessing="",
        licence="",
        source="",
    )


def _draw(tint: str, pattern: str) -> Image.Image:
    pixels = np.full((16, 16, 3), TINTS[tint], np.uint8)
    if pattern == "striped":
        pixels[::4] = 0
    if pattern == "split":
        pixels[:, :8] = 0
    return Image.fromarray(pixels)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """24 pictures, each with a caption beside it, and a text that belongs to none."""
    folder = tmp_path / "library"
    folder.mkdir()
    for tint in TINTS:
        for pattern in PATTERNS:
            _draw(tint, pattern).save(folder / f"{tint}-{pattern}.png")
            (folder / f"{tint}-{pattern}.txt").write_text(f"{pattern} {tint}")
    (folder / "alone.txt").write_text("about nothing")
    return folder


@pytest.fixture
def service(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, library: Path
) -> Iterator[Service]:
    family = Family(
        form="blind",
        describe=_capabilities,
        check=lambda _, __: None,
        load=lambda _, __: Blind(),
    )
    monkeypatch.setitem(registry._FAMILIES, "blind", family)
    service = Service(settings)
    service.create_collection("shapes", space="blind")
    service.ingest([library], collection="shapes")
    yield service
    service.close()


def _source(service: Service, **about: Any) -> CollectionSource:
    collection = service._shelves.open("shapes")
    return CollectionSource(collection=collection, blobs=service._blobs, **about)


def _text(words: str) -> Upload:
    return Upload(data=words.encode(), name=f"{words}.txt")


# The source


def test_records_are_what_belongs_together(service: Service, library: Path) -> None:
    source = _source(service)
    assert len(source) == 24
    number = next(n for n in range(24) if source[n].media[Modality.TEXT][0].data == "striped blue")
    record = source[number]
    assert record.id == source.id(number)
    [picture] = record.media[Modality.IMAGE]
    np.testing.assert_array_equal(picture.data, np.asarray(_draw("blue", "striped")))
    assert source.failures == []


def test_uploads_of_one_record_and_several_captions(service: Service, red: bytes) -> None:
    words = [replace(_text(text), record="r") for text in ("one", "another")]
    picture = Upload(data=red, name="red.png", record="r")
    outcomes = service.add_items("shapes", [picture, *words])
    assert [outcome.error for outcome in outcomes] == [None] * 3
    source = _source(service)
    assert len(source) == 25
    record = source[24]
    assert record.id == "r"
    assert [medium.data for medium in record.media[Modality.TEXT]] == ["one", "another"]
    assert record.media[Modality.IMAGE][0].data.shape == (20, 40, 3)


def test_workers_get_it_without_the_catalog(service: Service) -> None:
    source = _source(service)
    copy = pickle.loads(pickle.dumps(source))
    assert [copy.id(n) for n in range(24)] == [source.id(n) for n in range(24)]
    assert copy[3].media[Modality.TEXT][0].data == source[3].media[Modality.TEXT][0].data


def test_originals_that_are_gone_are_told(service: Service, library: Path, red: bytes) -> None:
    lost = Upload(data=red, name="red.png", record="r", id="p")
    service.add_items("shapes", [lost, replace(_text("gone"), record="r")])
    service.media("shapes", "p").path.unlink()
    (library / "red-plain.png").unlink()
    source = _source(service)
    assert len(source) == 24
    assert len(source.failures) == 1
    assert "upload them again" in source.failures[0]
    number = next(n for n in range(24) if "red-plain" in str(source._records[n].files))
    with pytest.raises(NotFound, match=r"red-plain\.png"):
        source[number]


def test_a_collection_without_pairs_teaches_nothing(service: Service) -> None:
    service.create_collection("words", space="blind")
    service.add_items("words", [_text("alone")])
    with pytest.raises(BadInput, match=r"'words' has no record with several modalities.*photo.txt"):
        CollectionSource(collection=service._shelves.open("words"), blobs=service._blobs)
    with pytest.raises(BadInput, match="at least two"):
        _source(service, modalities=("text",))


def test_neighbours_are_near_and_neither_the_same_nor_equal(service: Service, red: bytes) -> None:
    uploads = [Upload(data=red, name="a.png", record=name) for name in ("a", "b")]
    service.add_items("shapes", uploads)
    service.add_items("shapes", [replace(_text(f"red {name}"), record=name) for name in ("a", "b")])
    source = _source(service)
    ids = [source.id(number) for number in range(len(source))]
    found = Neighbours(service._shelves.open("shapes")).neighbours(ids, 5)
    assert [len(near) for near in found] == [5] * 26
    for record, near in zip(ids, found, strict=True):
        assert record not in near
        assert len(set(near)) == 5
    assert "b" not in found[ids.index("a")]
    assert "a" not in found[ids.index("b")]


# The doors


def _config(tmp_path: Path, data: str, steps: int = 60) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(TOML.format(out=tmp_path / "run", data=data, steps=steps))
    return path


def test_search_train_reindex_is_one_loop(
    service: Service, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = _config(tmp_path, 'kind = "scenes"\ncount = 40')  # which --collection replaces

    def crossbind(*words: str) -> tuple[int, str]:
        code = main(["--home", str(settings.home), "--quiet", *words])
        return code, capsys.readouterr().out

    code, out = crossbind("--json", "train", str(config), "--collection", "shapes")
    assert code == 0
    summary = json.loads(out)
    assert summary["steps"] == 60
    assert summary["space"] == f"trained:{tmp_path / 'run' / 'space'}"

    migrate = ("collections", "migrate", "shapes", "--space", summary["space"])
    code, out = crossbind("--json", *migrate)
    assert code == 0
    report = json.loads(out)
    assert report["switched"]
    [recall] = [r for r in report["recall"] if (r["asked"], r["found"]) == ("text", "image")]
    assert recall["questions"] == 24
    assert recall["recall@1"]["before"] < 0.2
    assert recall["recall@1"]["after"] > 0.8
    assert recall["recall@1"]["difference_95"][0] > 0.5
    request = SearchRequest(
        terms=(Term(kind="text", value="striped yellow"),),
        collection="shapes",
        k=1,
        modalities=frozenset({Modality.IMAGE}),
    )
    [hit] = service.search(request).hits
    assert hit.item.title == "yellow-striped.png"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ('kind = "collection"\nname = "nothing"', "'nothing'"),
        ('kind = "collection"', "name is None"),
        ('kind = "collection"\nname = "shapes"\ncount = 3', "no key 'count'"),
        ('kind = "paintings"', "'paintings'"),
    ],
)
def test_a_config_that_makes_no_sense(
    service: Service, tmp_path: Path, data: str, told: str
) -> None:
    with pytest.raises((BadInput, NotFound), match=told):
        service.train(_config(tmp_path, data), print)
    with pytest.raises(NotFound, match="nowhere"):
        service.train(tmp_path / "nowhere.toml", print)


def test_a_run_over_rest_cancelled_and_gone_on_with(
    settings: Settings, tmp_path: Path, client_of: Callable[[Service], Any]
) -> None:
    service = Service(replace(settings, jobs=True))
    client = client_of(service)
    config = _config(tmp_path, 'kind = "scenes"\ncount = 60\nmodalities = ["image", "text"]', 120)
    answer = client.post("/v1/jobs", json={"kind": "train", "config": str(config)})
    assert answer.status_code == 202
    path = answer.headers["location"]
    for _ in range(1200):
        job = client.get(path).json()
        if job["state"] != "running" or (job["progress"] or {}).get("done", 0) > 20:
            break
        time.sleep(0.05)
    assert job["progress"]["phase"] == "training", job
    assert job["progress"]["total"] == 120
    assert job["progress"]["loss"] > 0
    assert job["progress"]["seconds_left"] > 0
    client.post(f"{path}/cancel")
    assert '"state": "cancelled"' in client.get(f"{path}/events").text
    assert client.post(f"{path}/resume").json()["state"] in {"queued", "running"}
    stream = client.get(f"{path}/events").text
    assert "event: progress" in stream
    job = client.get(path).json()
    assert (job["state"], job["attempts"]) == ("done", 2), job
    assert 20 <= job["result"]["resumed_from"] < 120
    assert job["result"]["space"] == f"trained:{tmp_path / 'run' / 'space'}"
    service.close()
