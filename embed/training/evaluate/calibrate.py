"""What a space's cosines mean: a curve for each pair of modalities, fitted on known answers.

Each item asks for the rest of its record; its first ten answers, right and wrong, are what the
curve is fitted on. For a seeded half of the queries the right answers are taken out of the gallery
first, because people ask for what is not there too. Figures are of answers the curve has not seen:
two halves of the records, each judged by the curve of the other; the curve that is kept is fitted
on both. It knows no tower and no index.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from embed.calibration import AMONG, Calibration, Curve, Fit, fit_curve
from embed.errors import BadInput
from embed.training.evaluate.library import (
    NOTHING_BELONGS,
    Ids,
    Library,
    Progress,
    Question,
    in_parts,
    no_progress,
)
from embed.training.metrics import Flags, Numbers, aurc, auroc, brier, ece

MAX_QUERIES = 2000
MIN_QUERIES = 20
MIN_AUROC = 0.6

_ROBBING, _HALVING = 1, 2  # streams of their own: a half without answers is not a half of records


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Answers:
    """The first ten answers to each of some queries, A in all.

    cosines, relevant: `(A,)`. record: `(A,)`, whose query it answers. best: `(A,)`, whether it is
    the first one. queries: how many there were.
    """

    cosines: Numbers
    relevant: Flags
    record: Ids
    best: Flags
    queries: int


def answers(question: Question, *, strangers: bool = False, seed: int = 0) -> Answers:
    """The first ten answers to every query, half of which have no right one.

    strangers: items that never had one ask too. Then the same queries ask in every pair, and in a
    mixed gallery no modality is thought likelier than it is.
    """
    rows = question.rows(MAX_QUERIES, seed=seed)
    shuffle = np.random.default_rng([seed, _ROBBING]).permutation
    robbed = shuffle(rows)[: len(rows) // 2]
    others = np.setdiff1d(np.arange(len(question.asked)), question.rows())
    far = shuffle(others)[: MAX_QUERIES if strangers else 0]
    asking = np.sort(np.concatenate([rows, far]))
    found = [_first_ten(question, part, np.isin(part, robbed)) for part in in_parts(asking)]
    cosines, relevant, record, best = (np.concatenate(each) for each in zip(*found, strict=True))
    return Answers(
        cosines=cosines, relevant=relevant, record=record, best=best, queries=len(asking)
    )


def _first_ten(question: Question, rows: Ids, robbed: Flags) -> tuple[Numbers, Flags, Ids, Flags]:
    cosines, relevant = question.table(rows)
    cosines[robbed[:, None] & relevant] = -np.inf
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :AMONG]
    nearest = np.take_along_axis(cosines, order, axis=1).astype(np.float64)
    there = np.isfinite(nearest)
    right = np.take_along_axis(relevant, order, axis=1)
    best = np.broadcast_to(np.arange(order.shape[1]) == 0, order.shape)
    record = np.repeat(question.asked.records[rows], there.sum(axis=1))
    return nearest[there], right[there], record, best[there]


def fit(given: Answers, *, seed: int = 0) -> Fit:
    """A pair's curve, its figures, and why it is refused where it is."""
    nothing = Fit(
        curve=Curve(0.0, 0.0),
        count=len(given.cosines),
        positives=int(given.relevant.sum()),
        refused=f"{given.queries} queries have an answer, and {MIN_QUERIES} are needed",
    )
    if given.queries < MIN_QUERIES:
        return nothing
    try:
        curve = fit_curve(given.cosines, given.relevant)
        told = held_out(given, seed=seed)
    except BadInput as error:
        return replace(nothing, refused=error.message)
    able = auroc(told, given.relevant)
    return replace(
        nothing,
        curve=curve,
        auroc=able,
        ece=ece(told, given.relevant),
        brier=brier(told, given.relevant),
        aurc=aurc(told[given.best], given.relevant[given.best]),
        refused=_refusal(curve, able),
    )


def held_out(given: Answers, *, seed: int = 0) -> Numbers:
    """`(A,)`: each answer's probability by the curve of the other half of the records."""
    records = np.unique(given.record)
    half = np.random.default_rng([seed, _HALVING]).permutation(records)[: len(records) // 2]
    first = np.isin(given.record, half)
    told = np.empty(len(first))
    for mine in (first, ~first):
        curve = fit_curve(given.cosines[~mine], given.relevant[~mine])
        told[mine] = [curve(cosine) for cosine in given.cosines[mine]]
    return told


def _refusal(curve: Curve, able: float) -> str | None:
    if curve.slope <= 0:
        return "a higher cosine does not make a match more probable here"
    if able < MIN_AUROC:
        return f"right and wrong answers are not told apart: AUROC {able:.2f}, {MIN_AUROC} needed"
    return None


def calibrate(
    library: Library,
    space_id: str,
    *,
    made: Mapping[str, Any],
    strangers: bool = False,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Calibration:
    """Every pair in which something is relevant. Raises BadInput when there is none."""
    questions = library.questions()
    if not questions:
        raise BadInput(NOTHING_BELONGS)
    fits = {}
    for number, question in enumerate(questions):
        progress("pairs", number, len(questions))
        given = answers(question, strangers=strangers, seed=seed)
        fits[question.pair] = fit(given, seed=seed)
    progress("pairs", len(questions), len(questions))
    return Calibration(space_id, fits, {**made, "seed": seed})
