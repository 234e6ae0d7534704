"""From questions to figures: asked once, kept, judged, compared, and what confidence is worth."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embed.errors import BackendFailed, BadInput, Conflict
from embed.types import Item, Modality
from generation.types import Chunk, Prompt, Role, Saying, Statement, Taste
from index.types import Completion, Hit, Source
from rag.confidence import Confidences, log_odds
from rag.evaluate import summary
from rag.evaluate.judges import Builtin, Exact, Facts, YesNo
from rag.evaluate.outcomes import Claim, Outcome, Seen, names, outcome
from rag.evaluate.questions import Lack, Question
from rag.evaluate.report import Compared, report
from rag.evaluate.run import Setting, answer_all
from rag.evaluate.scores import columns, score
from rag.evaluate.sureness import learn
from rag.types import Answer, Passage, Plan, Sentence

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE
ABOUT = {"collection": "default"}


def item(key: str, *, uri: str | None = None, modality: Modality = TEXT) -> Item:
    return Item(id=key, record=f"r-{key}", modality=modality, uri=uri, digest=f"d-{key}")


def passage(number: int, of: Item, text: str | None = None, **about: Any) -> Passage:
    hit = Hit(
        item=of, fragment=1, span=None, score=0.5, probability=0.9, rank_score=0.9, collection="c"
    )
    return Passage(number=number, hit=hit, probability=0.9, text=text, **about)


def answer(text: str = "", *, cites: tuple[int, ...] = (), **about: Any) -> Answer:
    sentences = (
        (Sentence(text=text, start=0, end=len(text), cites=cites, supported=True),) if text else ()
    )
    told: dict[str, Any] = {
        "text": text,
        "sentences": sentences,
        "citations": (),
        "evidence": (),
        "completions": (),
        "abstained": False,
        "reason": None,
        "confidence": 0.9,
        "plan": Plan(question="q", queries=()),
        "route": frozenset(),
        "generator": "fake",
        "timings_ms": {"retrieve": 2.0, "total": 5.0},
    }
    return Answer(**(told | about))


def question(key: str, *answers: str, **about: Any) -> Question:
    return Question(id=key, words="q", answers=answers, **{"answerable": bool(answers)} | about)


QUESTIONS = [question("a", "red"), question("b", "blue"), question("c")]


def replies(asked: list[str]) -> Callable[[Question], Answer]:
    said = {
        "a": answer("It is red.", cites=(1,), evidence=(passage(1, item("i"), "It is red."),)),
        "b": answer("It is red.", cites=(2,), confidence=0.4),
        "c": answer("Nothing says so.", abstained=True, confidence=0.1),
    }

    def ask(one: Question) -> Answer:
        asked.append(one.id)
        return said[one.id]

    return ask


# Asking, and what is kept


def test_an_item_goes_by_its_ids_and_by_every_end_of_its_path() -> None:
    known = names(item("i", uri="file:///photos/a%20b/c.tar.png#text"))
    assert {"i", "r-i", "d-i", "c.tar.png", "c.tar", "a b/c.tar.png", "a b/c.tar"} <= known
    assert not {"", "a b", "photos", "c", "png"} & known


def test_what_is_kept_of_an_answer_is_enough_and_survives_the_file() -> None:
    source = item("s", uri="file:///lib/dress.png", modality=IMAGE)
    borrowed = Completion(
        record="r-i",
        modality=TEXT,
        value="a red dress",
        vector=None,
        origin="retrieved",
        sources=(Source("s", "r-s", 1.0),),
        p=0.8,
        method="best",
    )
    pictured = Completion(
        record="r-i",
        modality=IMAGE,
        value="s",
        vector=None,
        origin="retrieved",
        sources=(Source("s", "r-s", 1.0),),
        p=0.7,
        method="best",
    )
    found = passage(1, item("i", modality=IMAGE), completions=(borrowed, pictured))
    made = answer("Likely a red dress.", cites=(1, 2))
    made = answer(
        made.text,
        cites=(1, 2),
        evidence=(found, passage(2, source, role="source")),
        confidence=math.nan,
    )
    kept = outcome("a", made)
    [photo, other] = kept.evidence
    assert Statement(text="a red dress", by=Saying.BORROWED, sources=(2,), probability=0.8) in (
        photo.statements
    )
    assert (photo.found, other.found) == (True, False)
    assert {frozenset({"a red dress"}), names(source)} == {s.values for s in kept.supposed}
    again = Outcome.from_json(json.loads(json.dumps(kept.to_json())))
    assert math.isnan(again.confidence)
    assert again.to_json() == kept.to_json()
    lacks = (Lack("r-i", IMAGE, ("dress.png",)), Lack("r-i", TEXT, ("a blue dress",)))
    told = score(question("a", "x", lacks=lacks), again, Builtin())
    assert (told["completed"], told["completion accuracy"]) == (1.0, 0.5)


def test_each_question_is_asked_once_and_a_run_that_was_killed_goes_on(tmp_path: Path) -> None:
    kept, asked = tmp_path / "out" / "answers.jsonl", list[str]()
    first = answer_all(QUESTIONS[:2], replies(asked), keep=kept, about=ABOUT)
    with kept.open("a") as file:
        file.write('{"question": "c", "te')  # the kill came here
    seen: list[tuple[str, int, int]] = []
    told = answer_all(
        QUESTIONS, replies(asked), keep=kept, about=ABOUT, progress=lambda *at: seen.append(at)
    )
    assert asked == ["a", "b", "c"]
    assert [one.question for one in told] == ["a", "b", "c"]
    assert [one.to_json() for one in told[:2]] == [one.to_json() for one in first]
    assert seen[-1] == ("question", 3, 3)
    assert len(kept.read_text().splitlines()) == 4
    answer_all(QUESTIONS[1:], replies(asked), keep=kept, about=ABOUT)
    assert len(asked) == 3
    other = replace(QUESTIONS[0], words="asked in other words")
    answer_all([other], replies(asked), keep=kept, about=ABOUT)
    assert asked[3:] == ["a"]


def test_answers_of_something_else_are_never_taken_for_these(tmp_path: Path) -> None:
    kept = tmp_path / "answers.jsonl"
    answer_all(QUESTIONS, replies([]), keep=kept, about=ABOUT)
    with pytest.raises(Conflict, match="answers of something else"):
        answer_all(QUESTIONS, replies([]), keep=kept, about={"collection": "other"})
    kept.write_text("{}\nno answers\n")
    with pytest.raises(BadInput, match="holds no answers of ours"):
        answer_all(QUESTIONS, replies([]), keep=kept, about=ABOUT)


def test_a_question_that_makes_no_sense_fails_alone_and_a_broken_generator_ends_the_run(
    tmp_path: Path,
) -> None:
    def ask(one: Question) -> Answer:
        if one.id == "b":
            raise BadInput("no medium")
        if one.id == "c":
            raise BackendFailed("it broke")
        return answer("It is red.")

    kept = tmp_path / "answers.jsonl"
    with pytest.raises(BackendFailed):
        answer_all(QUESTIONS, ask, keep=kept, about=ABOUT)
    asked: list[str] = []
    mended = answer_all(QUESTIONS, replies(asked), keep=kept, about=ABOUT)
    assert asked == ["b", "c"]
    assert [one.failed for one in mended] == [None, None, None]
    told = [mended[0], Outcome(question="b", failed="no medium"), mended[2]]
    made = report(Setting(), told, columns(QUESTIONS, told, Builtin()))
    assert made.failed == {"b": "no medium"}
    assert made.figures["right"].of == 1


# Figures


def judged(outcomes: Sequence[Outcome], questions: Sequence[Question] = QUESTIONS) -> Any:
    return columns(questions, outcomes, Builtin())


def test_figures_of_three_answers_by_hand() -> None:
    told = summary.figures(judged(answer_all(QUESTIONS, replies([]))))
    assert told["right"].value == 0.5
    assert told["right"].of == 2  # those that have an answer
    assert told["citation recall"].value == 0.5  # "c" abstains, and claims nothing
    assert told["faithfulness"].value == 0.5
    assert told["abstention F1"].value == 1.0
    assert told["AUROC"].value == 1.0  # .9 was right; .4 and .1 were not
    assert told["Brier"].value == pytest.approx((0.01 + 0.16 + 0.01) / 3)
    assert told["right"].low <= 0.5 <= told["right"].high
    assert "recall" not in told


def test_an_unanswered_question_is_wrong_but_says_nothing_of_confidence() -> None:
    silent = outcome("a", answer("Not said.", abstained=True, confidence=0.3))
    told = score(QUESTIONS[0], silent, Builtin())
    assert (told["right"], told["exact match"]) == (False, False)
    assert "true" not in told
    assert "citation recall" not in told


def test_abstention_is_a_search_for_what_nothing_answers() -> None:
    questions = [question(str(n), *(["x"] if n < 2 else [])) for n in range(5)]
    silent = [True, False, True, False, False]  # one rightly of three, and one wrongly
    outcomes = [
        Outcome(question=q.id, text="y", abstained=s, confidence=0.5)
        for q, s in zip(questions, silent, strict=True)
    ]
    told = summary.figures(judged(outcomes, questions))
    assert told["abstention precision"].value == 1 / 2
    assert told["abstention recall"].value == 1 / 3
    assert told["abstention F1"].value == pytest.approx(2 / 5)


def test_mme_counts_pairs_that_are_both_right() -> None:
    questions = [
        question(f"{group}{n}", "yes" if n == 0 else "no", group=group)
        for group in ("p", "q")
        for n in (0, 1)
    ]
    said = ["Yes.", "No.", "Yes.", "Yes."]
    outcomes = [Outcome(question=q.id, text=t) for q, t in zip(questions, said, strict=True)]
    told = summary.figures(judged(outcomes, questions))
    assert (told["right"].value, told["acc+"].value, told["acc+"].of) == (0.75, 0.5, 2)


def test_recall_is_told_by_modality_and_times_by_stage() -> None:
    found = answer("x", evidence=(passage(1, item("i")), passage(2, item("j", modality=IMAGE))))
    questions = [
        question("a", "x", relevant=("i",), modality=TEXT),
        question("b", "x", relevant=("zz", "j"), modality=IMAGE),
    ]
    of = judged([outcome(q.id, found) for q in questions], questions)
    told = summary.figures(of)
    assert (told["recall@1"].value, told["recall"].value) == (0.5, 0.75)
    assert (told["recall of text"].value, told["recall of image"].value) == (1.0, 0.5)
    median, p95 = summary.times(of)["total"]
    assert (median.value, median.low, p95, median.of) == (5.0, 5.0, 5.0, 1)  # the first loads


def test_two_configurations_differ_by_pairs_of_answers() -> None:
    questions = [question(str(n), "x") for n in range(40)]

    def of(right: Callable[[int], bool]) -> Any:
        texts = ["x" if right(n) else "y" for n in range(40)]
        sure = [0.9 if right(n) else 0.2 for n in range(40)]
        return judged(
            [
                Outcome(question=q.id, text=t, confidence=c)
                for q, t, c in zip(questions, texts, sure, strict=True)
            ],
            questions,
        )

    better, worse = of(lambda n: n < 30), of(lambda n: n < 20)
    gain = summary.differences(better, worse)["right"]
    assert gain.value == 0.25
    assert 0 < gain.low < 0.25 < gain.high
    same = summary.differences(better, better)
    assert {f.value for f in same.values()} == {0.0}
    assert {(f.low, f.high) for f in same.values()} == {(0.0, 0.0)}
    mine, theirs = (report(Setting(k=k), [], {}) for k in (8, 4))
    both = Compared(data="d", judge="j", seed=0, reports=(mine, theirs))
    assert both.names == ["k 8", "k 4"]


def test_risk_falls_with_coverage_where_confidence_knows() -> None:
    of = {
        "confidence": np.linspace(1, 0, 20),
        "true": (np.arange(20) < 10).astype(float),
    }
    points = summary.risk(of)
    assert points[0] == (0.1, 0.0)
    assert points[4] == (0.5, 0.0)
    assert points[-1] == (1.0, 0.5)


# Confidence


def test_confidence_that_boasts_is_set_right_and_kept_for_its_space(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    true = rng.uniform(0.05, 0.95, 600)
    right = (rng.uniform(size=600) < true).astype(float)
    odds = 2 * np.log(true / (1 - true)) + 1  # too sure, and too hopeful
    of = {"confidence": 1 / (1 + np.exp(-odds)), "true": right}
    found = learn(of, space_id="s@1", generator="hf:a/b", made={})
    assert found.fit.refused is None
    assert found.fit.ece < 0.08
    assert found(0.5) == pytest.approx(1 / (1 + math.exp(0.5)), abs=0.06)
    assert found(0.1) < found(0.2) < found(1.0)
    kept = Confidences(tmp_path)
    path = kept.keep("photos", found)
    again = kept.of("photos", "s@1", "hf:a/b")
    assert again is not None
    assert again(0.7) == found(0.7)
    assert kept.of("photos", "s@2", "hf:a/b") is None
    assert kept.of("photos", "s@1", "extractive") is None
    path.write_text('{"format": 1')
    assert kept.of("photos", "s@1", "hf:a/b") is None


@pytest.mark.parametrize(
    ("confidence", "true", "why"),
    [
        (np.full(100, 0.5), np.arange(100) % 2, "equally confident"),
        (np.linspace(0, 1, 100), np.arange(100) < 5, "5 of 100 answers are right"),
        (np.linspace(0, 1, 100), np.arange(100) < 50, "not right more often"),
    ],
)
def test_a_curve_that_would_mislead_is_refused_with_the_reason(
    tmp_path: Path, confidence: Any, true: Any, why: str
) -> None:
    of = {"confidence": confidence, "true": true.astype(float)}
    found = learn(of, space_id="s", generator="g", made={})
    assert found.fit.refused is not None
    assert why in found.fit.refused
    Confidences(tmp_path).keep("c", found)
    assert Confidences(tmp_path).of("c", "s", "g") is None


def test_log_odds_have_an_end() -> None:
    assert log_odds(0.5) == 0
    assert log_odds(1.0) == -log_odds(0.0) == 7.0


# Judges


class Yes:
    """Says yes where the claim's last word is in the passage; remembers what it was asked."""

    name = "openai:fake"
    inputs = outputs = frozenset({TEXT})
    taste = Taste(context=100)

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []

    def count_tokens(self, text: str) -> int:
        return len(text)

    def generate(self, prompt: Prompt) -> Iterator[Chunk]:
        self.prompts.append(prompt)
        told, _, claim = prompt.messages[-1].text.rpartition("\n\n")
        yield Chunk(text=" **Ye" if claim.split()[-1] in told else "No")
        yield Chunk(text="s", finish="stop")

    def close(self) -> None:
        pass


def shown(number: int, text: str) -> Seen:
    said = (Statement(text=text, by=Saying.TEXT),)
    return Seen(number=number, modality=TEXT, names=frozenset({text}), statements=said)


def test_a_generator_judges_by_yes_and_no_and_is_asked_each_thing_once() -> None:
    voice = Yes()
    judge = YesNo(voice)
    assert judge.name == "openai:fake"
    assert judge.entails("it is red", [shown(1, "something red")])
    assert not judge.entails("it is blue", [shown(1, "something red")])
    assert not judge.entails("it is red", [])
    assert judge.entails("it is red", [shown(1, "something red")])
    assert len(voice.prompts) == 2
    assert voice.prompts[0].messages[0].role is Role.SYSTEM
    long = question("a", answerable=True, reference="red")
    told = score(long, Outcome(question="a", text="it is red"), judge)
    assert told["right"] is True
    assert "right" not in score(long, Outcome(question="a", text="it is red"), Builtin())


def test_the_extractive_generator_is_no_judge() -> None:
    voice = Yes()
    voice.name = "extractive"
    with pytest.raises(BadInput, match="cannot judge"):
        YesNo(voice)


def test_generated_truth_is_judged_exactly() -> None:
    def facts(text: str) -> Facts:
        return frozenset(word for word in text.split() if word in {"red", "ring", "blue"})

    judge = Exact(facts, lambda seen: facts(seen.statements[0].text))
    both = [shown(1, "a ring"), shown(2, "red")]
    assert judge.entails("the ring is red", both)
    assert not judge.entails("the ring is blue", both)
    assert not judge.entails("it claims nothing", both)


def test_the_built_in_judge_needs_words() -> None:
    claims = (Claim("The dress is red.", (1,)),)
    blind = Seen(number=1, modality=IMAGE, names=frozenset({"i"}))
    seen = Outcome(question="a", text="red", claims=claims, evidence=(blind,))
    assert score(QUESTIONS[0], seen, Builtin())["citation recall"] == 0.0
    told = Outcome(
        question="a", text="red", claims=claims, evidence=(shown(1, "The dress is red"),)
    )
    assert score(QUESTIONS[0], told, Builtin())["citation recall"] == 1.0
