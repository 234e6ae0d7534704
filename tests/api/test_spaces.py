"""Which spaces clients may name, and what is told of one before it is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from api import answers
from api.arguments import parse
from api.cli import main
from api.commands import run
from api.config import Settings, load_settings
from api.service import Service
from embed import registry
from embed.backends.tower import Rows, TextEncoder, Tower
from embed.errors import BadInput, MissingWeights, NotFound
from embed.registry import Capabilities, Family, LoadOptions
from embed.types import Media, Modality, Space

WAY_OUT = "the weights are missing: download them to /weights"


class Constant(TextEncoder[int]):
    def prepare(self, piece: Media) -> int:
        return len(str(piece.data))

    def run(self, batch: Any) -> Rows:
        return Rows(np.ones((len(batch), 2), np.float32))

    def spans(self, text: str) -> Iterator[None]:
        yield None

    def count_tokens(self, text: str) -> int:
        return 1


class Shelves:
    """The family `shelf:NAME`, and everything it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.options: LoadOptions | None = None
        self.gone: set[str] = set()
        self.empty: set[str] = set()
        self.family = Family(
            form="shelf:NAME", describe=self.describe, check=self.check, load=self.load
        )

    def describe(self, detail: str, options: LoadOptions) -> Capabilities:
        self.asked.append(("describe", detail))
        if detail in self.gone:
            raise MissingWeights(WAY_OUT)
        return Capabilities(
            space=self._space(detail),
            summary=f"the shelf {detail}",
            modalities=frozenset({Modality.TEXT}),
            native_dims={Modality.TEXT: 7},
            preprocessing="words counted",
            licence="MIT",
            source="this test",
        )

    def check(self, detail: str, options: LoadOptions) -> None:
        self.asked.append(("check", detail))
        if detail in self.empty:
            raise MissingWeights(WAY_OUT)

    def load(self, detail: str, options: LoadOptions) -> Tower:
        self.asked.append(("load", detail))
        self.options = options
        return Tower(self._space(detail), {Modality.TEXT: Constant}, chunker="1", image_side=1)

    def _space(self, detail: str) -> Space:
        name = f"shelf:{detail}"
        return Space(name=name, revision="1", preprocessing="1", precision="bf16", dim=2)


@pytest.fixture
def shelves(monkeypatch: pytest.MonkeyPatch) -> Shelves:
    shelves = Shelves()
    monkeypatch.setitem(registry._FAMILIES, "shelf", shelves.family)
    return shelves


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path / "home",
        cache=tmp_path / "cache",
        threads=1,
        offline=True,
        spaces=("shelf:open",),
    )


@pytest.fixture
def service(settings: Settings, shelves: Shelves) -> Iterator[Service]:
    service = Service(settings)
    yield service
    service.close()


@pytest.fixture
def http(service: Service, client_of: Callable[[Service], Any]) -> Any:
    return client_of(service)


# Over REST


def attempts(name: str) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        ("PUT", "/v1/collections/c", {"json": {"space": name}}),
        ("POST", "/v1/embeddings", {"json": {"model": name, "input": "a"}}),
        ("GET", f"/v1/models/{quote(name, safe='')}", {}),
    ]


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("shelf:secret", 403, "forbidden"),
        ("shelf:../../etc", 403, "forbidden"),
        ("shelf:open2", 403, "forbidden"),
        ("hf:somebody/something-huge", 403, "forbidden"),
        ("onnx:/etc", 403, "forbidden"),
        ("gpt-4", 404, "not_found"),
    ],
)
def test_a_stranger_names_no_space_that_was_not_opened(
    http: Any, shelves: Shelves, name: str, status: int, code: str
) -> None:
    for method, path, about in attempts(name):
        answer = http.request(method, path, **about)
        error = answers.ErrorAnswer.model_validate_json(answer.content).error
        assert (answer.status_code, error.code) == (status, code), path
        assert "builtin, shelf:open" in error.message
    assert shelves.asked == []  # nobody looked at a path, and nothing was fetched


def test_what_the_operator_opened_can_be_named(http: Any, shelves: Shelves) -> None:
    made, embedded, model = [
        http.request(method, path, **about) for method, path, about in attempts("shelf:open")
    ]
    assert made.status_code == 201
    assert len(embedded.json()["data"][0]["embedding"]) == 2
    assert answers.ModelAnswer.model_validate_json(model.content).state == "loaded"
    assert shelves.options is not None
    assert shelves.options.offline


def test_the_space_of_a_collection_can_be_named(
    http: Any, service: Service, shelves: Shelves
) -> None:
    assert http.get("/v1/models/shelf:mine").status_code == 403
    service.create_collection("c", space="shelf:mine")  # as the command line does
    assert http.get("/v1/models/shelf:mine").status_code == 200
    listed = answers.ModelList.model_validate_json(http.get("/v1/models").content)
    names = ["builtin", "shelf:mine", "shelf:open", "extractive"]  # generators come behind
    assert [model.id for model in listed.data] == names


def test_a_space_is_described_once(http: Any, shelves: Shelves) -> None:
    for _ in range(3):
        assert http.get("/v1/models").status_code == 200
    assert shelves.asked.count(("describe", "open")) == 1


def test_a_space_that_cannot_be_described_does_not_break_the_list(
    http: Any, shelves: Shelves
) -> None:
    shelves.gone.add("open")
    listed = answers.ModelList.model_validate_json(http.get("/v1/models").content)
    by_id = {one.id: one for one in listed.data if isinstance(one, answers.ModelAnswer)}
    assert by_id["builtin"].dim == 384
    assert (by_id["shelf:open"].state, by_id["shelf:open"].missing) == ("missing", WAY_OUT)
    assert by_id["shelf:open"].dim is None
    answer = http.get("/v1/models/shelf:open")
    assert (answer.status_code, answer.json()["error"]["message"]) == (503, WAY_OUT)
    shelves.gone.clear()
    assert http.get("/v1/models/shelf:open").json()["dim"] == 2  # a failure is not remembered


# On the command line


@pytest.fixture
def told(
    service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    monkeypatch.setattr(service, "close", lambda: None)
    monkeypatch.setenv("COLUMNS", "160")

    def run_words(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        code = main(list(words), make_service=lambda _: service)
        return code, capsys.readouterr().out

    return run_words


def test_any_space_is_described_before_it_is_loaded(
    told: Callable[..., tuple[int, str]], shelves: Shelves
) -> None:
    shelves.empty.add("mine")
    code, out = told("models", "shelf:mine")
    assert code == 0
    for word in ("shelf:mine", "missing", "text", "2; of its own: 7 for text", "bf16", "MIT"):
        assert word in out
    assert "words counted" in out
    assert WAY_OUT in out
    code, out = told("--json", "models", "shelf:mine")
    model = answers.ModelAnswer.model_validate_json(out)
    assert (model.id, model.precision, model.missing) == ("shelf:mine", "bf16", WAY_OUT)
    assert ("load", "mine") not in shelves.asked
    shelves.gone.add("other")
    code, out = told("--json", "models", "shelf:other")
    assert (code, json.loads(out)["error"]["message"]) == (5, WAY_OUT)
    assert told("models", "nothing:at-all")[0] == 3


def test_the_list_shows_what_is_used_and_how_others_are_named(
    told: Callable[..., tuple[int, str]], service: Service
) -> None:
    service.create_collection("c", space="shelf:mine")
    code, out = told("models")
    assert code == 0
    for word in ("builtin", "shelf:mine", "shelf:open", "shelf:NAME", "hf:OWNER/NAME"):
        assert word in out
    document = json.loads(told("--json", "models")[1])
    assert "shelf:NAME" in document["forms"]
    assert {"builtin", "shelf:mine"} <= {model["id"] for model in document["models"]}


def test_serve_opens_spaces_beside_those_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CROSSBIND_SPACES", "shelf:a, shelf:b")
    monkeypatch.setenv("CROSSBIND_HOME", str(tmp_path))
    seen: list[Settings] = []

    def make(settings: Settings) -> Service:
        seen.append(settings)
        raise NotFound("enough")

    with pytest.raises(NotFound):
        run(parse(["serve", "--space", "hf:x/y,z", "--space", "shelf:c"]), make)
    assert seen[0].spaces == ("shelf:a", "shelf:b", "hf:x/y,z", "shelf:c")


# Settings


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1", True), ("true", True), ("YES", True), ("", False), ("0", False), ("no", False)],
)
def test_offline_is_a_switch(tmp_path: Path, value: str, expected: bool) -> None:
    assert load_settings(tmp_path, {"CROSSBIND_OFFLINE": value}).offline is expected


def test_a_switch_that_is_neither_on_nor_off_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"CROSSBIND_OFFLINE is 'maybe'; 1 \(on\) or 0 \(off\)"):
        load_settings(tmp_path, {"CROSSBIND_OFFLINE": "maybe"})
    assert load_settings(tmp_path, {}).offline is False
    assert load_settings(tmp_path, {"CROSSBIND_SPACES": "a,b"}).spaces == ("a", "b")
