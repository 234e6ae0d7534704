"""`crossbind search --shards`: several libraries asked through one door."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from api.cli import main


def test_shards_answer_like_one_library(tinted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def crossbind(home: Path, *words: str) -> tuple[int, Any]:
        code = main(["--home", str(home), "--json", "--quiet", *words])
        return code, json.loads(capsys.readouterr().out)

    files = sorted((tinted.parent / "tints").iterdir())
    homes = [tinted.parent / name for name in "ab"]
    for number, home in enumerate(homes):
        some = [str(path) for path in files if int(path.stem) // 6 % 2 == number]
        assert crossbind(home, "ingest", *some, "--space", "tints")[0] == 0
    shards = ("--shards", *map(str, homes))
    for asked in (("a", "tint", "of", "100"), ("200", "--modality", "image", "-k", "3")):
        _, whole = crossbind(tinted, "search", *asked)
        code, found = crossbind(tinted, "search", *asked, *shards)
        assert code == 0
        assert found["search"] == whole["search"]
        both = zip(found["hits"], whole["hits"], strict=True)
        assert all(a["score"] == pytest.approx(b["score"], abs=1e-6) for a, b in both)
        for hit in found["hits"]:
            home, _, name = hit["collection"].rpartition("/")
            assert (Path(home) in homes, name) == (True, "default")
            assert crossbind(Path(home), "search", "--item", hit["id"])[0] == 0
    picture = str(tinted.parent / "tints" / "96.png")
    _, seen = crossbind(tinted, "search", "--image", picture, "-k", "1", *shards)
    assert seen["hits"][0]["uri"].endswith("/96.png")
    for wrong, told in (
        (("100", "--shards", str(tinted), str(tinted.parent / "none")), "is no library"),
        (("100", "--hybrid", *shards), "side by side"),
        (("100", "--include", "vector", *shards), "no vectors"),
        (("--queries", "-", *shards), "--shards"),
    ):
        code, document = crossbind(tinted, "search", *wrong)
        assert code != 0
        assert told in document["error"]["message"]
    assert not (tinted.parent / "none").exists()
