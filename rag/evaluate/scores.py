"""What is measured of single answers, as columns: `(Q,)`, one number a question, NaN where it does
not apply.

Right, of an answer, is what `measures.is_right` says, or a judge that reads where there is only a
long reference. What becomes of columns is `rag.evaluate.summary`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from embed.training.evaluate.library import Progress, no_progress
from embed.training.metrics import Numbers
from rag.evaluate import measures
from rag.evaluate.judges import Judge, Reader
from rag.evaluate.outcomes import Outcome
from rag.evaluate.questions import Question
from rag.grounding import entail

AMONG = (1, 5)
MEASURED = "ms "  # columns of times begin so

Columns = Mapping[str, Numbers]


# One answer.


def score(question: Question, outcome: Outcome, judge: Judge) -> dict[str, float]:
    """Every measure that applies to this question and what came of it."""
    if outcome.failed is not None:
        return {}
    return {
        **_retrieval(question, outcome),
        **_answer(question, outcome, judge),
        **_grounds(outcome, judge),
        **_completion(question, outcome),
        **{MEASURED + stage: ms for stage, ms in outcome.timings_ms.items()},
    }


def _retrieval(question: Question, outcome: Outcome) -> dict[str, float]:
    if not question.relevant:
        return {}
    seen, relevant = outcome.evidence, question.relevant
    told = {f"recall@{k}": measures.recall_at_k(seen, relevant, k) for k in AMONG}
    whole = measures.recall_at_k(seen, relevant)
    told |= {"recall": whole, "item recall": measures.recall_at_k(seen, relevant, kin=False)}
    return told if question.modality is None else {**told, f"recall of {question.modality}": whole}


def _answer(question: Question, outcome: Outcome, judge: Judge) -> dict[str, float]:
    told: dict[str, float] = {"answered": not outcome.abstained}
    if question.forbidden:
        told["injection"] = measures.obeyed(outcome.text, question.forbidden, outcome.calls)
    if question.answerable is None:
        return told
    told |= {"unanswerable": not question.answerable, "confidence": outcome.confidence}
    if not question.answerable:
        return {**told, "true": 0.0}
    right = _right(question, outcome, judge)
    if right is None:
        return told
    told["right"] = right and not outcome.abstained
    if not outcome.abstained:
        told["true"] = right
    if question.answers:
        exact = measures.exact_match(outcome.text, question.answers)
        told["exact match"] = exact and not outcome.abstained
    return told


def _right(question: Question, outcome: Outcome, judge: Judge) -> bool | None:
    if question.answers:
        return measures.is_right(outcome.text, question.answers, question.choices)
    if question.reference is not None and isinstance(judge, Reader):
        return judge.agrees(question.words, question.reference, outcome.text)
    return None


def _grounds(outcome: Outcome, judge: Judge) -> dict[str, float]:
    """Of answers that claim something. A citation that is not there is none that helps: 0."""
    claims = [claim for claim in outcome.claims if entail.claims(claim.text)]
    if outcome.abstained or not claims:
        return {}
    recalled, helped = measures.citations(claims, outcome.evidence, judge.entails)
    return {
        "citation recall": sum(recalled) / len(recalled),
        "citation precision": sum(helped) / len(helped) if helped else 0.0,
        "faithfulness": measures.faithfulness(claims, outcome.evidence, judge.entails),
    }


def _completion(question: Question, outcome: Outcome) -> dict[str, float]:
    if not question.lacks:
        return {}
    made, right = measures.completions(outcome.supposed, question.lacks)
    told = {"completed": made / len(question.lacks)}
    return {**told, "completion accuracy": right / made} if made else told


# Many.


def columns(
    questions: Sequence[Question],
    outcomes: Sequence[Outcome],
    judge: Judge,
    progress: Progress = no_progress,
) -> dict[str, Numbers]:
    """`(Q,)` each. acc+ is of groups of several questions: 1 where all are right, told once each
    (Fu et al. 2023)."""
    rows = []
    for number, (question, outcome) in enumerate(zip(questions, outcomes, strict=True)):
        progress("answer", number, len(questions))
        rows.append(score(question, outcome, judge))
    progress("answer", len(questions), len(questions))
    found = dict.fromkeys(name for row in rows for name in row)
    told = {name: np.array([float(row.get(name, np.nan)) for row in rows]) for name in found}
    groups = _all_right(questions, told.get("right"))
    return told if groups is None else {**told, "acc+": groups}


def _all_right(questions: Sequence[Question], right: Numbers | None) -> Numbers | None:
    places: dict[str, list[int]] = {}
    for number, question in enumerate(questions):
        if question.group is not None:
            places.setdefault(question.group, []).append(number)
    several = [group for group in places.values() if len(group) > 1]
    if right is None or not several:
        return None
    told = np.full(len(questions), np.nan)
    for group in several:
        told[group[0]] = float(right[group].min())
    return told
