"""`crossbind eval rag` from the command line, of told answers and of the true pipeline."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.asking import Asking
from api.cli import main
from api.requests_ask import AskRequest
from embed.errors import InvalidQuery
from rag.confidence import Confidences
from rag.types import Answer, Plan, Sentence

Run = Callable[..., tuple[int, Any]]

SURE = {"red": 0.9, "blue": 0.4, "nobody": 0.2}


def said(text: str, confidence: float, *, abstained: bool) -> Answer:
    sentence = Sentence(text=text, start=0, end=len(text), cites=(1,), supported=True)
    return Answer(
        text=text,
        sentences=(sentence,),
        citations=(),
        evidence=(),
        completions=(),
        abstained=abstained,
        reason=None,
        confidence=confidence,
        plan=Plan(question=text, queries=()),
        route=frozenset(),
        generator="extractive",
        timings_ms={"total": 3.0},
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[AskRequest]:
    """Answers are told by the question's last word: right for red, and for blue where there is
    completion; nobody is asked in vain."""
    requests: list[AskRequest] = []

    def answer(_: Asking, request: AskRequest) -> Answer:
        requests.append(request)
        *_, word = str(request.terms[0].value).split()
        if word == "broken":
            raise InvalidQuery("this asks nothing")
        right = word == "red" or (word == "blue" and request.retrieval.complete)
        least = request.retrieval.min_probability
        silent = SURE[word] < (0.3 if least is None else least)
        return said(f"It is {word if right else 'grey'}.", SURE[word], abstained=silent)

    monkeypatch.setattr(Asking, "answer", answer)
    return requests


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twenty times: red, blue, and what nobody knows."""
    questions = [
        {"id": f"{word} {n}", "question": f"what is {word}", "answers": answers}
        for n in range(20)
        for word, answers in (("red", ["red"]), ("blue", ["blue"]), ("nobody", None))
    ]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in questions))
    return path


@pytest.fixture
def document(tinted: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `eval rag` with --json: its exit code and the one document on stdout."""

    def run(*words: object) -> tuple[int, Any]:
        capsys.readouterr()
        code = main(["--home", str(tinted), "--json", "--quiet", "eval", "rag", *map(str, words)])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_two_configurations_side_by_side_with_a_plot(
    document: Run,
    data: Path,
    tmp_path: Path,
    tinted: Path,
    asked: list[AskRequest],
    capsys: pytest.CaptureFixture[str],
) -> None:
    plot = tmp_path / "both.svg"
    code, found = document(data, "--against", "complete=no,k=4", "--plot", plot)
    assert code == 0
    mine, theirs = found["configurations"]
    assert (mine["figures"]["right"]["value"], theirs["figures"]["right"]["value"]) == (1.0, 0.5)
    gain = found["differences"]["right"]
    assert gain["value"] == 0.5
    assert gain["low"] > 0.3
    assert mine["figures"]["abstention F1"]["value"] == 1.0
    assert found["judge"] == "builtin"
    assert mine["configuration"]["generator"] == "extractive"
    assert {(r.retrieval.k, r.retrieval.complete) for r in asked} == {(8, True), (4, False)}
    drawn = plot.read_text()
    assert drawn.startswith("<?xml")
    assert main(["--home", str(tinted), "eval", "rag", str(data), "--against", "complete=no"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "right 1.00 [1.00, 1.00] 0.50 [0.35, 0.65] +0.50" in told
    assert "60 questions, answered by extractive, judged by builtin" in told


def test_what_is_kept_is_not_asked_again_and_another_configuration_is_refused(
    document: Run, data: Path, tmp_path: Path, asked: list[AskRequest]
) -> None:
    out = tmp_path / "out"
    first = document(data, "--out", out)[1]
    assert len(asked) == 60
    assert json.loads((out / "report.json").read_text()) == first
    assert document(data, "--out", out)[1] == first
    assert len(asked) == 60
    code, error = document(data, "--out", out, "-k", 3)
    assert code == 4
    assert "holds answers of something else" in error["error"]["message"]
    judged_anew = [json.loads(line) for line in data.read_text().splitlines()]
    for question in judged_anew:
        question["answers"] = ["grey"]
    data.write_text("".join(json.dumps(one) + "\n" for one in judged_anew))
    again = document(data, "--out", out)[1]
    assert len(asked) == 60
    assert again["configurations"][0]["figures"]["right"]["value"] == 0.0


def test_confidence_is_learnt_from_answers_that_nothing_held_back(
    document: Run,
    data: Path,
    tinted: Path,
    asked: list[AskRequest],
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, found = document(data, "--calibrate")
    assert code == 0
    assert {request.retrieval.min_probability for request in asked} == {0.0}
    learnt = found["confidence"]
    assert learnt["refused"] is None
    assert (learnt["count"], learnt["positives"]) == (60, 40)
    assert "abstention F1" not in found["configurations"][0]["figures"]
    kept = Confidences(tinted / "calibrations" / "answers")
    curve = kept.of("default", learnt["space_id"], "extractive")
    assert curve is not None
    assert curve(0.2) < 0.2
    assert curve(0.9) > 0.9
    code = main(["--home", str(tinted), "eval", "rag", str(data), "--calibrate", "--limit", "30"])
    assert code == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "20 of 30 answers are right; 20 right and 20 wrong are needed" in told
    assert kept.of("default", learnt["space_id"], "extractive") == curve


def test_a_question_that_cannot_be_asked_fails_alone_and_bad_names_before_the_work(
    document: Run, data: Path, asked: list[AskRequest]
) -> None:
    with data.open("a") as file:
        file.write(json.dumps({"id": "bad", "question": "what is broken", "answers": ["x"]}) + "\n")
    code, found = document(data)
    assert code == 1
    assert found["configurations"][0]["failed"] == {"bad": "this asks nothing"}
    asked.clear()
    assert document(data, "--collection", "gone")[0] == 3
    assert document(data, "--against", "generator=gone")[0] == 3
    assert document(data, "--against", "colour=red")[0] == 2
    assert document(data, "--against", "complete=maybe")[0] == 2
    assert document(data, "--judge", "extractive")[0] == 4
    assert document(data, "--plot", "figures.gif")[0] == 4
    assert document(data.with_name("gone.jsonl"))[0] == 3
    assert document(data, "--format", "csv")[0] == 2
    assert asked == []


def test_questions_through_the_true_pipeline(tinted: Path, tmp_path: Path, document: Run) -> None:
    """Whatever it answers, each tint is found by its degrees, and cited from what says so."""
    data = tmp_path / "tints.jsonl"
    questions = [
        {"id": f"{d}", "question": f"{d} degrees", "answers": [f"{d}"], "relevant": [f"{d}.txt"]}
        | {"modality": "text", "history": [{"role": "user", "text": "hello"}]}
        for d in (30, 60, 120)
    ]
    questions.append({"id": "photo", "question": "what is this?", "image": "tints/120.png"})
    data.write_text("".join(json.dumps(one) + "\n" for one in questions))
    code, found = document(data, "--calibrate")
    assert code == 0
    one = found["configurations"][0]
    assert one["questions"] == 4
    assert one["figures"]["recall"] == {"value": 1.0, "low": 1.0, "high": 1.0, "of": 3}
    assert one["figures"]["item recall"]["of"] == 3
    assert one["timings_ms"]["total"]["median"]["value"] > 0
    assert one["failed"] == {}
