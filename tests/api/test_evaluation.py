"""`crossbind eval` and `crossbind calibrate` from the command line, in the space of tints."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from api.cli import main
from api.config import Settings
from api.evaluation import trained_pairs
from api.requests import Upload
from api.service import Service
from embed.backends.trained import manifest
from embed.calibration import Calibrations, Pair
from embed.types import Modality, Space

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE

Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def document(tinted: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command with --json: its exit code and the one document on stdout."""

    def run(*words: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = main(["--home", str(tinted), "--json", *words])
        return code, json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def sorted_tints(tinted: Path) -> Path:
    """Three classes called by their degrees; the last holds a file that is no medium."""
    folder = tinted / "sorted"
    for centre in (30, 120, 240):
        (folder / f"{centre}_degrees").mkdir(parents=True)
        for degrees in (centre - 12, centre, centre + 12):
            shutil.copy(tinted.parent / "tints" / f"{degrees}.png", folder / f"{centre}_degrees")
    (folder / "240_degrees" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    (folder / ".hidden").mkdir()
    return folder


# Calibration


def test_calibrate_fits_keeps_and_is_used(
    document: Run, tinted: Path, tint_space: Space, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = ("search", "60", "--modality", "image", "-k", "1")
    assert document(*ask)[1]["hits"][0]["probability"] is None
    code, report = document("calibrate", "--quiet")
    assert code == 0
    pairs = {(pair["query"], pair["item"]): pair for pair in report["pairs"]}
    assert set(pairs) == {("text", "image"), ("image", "text")}
    assert all(pair["refused"] is None and pair["slope"] > 0 for pair in pairs.values())
    assert pairs["text", "image"]["count"] == 600
    assert pairs["text", "image"]["positives"] == 30  # of 60 queries half have no answer
    assert pairs["text", "image"]["auroc"] > 0.9
    assert report["space_id"] == tint_space.id
    assert Path(report["path"]).parent == tinted / "calibrations"
    kept = Calibrations(tinted / "calibrations").of(tint_space)
    assert kept is not None
    assert kept.fits[Pair(TEXT, IMAGE)].curve.slope == pairs["text", "image"]["slope"]
    best = document(*ask)[1]["hits"][0]
    assert best["probability"] == pytest.approx(kept.probability(TEXT, IMAGE, best["score"]))
    assert document("calibrate", "--seed", "1")[1]["made"]["seed"] == 1
    capsys.readouterr()
    assert main(["--home", str(tinted), "calibrate"]) == 0
    told = capsys.readouterr().out
    assert "30 of 600" in told
    assert f"kept for {tint_space.id}" in told.replace("\n", "")


def test_pairs_that_cannot_be_fitted_are_kept_with_the_reason(
    tinted: Path, tint_space: Space, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for path in (tmp_path / "tints").glob("?.*"):  # 0 and 6
        shutil.copy(path, few)
    words = ["--home", str(tinted), "--quiet"]
    assert main([*words, "ingest", str(few), "--space", "tints", "--collection", "few"]) == 0
    assert main([*words, "calibrate", "--collection", "few"]) == 0
    assert "2 queries have an answer" in " ".join(capsys.readouterr().out.split())
    kept = Calibrations(tinted / "calibrations").of(tint_space)
    assert kept is not None
    assert kept.probability(TEXT, IMAGE, 0.2) is None
    code = main([*words, "--json", "search", "60", "--min-probability", "0.5"])
    assert code == 4
    assert "no probabilities from text" in json.loads(capsys.readouterr().out)["error"]["message"]


# Retrieval


def test_the_matrix_of_a_collection_before_and_after_calibration(
    document: Run, tinted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = document("eval", "retrieval", "--quiet")
    assert (code, report["calibrated"]) == (0, False)
    cells = {(cell["query"], cell["item"]): cell for cell in report["pairs"]}
    assert set(cells) == {("text", "image"), ("image", "text")}
    there = cells["text", "image"]
    assert (there["queries"], there["gallery"], there["emergent"]) == (60, 60, None)
    assert there["R@1"] > 0.95  # neighbours are 6 degrees apart, and colours are rounded
    assert there["median_rank"] == 1
    assert there["modality_gap"] > 0.5
    assert there["mixed"] == {}  # texts are never answered by texts here
    capsys.readouterr()
    assert main(["--home", str(tinted), "eval", "retrieval"]) == 0
    told = capsys.readouterr().out
    assert "60" in told
    assert "crossbind calibrate adds" in told


def test_where_texts_answer_texts_a_mixed_gallery_is_measured_calibrated_and_searched(
    document: Run, tinted: Path, tint_space: Space, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two captions a tint, the second a little off: by cosine no picture comes before it."""
    service = Service(Settings(home=tinted, cache=tinted / "cache", threads=1))
    service.create_collection("twice", space="tints")
    for degrees in range(0, 360, 6):
        picture = (tinted.parent / "tints" / f"{degrees}.png").read_bytes()
        texts = (f"a tint of {degrees} degrees", f"about {degrees + 2} degrees")
        media = [picture, *(text.encode() for text in texts)]
        service.add_items("twice", [Upload(data=data, record=f"r{degrees}") for data in media])
    service.close()

    def mixed() -> dict[str, float]:
        report = document("eval", "retrieval", "--collection", "twice", "--quiet")[1]
        [cell] = [c for c in report["pairs"] if (c["query"], c["item"]) == ("text", "image")]
        return {way: figures["R@1"] for way, figures in cell["mixed"].items()}

    def first() -> list[str]:
        found = document("search", "63", "-k", "2", "--collection", "twice")[1]["hits"]
        return [hit["modality"] for hit in found]

    before = mixed()
    assert set(before) == {"cosine", "reciprocal rank"}
    assert before["cosine"] == 0
    assert first() == ["text", "image"]  # rank by rank
    assert document("calibrate", "--collection", "twice", "--quiet")[0] == 0
    after = mixed()
    assert after["probability"] > after["cosine"] + 0.5
    found = document("search", "63", "--collection", "twice")[1]["hits"]
    assert all(hit["rank_score"] == hit["probability"] for hit in found)
    capsys.readouterr()
    assert main(["--home", str(tinted), "eval", "retrieval", "--collection", "twice"]) == 0
    assert "R@1 in the mixed gallery" in capsys.readouterr().out


def test_a_collection_where_nothing_belongs_together_is_told(
    document: Run, tinted: Path, tmp_path: Path
) -> None:
    lone = tmp_path / "lone"
    lone.mkdir()
    (lone / "a.txt").write_text("a tint of 7 degrees")
    words = ["--home", str(tinted), "--quiet", "ingest", str(lone), "--space", "tints"]
    assert main([*words, "--collection", "lone"]) == 0
    for command in (["eval", "retrieval"], ["calibrate"]):
        code, report = document(*command, "--collection", "lone", "--quiet")
        assert code == 4
        assert "photo.jpg beside photo.txt" in report["error"]["message"]
        assert document(*command, "--collection", "none")[0] == 3


# Zero-shot classification


def test_files_are_named_by_their_class_folders(
    document: Run, sorted_tints: Path, tinted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("eval", "zero-shot", "--space", "tints", "--data", str(sorted_tints))
    code, report = document(*words)
    assert code == 1  # one file is broken
    assert (report["files"], report["accuracy"], report["top5"]) == (9, 1, 1)
    assert report["classes"] == {"120 degrees": 1, "240 degrees": 1, "30 degrees": 1}
    assert report["confusion"] == [[3, 0, 0], [0, 3, 0], [0, 0, 3]]
    assert report["modalities"] == {"image": 9}
    assert [failure["code"] for failure in report["failures"]] == ["corrupt_media"]
    capsys.readouterr()
    assert main(["--home", str(tinted), *words]) == 1
    told = capsys.readouterr()
    assert "accuracy 1.000" in told.out
    assert "broken.png" in told.out


def test_sentences_of_ones_own_are_averaged(document: Run, sorted_tints: Path) -> None:
    said = sorted_tints / "said.txt"
    said.write_text("\n0 {}\n240 {}\n")  # this tower reads the first number: all classes are alike
    words = ("eval", "zero-shot", "--space", "tints", "--data", str(sorted_tints))
    report = document(*words, "--templates", str(said))[1]
    assert report["accuracy"] == pytest.approx(1 / 3)
    assert report["classes"]["120 degrees"] == 1  # of equals the first one
    said.write_text("a tint of\n")
    code, report = document(*words, "--templates", str(said))
    assert code == 4
    assert "'a tint of'; each line wants one {}" in report["error"]["message"]
    assert document(*words, "--templates", str(said.with_name("none")))[0] == 3


def test_folders_that_hold_no_classes_are_told(document: Run, tmp_path: Path) -> None:
    words = ("eval", "zero-shot", "--space", "tints", "--data")
    assert document(*words, str(tmp_path / "none"))[0] == 3
    code, report = document(*words, str(tmp_path / "tints"))
    assert code == 4
    assert "0 class folders" in report["error"]["message"]
    for name in ("one", "two"):
        (tmp_path / "empty" / name).mkdir(parents=True)
    code, report = document(*words, str(tmp_path / "empty"))
    assert code == 4
    assert "no file" in report["error"]["message"]


# Probes, plots, words


def test_probes_are_told_by_kind(document: Run, tinted: Path) -> None:
    code, report = document("eval", "probes", "--space", "tints")
    assert code == 0
    assert set(report) == {"word order", "negation", "distractor"}
    assert report["negation"]["accuracy"] == 0  # a tower that reads numbers alone
    assert len(report["negation"]["wrong"]) == 12
    assert set(report["negation"]["wrong"][0]) == {"said", "same", "other"}


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_matrices_are_drawn(document: Run, sorted_tints: Path, tmp_path: Path, suffix: str) -> None:
    confusion, matrix = tmp_path / f"confusion.{suffix}", tmp_path / f"matrix.{suffix}"
    words = ("eval", "zero-shot", "--space", "tints", "--data", str(sorted_tints))
    assert document(*words, "--plot", str(confusion))[0] == 1
    assert document("eval", "retrieval", "--plot", str(matrix))[0] == 0
    for path in (confusion, matrix):
        if suffix == "png":
            with Image.open(path) as drawn:
                assert min(drawn.size) > 200
        else:
            assert "</svg>" in path.read_text()
    code, report = document("eval", "retrieval", "--plot", str(tmp_path / "matrix.gif"))
    assert code == 4
    assert "neither .png nor .svg" in report["error"]["message"]


def test_what_to_measure_has_to_be_said(document: Run) -> None:
    code, report = document("eval")
    assert code == 2
    assert "retrieval, zero-shot, probes" in report["error"]["message"]


def test_progress_goes_to_stderr(tinted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--home", str(tinted), "--json", "--json-progress", "calibrate"]) == 0
    lines = [json.loads(line)["progress"] for line in capsys.readouterr().err.splitlines()]
    assert lines[-1]["done"] == lines[-1]["total"] == 2
    assert lines[0]["total"] == 120


# Emergent pairs


def test_a_trained_space_tells_which_pairs_it_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[str, Any] = {"config": {"objective": {"pairs": "star:text"}}}

    class Told:
        parts = dict.fromkeys((TEXT, IMAGE, Modality.AUDIO))

        def __init__(self, _: Path) -> None:
            self.made = made

    monkeypatch.setattr(manifest, "read", Told)
    name = f"trained:{tmp_path}"
    star = [frozenset({TEXT, IMAGE}), frozenset({TEXT, Modality.AUDIO})]
    assert sorted(trained_pairs(name) or [], key=str) == sorted(star, key=str)
    made["config"] = {"objective": {}}
    assert len(trained_pairs(name) or []) == 3
    made["config"] = {"objective": {"pairs": [["image", "text"]]}}
    assert trained_pairs(name) == [frozenset({IMAGE, TEXT})]
    made.clear()
    assert trained_pairs(name) is None
    assert trained_pairs("builtin") is None
