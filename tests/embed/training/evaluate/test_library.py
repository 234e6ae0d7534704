"""Who is a right answer to whom, by hand."""

from __future__ import annotations

import numpy as np

from embed.calibration import Pair
from embed.training.evaluate.library import Stored, in_parts, library
from embed.types import Modality

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE


def unit(*angles: float) -> np.ndarray:
    """One row an angle, in degrees."""
    turned = np.radians(angles)
    return np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)


ITEMS = [
    Stored(TEXT, "1", "a dog", unit(0)),
    Stored(IMAGE, "1", "photo 1", unit(10), unit(0)),
    Stored(TEXT, "2", "a dog", unit(0)),
    Stored(IMAGE, "2", "photo 2", unit(20), unit(50)),
    Stored(TEXT, "2", "a puppy", unit(30, 40)),
    Stored(IMAGE, "3", "photo 3", unit(90), unit(90)),
    Stored(TEXT, "4", "nothing", np.empty((0, 2), np.float32)),
]


def test_equal_captions_are_right_answers_of_each_others_pictures() -> None:
    found = library(ITEMS)
    asked = found.question(TEXT, IMAGE)
    table = asked.table(asked.rows())
    np.testing.assert_array_equal(
        table.relevant, [[1, 1, 0], [1, 1, 0], [0, 1, 0]]
    )  # "a dog" is said of 1 and of 2, "a puppy" of 2 alone
    back = found.question(IMAGE, TEXT)
    np.testing.assert_array_equal(back.rows(), [0, 1])  # nobody describes photo 3
    np.testing.assert_array_equal(back.table(back.rows()).relevant, [[1, 1, 0], [1, 1, 1]])


def test_an_item_asks_by_its_mean_and_is_found_by_its_best_fragment() -> None:
    asked = library(ITEMS).question(TEXT, IMAGE)
    puppy = asked.table(np.array([2])).cosines[0]
    np.testing.assert_allclose(puppy, np.cos(np.radians([25, 15, 55])), atol=1e-6)
    back = library(ITEMS).question(IMAGE, TEXT).table(np.array([1])).cosines[0]
    np.testing.assert_allclose(back, np.cos(np.radians([20, 20, 10])), atol=1e-6)


def test_within_a_modality_nobody_answers_himself_and_native_vectors_compare() -> None:
    found = library(ITEMS)
    texts = found.question(TEXT, TEXT)
    np.testing.assert_array_equal(texts.rows(), [0, 1, 2])
    cosines, relevant = texts.table(texts.rows())
    assert np.isneginf(cosines).tolist() == [[True, True, False]] * 2 + [[False, False, True]]
    np.testing.assert_array_equal(relevant, [[0, 0, 1], [0, 0, 1], [1, 1, 0]])
    pictures = found.question(IMAGE, IMAGE)
    assert pictures.pair == Pair(IMAGE, IMAGE, native=True)
    np.testing.assert_allclose(pictures.table(np.array([0])).cosines[0][2], 0, atol=1e-6)
    assert TEXT not in found.native
    # Two photos share a caption, not a record: neither is the other's answer.
    assert [question.pair for question in found.questions()] == [
        Pair(IMAGE, TEXT),
        Pair(TEXT, IMAGE),
        Pair(TEXT, TEXT),
    ]


def test_a_choice_of_queries_is_seeded_and_in_order() -> None:
    items = [Stored(m, str(n), f"{m} {n}", unit(n / 9)) for n in range(300) for m in (TEXT, IMAGE)]
    asked = library(items).question(TEXT, IMAGE)
    some = asked.rows(200, seed=1)
    assert len(some) == len(set(some.tolist())) == 200
    assert (np.diff(some) > 0).all()
    np.testing.assert_array_equal(some, asked.rows(200, seed=1))
    assert some.tolist() != asked.rows(200, seed=2).tolist()
    parts = list(in_parts(some))
    assert [len(part) for part in parts] == [128, 72]
    np.testing.assert_array_equal(np.concatenate(parts), some)
