"""Duplicates, clusters, outliers and maps, against plain loops and hand-made collections."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from embed.errors import InvalidQuery
from embed.types import Floats, Modality, normalise
from index.collection import Collection
from index.search.curation import clusters, joined, links, middles, neighbours, plane, strangeness
from index.search.survey import Survey
from index.types import Entry, NewFragment
from index.vectors.exact import ExactIndex

IMAGE, TEXT = Modality.IMAGE, Modality.TEXT


def around(rng: np.random.Generator, centres: Floats, each: int, spread: float) -> Floats:
    """`each` points near every centre, one centre after the other."""
    noise = rng.standard_normal((len(centres), each, centres.shape[1]))
    points: Floats = normalise((centres[:, None] + spread * noise).reshape(-1, centres.shape[1]))
    return points


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def test_links_are_all_pairs_at_least_so_alike(rng: np.random.Generator) -> None:
    """With far more of them than are asked for at first."""
    vectors = around(rng, np.eye(8, dtype=np.float32)[:4], 90, 0.08)
    ids = np.sort(rng.permutation(5000)[: len(vectors)])
    engine = ExactIndex(8)
    engine.upsert(ids, vectors)
    found = list(links(ids, vectors, engine, 0.95))
    cosines = vectors @ vectors.T
    told = {(link.one, link.other) for link in found}
    sure = {
        (int(ids[a]), int(ids[b]))
        for a, b in combinations(range(len(ids)), 2)
        if cosines[a, b] >= 0.95 + 1e-5
    }
    perhaps = {
        (int(ids[a]), int(ids[b]))
        for a, b in combinations(range(len(ids)), 2)
        if cosines[a, b] >= 0.95 - 1e-5
    }
    assert len(told) == len(found) > 1000
    assert sure <= told <= perhaps


def test_what_is_connected_is_one_group() -> None:
    pairs = [(5, 1), (2, 3), (9, 8), (1, 7), (7, 5), (4, 3)]
    assert joined(pairs) == [[1, 5, 7], [2, 3, 4], [8, 9]]
    assert joined([]) == []


def test_neighbours_are_the_nearest_others(rng: np.random.Generator) -> None:
    vectors = normalise(rng.standard_normal((40, 8)))
    vectors[1] = vectors[0]
    ids = rng.permutation(100)[:40]
    engine = ExactIndex(8)
    engine.upsert(ids, vectors)
    near, cosines = neighbours(ids, vectors, engine, 5)
    truth = vectors @ vectors.T
    np.fill_diagonal(truth, -2)
    np.testing.assert_allclose(cosines, -np.sort(-truth, axis=1)[:, :5], atol=1e-5)
    assert all(row not in some for row, some in enumerate(near))
    few = ExactIndex(8)
    few.upsert(ids[:3], vectors[:3])
    near, cosines = neighbours(ids[:3], vectors[:3], few, 5)
    assert (near >= 0).sum() == 6
    np.testing.assert_allclose(
        strangeness(cosines)[2], 1 - float(vectors[2] @ vectors[0]), atol=1e-5
    )


def test_clusters_are_found_again_whatever_the_seed(rng: np.random.Generator) -> None:
    centres = np.eye(8, dtype=np.float32)[:5]
    vectors = np.concatenate([around(rng, centres, 40, 0.1), around(rng, centres[:1], 60, 0.1)])
    truth = np.concatenate([np.repeat(np.arange(5), 40), np.zeros(60, int)])
    for seed in range(5):
        found = clusters(vectors, 5, seed=seed)
        again = clusters(vectors, 5, seed=seed)
        np.testing.assert_array_equal(found.labels, again.labels)
        if len({tuple(np.unique(truth[found.labels == one])) for one in range(5)}) == 5:
            break
    assert (found.labels == 0).sum() == 100
    for one in range(5):
        mine = vectors[found.labels == one]
        middle = normalise(mine.sum(axis=0, keepdims=True))[0]
        np.testing.assert_allclose(found.centres[one], middle, atol=1e-5)
    np.testing.assert_array_equal((vectors @ found.centres.T).argmax(axis=1), found.labels)
    same = clusters(np.repeat(centres[:2], 3, axis=0), 5)
    assert len(same.centres) == 2


def test_a_map_keeps_neighbours_together_and_is_the_same_each_time(
    rng: np.random.Generator,
) -> None:
    vectors = around(rng, np.eye(8, dtype=np.float32), 30, 0.1)
    truth = np.repeat(np.arange(8), 30)
    engine = ExactIndex(8)
    engine.upsert(np.arange(240), vectors)
    near, _ = neighbours(np.arange(240), vectors, engine, 10)
    places = plane(vectors, near)
    np.testing.assert_array_equal(places, plane(vectors, near))
    assert places.shape == (240, 2)
    assert places.min() >= 0
    assert places.max() <= 1
    apart = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    kept = (truth[apart.argmin(axis=1)] == truth).mean()
    flat = plane(vectors, near, epochs=0)
    apart = ((flat[:, None] - flat[None]) ** 2).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    assert kept > 0.95
    assert kept > (truth[apart.argmin(axis=1)] == truth).mean()
    assert plane(vectors[:1], np.full((1, 3), -1)).tolist() == [[0.5, 0.5]]


def test_middles_are_directions_of_all_pieces() -> None:
    vectors = np.eye(4, dtype=np.float32)[[0, 1, 2, 2]]
    owners, found = middles(np.array([7, 3, 7, 3]), vectors)
    assert owners.tolist() == [3, 7]
    np.testing.assert_allclose(found[0], normalise((vectors[1] + vectors[3])[None])[0], atol=1e-6)
    owners, found = middles(np.array([1, 1]), np.stack([vectors[0], -vectors[0]]))
    np.testing.assert_array_equal(found[0], vectors[0])


# A collection


@pytest.fixture
def survey(collection: Collection, rng: np.random.Generator) -> Survey:
    """Pictures around three axes, two of them twice, one far from all; a text or two."""
    axes = np.eye(8, dtype=np.float32)
    vectors = [*around(rng, axes[:3], 20, 0.15), axes[7]]
    entries = [
        Entry(id=f"{n:02}", modality=IMAGE, digest="d", fragments=[NewFragment(None, vector)])
        for n, vector in enumerate(vectors)
    ]
    entries += [
        Entry(id=f"twin{n}", modality=IMAGE, digest="d", fragments=entries[n].fragments)
        for n in (4, 4, 25)
    ]
    entries.append(
        Entry(id="t", modality=TEXT, digest="d", fragments=[NewFragment(None, axes[5])] * 2)
    )
    collection.write(entries)
    collection.write([Entry(id="two", modality=IMAGE, digest="d", fragments=entries[4].fragments)])
    return collection.survey()


def test_a_survey_tells_what_is_there_twice(survey: Survey) -> None:
    groups = survey.duplicates(least=0.999)
    assert [[item.id for item in group.items] for group in groups] == [
        ["04", "twin4", "two"],
        ["25", "twin25"],
    ]
    assert all(group.cosine == pytest.approx(1, abs=1e-5) for group in groups)
    assert survey.duplicates(TEXT) == []
    with pytest.raises(InvalidQuery, match=r"no audio items.*image, text"):
        survey.duplicates(Modality.AUDIO)
    with pytest.raises(InvalidQuery, match="least is 0"):
        survey.duplicates(least=0)


def test_a_survey_tells_clusters_outliers_and_a_map(survey: Survey) -> None:
    sizes = [cluster.size for cluster in survey.clusters(count=4)]
    assert sum(sizes) == 64
    assert all(cluster.examples for cluster in survey.clusters())
    assert [outlier.item.id for outlier in survey.outliers(count=1)] == ["60"]
    spots = survey.map()
    assert len(spots) == 64
    assert {spot.item.modality for spot in spots} == {IMAGE}
    with pytest.raises(InvalidQuery, match="1 to 200"):
        survey.clusters(count=0)
