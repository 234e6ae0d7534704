"""What several sources say together, on vectors made by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from embed.calibration import Curve
from embed.types import Floats, Item, Modality, normalise
from rag.completion.candidates import Candidate, Route
from rag.completion.consensus import Voice, agreement, best, heard, mean
from rag.completion.likeness import likeness, normal

GUESS = likeness(None)


def voices(said: Sequence[str | None], weights: Sequence[float] | None = None) -> list[Voice]:
    return [
        Voice(
            Item(
                id=str(n),
                record=str(n),
                modality=Modality.IMAGE if text is None else Modality.TEXT,
                uri=None,
                digest="",
                text=text,
            ),
            1.0 if weights is None else weights[n],
        )
        for n, text in enumerate(said)
    ]


def turned(*degrees: float) -> Floats:
    """Directions in a plane."""
    radians = np.radians(degrees)
    return normalise(np.stack([np.cos(radians), np.sin(radians)], axis=1))


@pytest.mark.parametrize("said", ["T-Shirt", "t shirt!", "  t_shirt "])
def test_words_are_compared_by_their_letters(said: str) -> None:
    assert normal(said) == "t shirt"


def test_labels_are_voted_on_by_weight_not_by_count() -> None:
    said = ["hat", "shoe", "shoe", "Hat.", "shoe", "shoe"]
    found = best(voices(said, [4, 1, 1, 4, 1, 1]), turned(0, 1, 1, 0, 1, 1), GUESS)
    assert found.value.item.text == "hat"
    assert found.share == pytest.approx(8 / 13)  # and one that none of them is right
    assert [voice.item.id for voice in found.sources] == ["0", "3"]


def test_weak_sources_that_agree_are_weak_still() -> None:
    strong, weak = (best(voices(["hat", "hat"], [w, w]), turned(0, 0), GUESS) for w in (10, 0.1))
    assert strong.share == pytest.approx(20 / 21)
    assert weak.share == pytest.approx(0.2 / 1.2)


def test_of_captions_the_one_nearest_to_all_is_taken() -> None:
    said = ["a red hat", "a hat that is red", "some red headgear", "a boat at sea"]
    found = best(voices(said), turned(0, 10, 20, 90), GUESS)
    assert found.value.item.text == "a hat that is red"
    assert [voice.item.id for voice in found.sources] == ["0", "1", "2"]


def test_labels_that_look_alike_are_no_votes_for_each_other() -> None:
    agree = agreement(voices(["shirt", "shirt", "t-shirt", "t-shirt"]), turned(0, 0, 1, 1), GUESS)
    np.testing.assert_array_equal(agree, np.kron(np.eye(2), np.ones((2, 2))))


def test_a_curve_tells_better_than_a_guess_what_is_alike() -> None:
    pictures = voices([None, None])
    strict = likeness(Curve(slope=50, intercept=-48))
    assert agreement(pictures, turned(0, 30), strict)[0, 1] < 0.01
    assert agreement(pictures, turned(0, 30), GUESS)[0, 1] > 0.7
    assert agreement(pictures, turned(0, 5), strict)[0, 1] > 0.8


def test_of_media_the_weightiest_is_best_and_the_mean_lies_between() -> None:
    pictures, vectors = voices([None, None, None], [3, 2, 2]), turned(0, 40, 50)
    assert best(pictures, vectors, GUESS).value.item.id == "0"
    found = mean(pictures, vectors, GUESS)
    assert found.value.item.id == "1"
    weights = np.array([3, 2, 2])[:, None]
    np.testing.assert_allclose(
        found.vector, normalise((weights * vectors).sum(0)[None])[0], atol=1e-6
    )


def test_what_several_ways_lead_to_counts_for_each() -> None:
    [one, other] = voices(["hat", "shoe"])
    ways = [Route(Modality.IMAGE, Modality.IMAGE, kind) for kind in ("joint", "native")]  # type: ignore[arg-type]  # their names do
    candidates = [
        Candidate(one.item, "a", ways[0], 0.5),
        Candidate(other.item, "b", ways[0], 0.8),
        Candidate(one.item, "a", ways[1], 0.6),
        Candidate(other.item, "c", ways[1], -0.2),
    ]
    found = heard(candidates, lambda candidate: max(0.0, candidate.cosine))
    assert [(voice.item.text, voice.weight) for voice in found] == [
        ("hat", pytest.approx(1.1)),
        ("shoe", pytest.approx(0.8)),
    ]


def test_the_mean_of_sources_that_hardly_count_has_a_direction() -> None:
    """Steep curves leave far sources odds of 1e-14, and their sum is no zero vector."""
    found = mean(voices([None, None], [3e-14, 1e-14]), turned(0, 90), GUESS)
    assert np.allclose(found.vector, normalise(np.array([[3.0, 1.0]]))[0], atol=1e-6)
