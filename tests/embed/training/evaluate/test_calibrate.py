"""Curves fitted on answers whose truth is known, and judged on those they have not seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from embed.calibration import Calibration, Pair
from embed.errors import BadInput
from embed.training.evaluate import calibrate
from embed.training.evaluate.library import Library, Stored, library
from embed.types import Modality, normalise

TEXT, IMAGE, AUDIO = Modality.TEXT, Modality.IMAGE, Modality.AUDIO


def test_half_of_the_queries_have_no_right_answer(skewed: Callable[..., Library]) -> None:
    question = skewed(count=100, noise=0.0).question(TEXT, IMAGE)
    found = calibrate.answers(question, seed=3)
    assert (found.queries, len(found.cosines), found.best.sum()) == (100, 1000, 100)
    assert found.relevant.sum() == 50
    assert found.relevant[found.best].sum() == 50  # without noise the right one is the first one
    assert found.cosines[found.best].mean() > found.cosines[~found.best].mean()
    again, other = calibrate.answers(question, seed=3), calibrate.answers(question, seed=4)
    np.testing.assert_array_equal(again.relevant, found.relevant)
    assert (other.relevant != found.relevant).any()


def test_all_pairs_of_a_library_get_a_curve_and_figures(skewed: Callable[..., Library]) -> None:
    told: list[tuple[str, int, int]] = []
    found = calibrate.calibrate(
        skewed(), "s@1", made={"of": "scenes"}, progress=lambda *now: told.append(now)
    )
    pairs = [Pair(a, b) for a in (AUDIO, IMAGE, TEXT) for b in (AUDIO, IMAGE, TEXT) if a != b]
    assert sorted(found.fits) == sorted(pairs)
    assert told[0] == ("pairs", 0, 6)
    assert told[-1] == ("pairs", 6, 6)
    for fit in found.fits.values():
        assert fit.refused is None
        assert fit.auroc > 0.85
        assert fit.ece < 0.06
        assert 0 < fit.brier < 0.1
        assert 0 < fit.aurc < 0.5  # half of the queries cannot be answered
    near = found.probability(TEXT, AUDIO, 0.87)
    far = found.probability(TEXT, IMAGE, 0.17)
    assert near is not None
    assert far is not None
    assert near < far  # .87 is little among sounds, .17 much among pictures
    assert found.made == {"of": "scenes", "seed": 0}
    assert Calibration.from_json(json.loads(json.dumps(found.to_json()))).fits == found.fits


def test_figures_are_of_answers_the_curve_has_not_seen(skewed: Callable[..., Library]) -> None:
    given = calibrate.answers(skewed().question(TEXT, IMAGE))
    told = calibrate.held_out(given)
    half = np.isin(given.record, given.record[:1])
    assert ((told > 0) & (told < 1)).all()
    # Another truth for one record changes what is told of others, never of its own half.
    changed = replace(given, relevant=given.relevant ^ half)
    after = calibrate.held_out(changed)
    assert (after[half] == told[half]).all()
    assert (after != told).any()


def test_strangers_ask_besides(skewed: Callable[..., Library]) -> None:
    near = normalise(np.eye(26)[:1])
    lone = [Stored(TEXT, f"lone {n}", f"lone {n}", near) for n in range(90)]
    pictured = skewed(count=90)
    items = [*stored(pictured), *lone]
    question = library(items).question(TEXT, IMAGE)
    alone = calibrate.answers(question)
    with_them = calibrate.answers(question, strangers=True)
    assert (alone.queries, with_them.queries) == (90, 180)
    assert alone.relevant.sum() == with_them.relevant.sum() == pytest.approx(45, abs=3)
    assert (with_them.record >= 90).sum() == 90 * 10


def stored(found: Library) -> list[Stored]:
    """What is on its shelves, as it came."""
    return [
        Stored(modality, str(record), f"{modality} {record}", shelf.vectors[row : row + 1])
        for modality, shelf in found.joint.items()
        for row, record in enumerate(shelf.records.tolist())
    ]


def test_a_pair_is_refused_for_few_queries_and_for_cosines_that_say_nothing() -> None:
    rng = np.random.default_rng(0)
    items = [
        Stored(modality, str(n), f"{modality} {n}", normalise(rng.standard_normal((1, 16))))
        for n in range(300)
        for modality in (TEXT, IMAGE)
    ]
    few = calibrate.fit(calibrate.answers(library(items[:30]).question(TEXT, IMAGE)))
    assert few.refused == "15 queries have an answer, and 20 are needed"
    given = calibrate.answers(library(items[:200]).question(TEXT, IMAGE))
    blind = calibrate.fit(replace(given, relevant=rng.random(1000) < 0.3))
    assert blind.refused is not None
    assert blind.auroc < 0.6
    none = calibrate.fit(replace(given, relevant=np.zeros_like(given.relevant)))
    assert none.refused == "0 answers are relevant and 1000 are not; both are needed"


def test_without_records_of_several_there_is_nothing_to_fit() -> None:
    lone = [Stored(TEXT, str(n), str(n), np.eye(4, dtype=np.float32)[:1]) for n in range(30)]
    with pytest.raises(BadInput, match="no two items here belong together"):
        calibrate.calibrate(library(lone), "s@1", made={})
