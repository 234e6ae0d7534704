"""The matrix of a library small enough to judge, and what a mixed gallery costs."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from embed.calibration import Calibration, Pair
from embed.errors import BadInput
from embed.training.evaluate.calibrate import calibrate
from embed.training.evaluate.library import Library, library
from embed.training.evaluate.retrieval import Cell, matrix
from embed.types import Modality

TEXT, IMAGE, AUDIO = Modality.TEXT, Modality.IMAGE, Modality.AUDIO


def cells(found: Library, calibration: Calibration | None = None) -> dict[Pair, Cell]:
    return {cell.pair: cell for cell in matrix(found, calibration=calibration)}


def test_a_space_without_noise_finds_everything_alone(skewed: Callable[..., Library]) -> None:
    cell = cells(skewed(noise=0.0))[Pair(TEXT, IMAGE)]
    assert cell.alone.means == {"R@1": 1, "R@5": 1, "R@10": 1, "MRR": 1, "nDCG@10": 1}
    assert (cell.alone.median_rank, cell.alone.queries, cell.gallery) == (1, 120, 120)
    assert cell.gap == pytest.approx(2**0.5, abs=0.15)  # the two clouds lie along two axes
    assert cells(skewed(noise=0.0))[Pair(TEXT, AUDIO)].gap == pytest.approx(0, abs=1e-6)


def test_a_mixed_gallery_needs_probabilities(skewed: Callable[..., Library]) -> None:
    """Sounds lie near texts and pictures far from them: by cosine no picture is ever found."""
    found = skewed(noise=0.3)
    without = cells(found)[Pair(TEXT, IMAGE)]
    assert set(without.mixed) == {"cosine", "reciprocal rank"}
    fitted = calibrate(skewed(seed=1, noise=0.3), "s@1", made={})
    cell = cells(found, fitted)[Pair(TEXT, IMAGE)]
    alone = cell.alone.means["R@1"]
    assert alone > 0.9
    assert cell.mixed["cosine"].means["R@1"] < 0.1
    assert cell.mixed["probability"].means["R@1"] > alone - 0.05
    assert cell.mixed["probability"].means["MRR"] > cell.mixed["reciprocal rank"].means["MRR"]


def test_emergent_pairs_are_known_only_when_the_trained_ones_are(
    skewed: Callable[..., Library],
) -> None:
    found = skewed(count=30)
    trained = [frozenset({TEXT, IMAGE}), frozenset({TEXT, AUDIO})]
    emergent = {cell.pair: cell.emergent for cell in matrix(found, trained=trained)}
    assert emergent[Pair(IMAGE, AUDIO)] is emergent[Pair(AUDIO, IMAGE)] is True
    assert emergent[Pair(IMAGE, TEXT)] is False
    assert all(cell.emergent is None for cell in matrix(found))


def test_a_cell_as_json(skewed: Callable[..., Library]) -> None:
    told: list[tuple[str, int, int]] = []
    [cell, *_] = matrix(skewed(count=30), progress=lambda *now: told.append(now))
    shown = json.loads(json.dumps(cell.to_json()))
    assert {"query", "item", "native", "gallery", "R@1", "median_rank", "hubness"} < set(shown)
    low, high = shown["intervals"]["R@1"]
    assert low <= shown["R@1"] <= high
    assert shown["mixed"]["reciprocal rank"]["queries"] == 30
    assert [done for _, done, _ in told] == [*range(7)]


def test_an_empty_library_is_told() -> None:
    with pytest.raises(BadInput, match="belong together"):
        matrix(library([]))
