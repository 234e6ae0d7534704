"""What the confidence of answers is worth, and the curve that makes it mean what it says.

Fitted on questions that were all answered, whatever the evidence (`Setting.min_probability` 0), so
that no answer was withheld because it seemed unsure. Figures are of answers that the curve has not
seen: two halves, each judged by the curve of the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from embed.calibration import Curve, Fit, fit_curve
from embed.errors import BadInput
from embed.training.evaluate.calibrate import MIN_AUROC, Answers, held_out
from embed.training.metrics import Flags, Numbers, aurc, auroc, brier, ece
from rag.confidence import Confidence, log_odds
from rag.evaluate.scores import Columns
from rag.evaluate.summary import sure

EACH = 20  # right answers, and wrong ones, that a curve wants at least


def learn(
    columns: Columns,
    *,
    space_id: str,
    generator: str,
    made: Mapping[str, Any],
    seed: int = 0,
) -> Confidence:
    """A curve and its figures, or why it is refused. Raises BadInput where nothing was judged."""
    if not {"confidence", "true"} <= set(columns):
        raise BadInput(
            "no answer could be judged: questions need answers, or null for those that nothing "
            "answers"
        )
    confidence, right = sure(columns)
    return Confidence(
        space_id=space_id,
        generator=generator,
        fit=_fitted(confidence, right, seed),
        made={**made, "seed": seed},
    )


def _fitted(confidence: Numbers, right: Flags, seed: int) -> Fit:
    count, positives = len(right), int(right.sum())
    refused = Fit(curve=Curve(1.0, 0.0), count=count, positives=positives)
    if min(positives, count - positives) < EACH:
        why = f"{positives} of {count} answers are right; {EACH} right and {EACH} wrong are needed"
        return replace(refused, refused=why)
    heights = np.array([log_odds(value) for value in confidence])
    every = np.ones(count, np.bool_)
    given = Answers(
        cosines=heights, relevant=right, record=np.arange(count), best=every, queries=count
    )
    try:
        curve, told = fit_curve(heights, right), held_out(given, seed=seed)
    except BadInput:
        return replace(refused, refused="all answers are about equally confident")
    able = auroc(told, right)
    return replace(
        refused,
        curve=curve,
        auroc=able,
        ece=ece(told, right),
        brier=brier(told, right),
        aurc=aurc(told, right),
        refused=_refusal(curve, able),
    )


def _refusal(curve: Curve, able: float) -> str | None:
    if curve.slope <= 0:
        return "surer answers are not right more often here"
    if able < MIN_AUROC:
        return f"right and wrong answers are not told apart: AUROC {able:.2f}, {MIN_AUROC} needed"
    return None
