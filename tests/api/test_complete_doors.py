"""What a record lacks, asked for over REST: of items, of media, of a whole collection."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from api import answers_ask
from api.arguments import parse
from api.config import Settings
from api.job_kinds import KINDS
from api.requests import Term, Upload
from api.requests_ask import AskRequest
from api.service import Service
from embed.errors import Forbidden

COMPLETE = "/v1/collections/default/complete"
NEAR = {f"a tint of {degrees} degrees" for degrees in range(102, 144, 6)}


def green() -> bytes:
    png = io.BytesIO()
    Image.new("RGB", (9, 9), (0, 255, 0)).save(png, "PNG")
    return png.getvalue()


@pytest.fixture
def settings(tinted: Path, tmp_path: Path) -> Settings:
    return Settings(home=tinted, cache=tmp_path / "cache", threads=1)


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    """60 tints with their words, and one without."""
    service = Service(settings)
    [outcome] = service.add_items("default", [Upload(data=green(), id="bare")])
    assert outcome.error is None
    yield service
    service.close()


@pytest.fixture
def client(service: Service, client_of: Callable[[Service], Any]) -> Any:
    return client_of(service)


def completed(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    answers_ask.ReportAnswer.model_validate_json(answer.content)
    told: dict[str, Any] = answer.json()
    return told


def test_an_item_and_a_medium_from_outside(client: Any) -> None:
    of_item = completed(client.post(COMPLETE, json={"item": "bare"}))
    data = base64.b64encode(green()).decode()
    outside = completed(client.post(COMPLETE, json={"image": data, "missing": ["text"]}))
    for told, record in ((of_item, "bare"), (outside, None)):
        [supposed] = told["completions"]
        assert (supposed["record"], supposed["modality"]) == (record, "text")
        assert supposed["value"] in NEAR
        assert (supposed["origin"], supposed["method"]) == ("retrieved", "best")
        item = client.get(f"/v1/collections/default/items/{supposed['sources'][0]['item']}")
        assert item.json()["text"] in NEAR
        assert told["fitted"] is True
        assert 0.5 <= supposed["p"] <= 1


def test_what_lacks_nothing_is_told_so(client: Any) -> None:
    listed = client.get("/v1/collections/default/items?modality=text&limit=1").json()["items"]
    told = completed(client.post(COMPLETE, json={"item": listed[0]["id"]}))
    assert (told["completions"], told["abstained"]) == ([], False)
    assert "all that collection 'default' holds" in told["reason"]


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({}, 422, "/v1/jobs"),
    ({"item": "bare", "text": "a tint"}, 422, "either item or media"),
    ({"item": "bare", "missing": ["smell"]}, 422, "'text', 'image', 'audio' or 'video'"),
    ({"item": "bare", "k": 101}, 422, "k is 101"),
    ({"item": "bare", "top": 1}, 422, "known ones are: item, text"),
    ({"item": "nobody"}, 404, "nobody"),
    ({"item": "bare", "missing": ["image"]}, 400, "image"),
    ({"image": "https://x.example/a.png"}, 403, "not enabled"),
    ({"item": "bare", "method": "synthesis", "generator": "hf:a/b"}, 403, "not open"),
]


def test_what_is_refused(client: Any) -> None:
    for body, status, told in REFUSED:
        answer = client.post(COMPLETE, json=body)
        assert answer.status_code == status, answer.text
        assert told in answer.json()["error"]["message"]


def test_all_of_a_collection_and_again_only_what_is_new(service: Service) -> None:
    first = service.asking.complete_all("default")
    assert (first.records, first.completed, first.fresh) == (1, 1, 0)
    again = service.asking.complete_all("default")
    assert (again.records, again.fresh) == (1, 1)


def test_the_job_is_a_command_line_that_there_is() -> None:
    body = {"kind": "complete", "collection": "-x", "missing": ["text", "audio"], "method": "mean"}
    job = KINDS["complete"].model_validate(body)
    assert job.guarded is None
    parsed = parse(job.words())
    assert (parsed.command, parsed.all, parsed.collection) == ("complete", True, "-x")
    assert (parsed.method, parsed.missing) == ("mean", "text,audio")
    assert parse(KINDS["complete"].model_validate({"kind": "complete"}).words()).missing is None


def test_a_library_that_is_only_read_answers_and_keeps_nothing(
    service: Service, settings: Settings
) -> None:
    service.close()
    reading = Service(Settings(home=settings.home, cache=settings.cache, threads=1, read_only=True))
    asked = AskRequest(terms=(Term(kind="text", value="a tint of 120 degrees"),))
    assert reading.asking.answer(asked).evidence
    with pytest.raises(Forbidden, match="no session is kept"):
        reading.asking.answer(AskRequest(terms=asked.terms, session="s1"))
    reading.close()
