"""The demo, run whole on the real built-in space: it is what a new user meets first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from api import demo
from api.cli import main

ROOT = Path(__file__).parents[2]

EXPECTED = [
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
    "china.jpg",
    "motorcycle_left.png",
    "cat-on-the-sill.txt",
    "old-motorcycle.txt",
    "espresso-at-home.txt",
    "flower.jpg",
]


@pytest.fixture
def home(tmp_path: Path, model_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CROSSBIND_CACHE", str(model_cache))
    return tmp_path / "home"


def test_every_search_finds_what_it_should_and_the_second_run_adds_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--home", str(home), "--json", "--quiet", "demo"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["report"]["ingested"] >= 30
    assert document["report"]["failures"] == []
    assert [answer["hits"][0]["title"] for answer in document["answers"]] == EXPECTED
    assert all(len(answer["hits"]) == 3 for answer in document["answers"])

    assert main(["--home", str(home), "demo"]) == 0
    printed = capsys.readouterr().out
    assert "0 files indexed into 'demo'" in printed
    for search in demo.searches(home / demo.FOLDER):
        assert search.title in printed
    assert printed.count("3 hits in") == len(EXPECTED)
    assert "crossbind ingest ~/Pictures" in printed


def test_a_picture_and_words_find_both(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--home", str(home), "--json", "--quiet", "demo"])
    *_, texts, photos = json.loads(capsys.readouterr().out)["answers"]
    assert {hit["title"] for hit in texts["hits"]} >= {
        "espresso-at-home.txt",
        "cat-on-the-sill.txt",
    }
    assert {hit["title"] for hit in photos["hits"]} >= {"flower.jpg", "china.jpg"}


def test_without_the_packages_that_hold_photos_the_way_out_is_told(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    assert main(["--home", str(home), "demo"]) == 5
    assert "pip install scikit-image scikit-learn" in capsys.readouterr().err


def test_photos_are_taken_without_importing_their_packages(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from api import demo; "
        "photos, texts = demo.gather(Path(sys.argv[1])); assert photos > 15 and texts > 11; "
        "sys.exit(bool({'skimage', 'sklearn', 'torch', 'rich'} & set(sys.modules)))"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=environ, check=True)
    assert len(list((tmp_path / "photos").iterdir())) > 15
