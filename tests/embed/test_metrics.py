"""Metrics on matrices small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from embed.training.metrics import (
    aurc,
    auroc,
    bootstrap_interval,
    brier,
    ece,
    first_rank,
    k_occurrence,
    matches,
    modality_gap,
    ndcg_at_k,
    paired_bootstrap,
    precision_at_k,
    ranked,
    recall_at_k,
    reciprocal_rank,
    risk_coverage,
    skewness,
)

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


def test_scores_become_ranks_and_equal_ones_stay_in_order() -> None:
    scores = np.array([[0.1, 0.9, 0.9, 0.2], [0.5, 0.5, 0.5, 0.5]])
    relevant = np.array([[False, False, True, False], [True, False, False, True]])
    relevance = ranked(scores, relevant)
    np.testing.assert_array_equal(relevance, [[0, 1, 0, 0], [1, 0, 0, 1]])
    np.testing.assert_array_equal(first_rank(relevance), [2, 1])
    np.testing.assert_array_equal(reciprocal_rank(relevance), [0.5, 1])
    np.testing.assert_array_equal(first_rank(RANKED), [1, 5, 2])  # 5 of 4: it is not there
    np.testing.assert_array_equal(reciprocal_rank(RANKED), [1, 0, 0.5])
    with pytest.raises(ValueError, match=r"\(2, 4\) and flags \(4, 2\)"):
        ranked(scores, relevant.T)


def test_many_captions_to_one_picture() -> None:
    pictures, captions = np.array([7, 8]), np.array([7, 7, 8, 9])
    np.testing.assert_array_equal(matches(pictures, captions), [[1, 1, 0, 0], [0, 0, 1, 0]])
    scores = np.array([[0.1, 0.8, 0.9, 0.0], [0.3, 0.2, 0.1, 0.0]])
    there = ranked(scores, matches(pictures, captions))
    back = ranked(scores.T, matches(captions, pictures))
    np.testing.assert_array_equal(recall_at_k(there, 2), [1, 0])  # any caption of the picture
    np.testing.assert_array_equal(recall_at_k(back, 1), [0, 1, 0, 0])  # its one picture


def test_auroc_counts_pairs_and_ties_half() -> None:
    scores = np.array([0.9, 0.5, 0.5, 0.1])
    assert auroc(scores, np.array([True, False, True, False])) == (2 + 1.5) / 4
    assert auroc(scores, np.array([True, True, False, False])) == 3.5 / 4
    assert np.isnan(auroc(scores, np.ones(4, np.bool_)))


def test_brier_and_ece_by_hand() -> None:
    told, came = np.array([0.9, 0.9, 0.2, 0.2]), np.array([True, False, False, False])
    assert brier(told, came) == pytest.approx((0.01 + 0.81 + 0.04 + 0.04) / 4)
    assert ece(told, came, bins=2) == pytest.approx((0.2 * 2 + 0.4 * 2) / 4)
    rng = np.random.default_rng(0)
    honest = rng.random(30_000)
    truth = rng.random(30_000) < honest
    assert ece(honest, truth) < 0.01
    assert ece(honest**2, truth) > 0.1
    assert ece(np.array([0.5]), np.array([True])) == 0.5  # fewer answers than bins


def test_risk_falls_with_coverage_where_confidence_means_something() -> None:
    sure, right = np.array([0.1, 0.9, 0.8, 0.2]), np.array([False, True, True, False])
    coverage, risk = risk_coverage(sure, right)
    np.testing.assert_allclose(coverage, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(risk, [0, 0, 1 / 3, 1 / 2])
    assert aurc(sure, right) == pytest.approx((1 / 3 + 1 / 2) / 4)
    assert aurc(-sure, right) > aurc(sure, right)
    with pytest.raises(ValueError, match="both"):
        aurc(sure, right[:2])


def test_a_paired_difference_is_surer_than_its_halves() -> None:
    rng = np.random.default_rng(2)
    theirs = rng.random(300)
    ours = theirs + 0.02 + 0.05 * rng.standard_normal(300)
    gain, low, high = paired_bootstrap(ours, theirs)
    assert low < gain < high
    assert low > 0  # though their intervals overlap:
    assert bootstrap_interval(ours)[0] < bootstrap_interval(theirs)[1]
    with pytest.raises(ValueError, match="pairs"):
        paired_bootstrap(ours, theirs[:5])


def test_a_hub_is_seen() -> None:
    fair = np.eye(30)
    hub = fair.copy()
    hub[:, 3] = 2
    np.testing.assert_array_equal(k_occurrence(fair, 1), np.ones(30))
    assert k_occurrence(hub, 1)[3] == 30
    assert skewness(k_occurrence(fair, 1)) == 0
    assert skewness(k_occurrence(hub, 1)) == pytest.approx(28 / 29**0.5)  # one of 30 has it all


def test_the_gap_between_two_clouds() -> None:
    a, b = np.array([[1.0, 0], [0, 1]]), np.array([[-1.0, 0], [0, -1]])
    assert modality_gap(a, b) == pytest.approx(2**0.5)
    assert modality_gap(a, a[::-1]) == 0
