"""Metrics on matrices small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from embed.training.metrics import bootstrap_interval, ndcg_at_k, precision_at_k, recall_at_k

RANKED = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]], dtype=np.float64)


def test_precision_counts_what_is_missing_as_a_miss() -> None:
    np.testing.assert_allclose(precision_at_k(RANKED, 2), [0.5, 0.0, 0.5])
    np.testing.assert_allclose(precision_at_k(RANKED, 8), [0.25, 0.0, 0.125])


def test_ndcg_by_hand() -> None:
    second, third = 1 / np.log2(3), 1 / np.log2(4)
    totals = np.array([2, 3, 1])
    expected = [(1 + third) / (1 + second), 0.0, second]
    np.testing.assert_allclose(ndcg_at_k(RANKED, 4, totals), expected)
    np.testing.assert_allclose(ndcg_at_k(RANKED[:, :1], 4, totals), [1 / (1 + second), 0, 0])


def test_ndcg_of_a_perfect_ranking_is_one_whatever_the_total() -> None:
    perfect = np.ones((2, 10))
    np.testing.assert_allclose(ndcg_at_k(perfect, 10, np.array([10, 500])), 1.0)
    assert ndcg_at_k(np.zeros((1, 10)), 10, np.array([0]))[0] == 0.0


def test_recall_is_any() -> None:
    np.testing.assert_array_equal(recall_at_k(RANKED, 1), [1, 0, 0])
    np.testing.assert_array_equal(recall_at_k(RANKED, 2), [1, 0, 1])


def test_bootstrap_brackets_the_mean_and_repeats() -> None:
    values = np.random.default_rng(1).random(200)
    low, high = bootstrap_interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(4 * values.std() / 200**0.5, rel=0.15)
    assert (low, high) == bootstrap_interval(values)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(Q, N\)"):
        precision_at_k(RANKED[0], 2)
    with pytest.raises(ValueError, match="k at least 1"):
        recall_at_k(RANKED, 0)
