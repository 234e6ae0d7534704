"""Searches that say how probable their hits are, through every door.

A space of tints, where texts lie near texts, whatever they say, and pictures far from them.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping
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
from embed.calibration import Calibration, Calibrations, Curve, Fit, Pair
from embed.errors import InvalidQuery
from embed.types import Modality, Space

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE
PAIRS = {
    Pair(TEXT, TEXT): Curve(5000.0, -4999.5),  # one half at .9999
    Pair(TEXT, IMAGE): Curve(1000.0, -187.0),  # one half at .187
    Pair(IMAGE, TEXT): Curve(60.0, -10.0),
    Pair(IMAGE, IMAGE, native=True): Curve(60.0, -50.0),
}


def calibrate(space: Space, home: Path, curves: Mapping[Pair, Curve]) -> None:
    fits = {
        pair: Fit(curve=curve, count=100, positives=50, auroc=0.9) for pair, curve in curves.items()
    }
    Calibrations(home / "calibrations").keep(Calibration(space.id, fits), space)


@pytest.fixture
def service(tinted: Path) -> Iterator[Service]:
    service = Service(Settings(home=tinted, cache=tinted / "cache", threads=1))
    yield service
    service.close()


def best(service: Service, *terms: Term, **rest: Any) -> list[tuple[str | None, float | None]]:
    hits = service.search(SearchRequest(terms=terms, k=4, **rest)).hits
    return [(hit.item.title, hit.probability) for hit in hits]


def text(words: str, **rest: Any) -> Term:
    return Term(kind="text", value=words, **rest)


def test_a_mixed_gallery_is_ranked_by_probability_once_there_is_a_calibration(
    service: Service, tinted: Path, tint_space: Space
) -> None:
    """62 lies between 60 and 66, whose captions are as near to it as words always are."""
    first = best(service, text("62"))
    assert [title for title, _ in first][:2] == ["60.txt", "60.png"]
    assert {p for _, p in first} == {None}
    calibrate(tint_space, tinted, PAIRS)  # a service that runs sees it
    found = best(service, text("62"))
    assert [title for title, _ in found][:2] == ["60.png", "66.png"]
    told = [p for _, p in found if p is not None]
    assert len(told) == 4
    assert told == sorted(told, reverse=True)


def test_a_query_that_is_no_single_medium_is_ranked_as_before(
    service: Service, tinted: Path, tint_space: Space
) -> None:
    calibrate(tint_space, tinted, PAIRS)
    assert best(service, text("60", weight=2.0))[0][1] is not None
    for terms in (
        (text("60"), text("66")),
        (text("60", weight=-1.0),),
        (Term(kind="vector", value=np.ones(6, np.float32)),),
    ):
        found = best(service, *terms)
        assert {p for _, p in found} == {None}
        with pytest.raises(InvalidQuery, match="a query of one medium"):
            best(service, *terms, min_probability=0.5)


def test_pictures_among_pictures_have_a_curve_of_their_own(
    service: Service, tinted: Path, tint_space: Space
) -> None:
    calibrate(tint_space, tinted, PAIRS)
    items, _ = service.items("default", modality=IMAGE, limit=1)
    asked = Term(kind="item", value=items[0].id)
    found = service.search(SearchRequest(terms=(asked,), modalities=frozenset({IMAGE}), k=1)).hits
    curve = PAIRS[Pair(IMAGE, IMAGE, native=True)]
    assert found[0].probability == pytest.approx(curve(float(found[0].score or 0)))
    mixed = best(service, asked)
    assert None not in {p for _, p in mixed}


def test_improbable_hits_are_dropped_and_a_missing_calibration_is_told(
    service: Service, tinted: Path, tint_space: Space
) -> None:
    with pytest.raises(InvalidQuery, match="from text to image, text: crossbind calibrate"):
        best(service, text("60"), min_probability=0.5)
    calibrate(tint_space, tinted, {Pair(TEXT, IMAGE): PAIRS[Pair(TEXT, IMAGE)]})
    with pytest.raises(InvalidQuery, match="from text to text"):
        best(service, text("60"), min_probability=0.5)
    pictures = frozenset({IMAGE})
    every = best(service, text("60"), modalities=pictures, min_probability=0.0)
    some = best(service, text("60"), modalities=pictures, min_probability=0.7)
    assert len(every) == 4
    assert 0 < len(some) < 4
    assert some == every[: len(some)]
    assert best(service, text("60"), modalities=pictures, min_probability=1.0) == []


def test_rest_ranks_so_too_and_takes_min_probability(
    service: Service, tinted: Path, tint_space: Space
) -> None:
    calibrate(tint_space, tinted, PAIRS)
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 0, 0)).save(out, "PNG")
    picture = base64.b64encode(out.getvalue()).decode()
    url = "/v1/collections/default/search"
    with TestClient(create_app(service), base_url="http://localhost") as client:

        def hits(**body: Any) -> list[dict[str, Any]]:
            answer = client.post(url, json=body)
            assert answer.status_code == 200, answer.text
            found: list[dict[str, Any]] = answer.json()["hits"]
            return found

        found = hits(query="62", k=4)
        assert [hit["modality"] for hit in found][:2] == ["image", "image"]
        assert all(hit["rank_score"] == hit["probability"] for hit in found)
        assert all(hit["probability"] > 0.6 for hit in hits(query="62", min_probability=0.6))
        assert hits(query={"image": picture}, k=1)[0]["title"] == "0.png"
        for bad in (1.5, -0.1, "half"):
            assert client.post(url, json={"query": "60", "min_probability": bad}).status_code == 422
        mixed = {"query": ["60", "66"], "min_probability": 0.5}
        answer = client.post(url, json=mixed)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "min_probability"


def test_the_command_line_takes_it_and_shows_percentages(
    tinted: Path, tint_space: Space, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    calibrate(tint_space, tinted, PAIRS)
    words = ["--home", str(tinted), "search", "62"]
    assert main([*words, "--min-probability", "0.6", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["hits"]
    assert 0 < len(found) < 10
    assert main([*words, "-k", "1"]) == 0
    assert f"{found[0]['probability']:.1%}" in capsys.readouterr().out
    assert main([*words, "--min-probability", "60"]) == 2
    assert "'60' is not a number between 0 and 1" in capsys.readouterr().err
    lines = tmp_path / "lines.txt"
    lines.write_text('62\n{"query": "62", "min_probability": 0.0, "k": 1000}\n')
    many = ["--home", str(tinted), "search", "--min-probability", "0.6", "--queries", str(lines)]
    assert main(many) == 0
    strict, all_of_them = map(json.loads, capsys.readouterr().out.splitlines())
    assert len(strict["hits"]) == len(found)
    assert len(all_of_them["hits"]) > len(found)
