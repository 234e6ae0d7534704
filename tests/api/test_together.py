"""Media of a query read as one: only by a space that can, and never by adding vectors instead."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from api.app import create_app
from api.cli import main
from api.config import Settings
from api.requests import SearchRequest, Term
from api.service import Service
from embed import registry
from embed.backends.joint import JointEncoder, JointTower
from embed.backends.tower import ImageEncoder, Rows, TextEncoder, pixels_of, text_of
from embed.registry import Capabilities, Family, LoadOptions
from embed.types import CharSpan, Floats, Media, Modality, Space

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE
SPACE = Space(name="pair", revision="1", preprocessing="1", precision="fp32", dim=3)
APART = Space(name="pair#apart", revision="1", preprocessing="1", precision="fp32", dim=3)
AXES = {"sea": 0, "boat": 1, "regatta": 2}


class Read(TextEncoder[Floats]):
    """One axis for each word; of long texts each line."""

    def prepare(self, piece: Media) -> Floats:
        return np.array([0.01 + text_of(piece).count(word) for word in AXES], np.float32)

    def run(self, batch: Sequence[Floats]) -> Rows:
        return Rows(np.stack(batch))

    def spans(self, text: str) -> Iterator[CharSpan | None]:
        if "\n" not in text:
            yield None
        else:
            middle = text.index("\n")
            yield from (CharSpan(0, middle), CharSpan(middle + 1, len(text)))

    def count_tokens(self, text: str) -> int:
        return len(text.split())


class See(ImageEncoder[Floats]):
    """A blue picture is the sea."""

    def prepare(self, piece: Media) -> Floats:
        return np.array([pixels_of(piece)[..., 2].mean(), 1, 1], np.float32)

    def run(self, batch: Sequence[Floats]) -> Rows:
        return Rows(np.stack(batch))


class Both(JointEncoder):
    """A boat on the sea is a regatta, which is neither."""

    def run(self, pieces: Mapping[Modality, Media]) -> Rows:
        sea, boat = pixels_of(pieces[IMAGE])[..., 2].mean(), text_of(pieces[TEXT]).count("boat")
        return Rows(np.array([[0.01, 0.01, sea * boat]], np.float32))


def pair(space: Space) -> JointTower:
    return JointTower(
        SPACE,
        {TEXT: Read, IMAGE: See},
        joints={frozenset({TEXT, IMAGE}): lambda: Both(space)},
        chunker="1",
        image_side=8,
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", cache=tmp_path / "cache", threads=1, spaces=("pair",))


def describe(_: str, __: LoadOptions) -> Capabilities:
    return Capabilities(
        space=SPACE,
        summary="for tests",
        modalities=frozenset({TEXT, IMAGE}),
        native_dims={},
        preprocessing="none",
        licence="none",
        source="none",
    )


def family(space: Space) -> Family:
    return Family(
        form="pair", describe=describe, check=lambda _, __: None, load=lambda _, __: pair(space)
    )


@pytest.fixture
def sea(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A picture of it; the library of three words is indexed."""
    monkeypatch.setitem(registry._FAMILIES, "pair", family(SPACE))
    monkeypatch.setenv("CROSSBIND_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CROSSBIND_CACHE", str(tmp_path / "cache"))
    words = tmp_path / "words"
    words.mkdir()
    for word in AXES:
        (words / f"{word}.txt").write_text(word)
    assert main(["--quiet", "ingest", str(words), "--space", "pair"]) == 0
    out = io.BytesIO()
    Image.new("RGB", (16, 16), (0, 0, 250)).save(out, "PNG")
    path = tmp_path / "sea.png"
    path.write_bytes(out.getvalue())
    return path


def test_a_picture_and_words_read_together_find_what_neither_does(
    sea: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def best(*more: str) -> str:
        capsys.readouterr()
        assert main(["--json", "--quiet", "search", "boat", "--image", str(sea), *more]) == 0
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return str(document["hits"][0]["title"])

    assert best() in ("sea.txt", "boat.txt")
    assert best("--together") == "regatta.txt"


def test_each_search_of_a_batch_is_read_as_it_asks(sea: Path, settings: Settings) -> None:
    terms = (Term(kind="text", value="boat"), Term(kind="image", value=sea))
    service = Service(settings)
    asked = [SearchRequest(terms=terms, k=1, together=together) for together in (False, True) * 2]
    titles = [answer.hits[0].item.title for answer in service.search_many(asked)]
    service.close()
    assert titles[0] == titles[2] != "regatta.txt"
    assert titles[1] == titles[3] == "regatta.txt"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["boat", "--together"], "one of each, not text"),
        (["boat\nboat", "--image", "SEA", "--together"], "falls into 2 pieces"),
        (["boat", "--image", "SEA", "--weights", "1,2", "--together"], "without weights"),
        (["boat", "--image", "SEA", "--image", "SEA", "--together"], "one of each"),
    ],
)
def test_what_cannot_be_read_together_is_refused(
    sea: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    given = [str(sea) if word == "SEA" else word for word in words]
    assert main(["--quiet", "search", *given]) == 4
    assert told in capsys.readouterr().err


def test_rest_reads_together_too_and_says_where_it_cannot(
    sea: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    import base64

    picture = base64.b64encode(sea.read_bytes()).decode()
    body = {"query": [{"text": "boat"}, {"image": picture}], "together": True}
    service = Service(settings)
    with TestClient(create_app(service), base_url="http://localhost") as client:
        found = client.post("/v1/collections/default/search", json=body)
        assert found.status_code == 200, found.text
        assert found.json()["hits"][0]["title"] == "regatta.txt"
    service.close()
    monkeypatch.setitem(registry._FAMILIES, "pair", family(APART))
    service = Service(settings)
    with TestClient(create_app(service), base_url="http://localhost") as client:
        found = client.post("/v1/collections/default/search", json=body)
        assert found.status_code == 400
        assert "'pair#apart', which no collection holds" in found.json()["error"]["message"]
    service.close()
