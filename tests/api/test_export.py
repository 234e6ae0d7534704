"""`crossbind export`: the built-in space becomes a folder, and the folder a space."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    tmp_path: Path,
    model_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """A command: exit code, stdout, stderr."""
    monkeypatch.setenv("CROSSBIND_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CROSSBIND_CACHE", str(model_cache))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> tuple[int, str, str]:
        code = main(list(words))
        return code, *capsys.readouterr()

    return run


def test_an_exported_space_is_ingested_into_and_searched(run: Run, tmp_path: Path) -> None:
    folder, notes = tmp_path / "tower", tmp_path / "notes"
    notes.mkdir()
    (notes / "cat.txt").write_text("The cat sleeps on the window sill all morning.")
    (notes / "tax.txt").write_text("The invoice is due on Friday; add the value-added tax.")
    code, out, _ = run("--json", "--quiet", "export", "builtin", str(folder))
    report: dict[str, Any] = json.loads(out)
    assert code == 0
    assert report["space"] == f"onnx:{folder}"
    assert report["modalities"] == ["audio", "image", "text", "video"]
    assert report["bytes"] == sum(
        path.stat().st_size for path in folder.iterdir() if path.name != "crossbind.json"
    )
    assert run("--quiet", "ingest", str(notes), "--space", report["space"])[0] == 0
    _, out, _ = run("--json", "--quiet", "search", "a sleeping animal")
    assert json.loads(out)["hits"][0]["uri"].endswith("cat.txt")


def test_people_are_told_what_was_written(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("export", "builtin", str(tmp_path / "tower"))
    assert code == 0
    assert f"onnx:{tmp_path / 'tower'}: audio, image, text, video in fp32, 113 MB" in out


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("builtin",), 2, "FOLDER"),
        (("builtin", "{new}", "--precision", "int4"), 2, "int4"),
        (("builtin", "{new}", "--precision", "int8"), 4, "add --check FOLDER"),
        (("bulitin", "{new}"), 3, "Did you mean 'builtin'"),
        (("builtin", "{full}"), 4, "is not empty"),
        (("builtin", "{full}/file/new"), 4, "cannot be written"),
        (("builtin", "{new}", "--check", "{new}"), 3, "no folder"),
    ],
)
def test_what_cannot_be_exported_is_told(
    words: tuple[str, ...], code: int, told: str, run: Run, tmp_path: Path
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").write_text("something")
    given = [word.format(new=tmp_path / "new", full=full) for word in words]
    got, _, err = run("--quiet", "export", *given)
    assert got == code
    assert told in err
    assert not (tmp_path / "new").exists()
