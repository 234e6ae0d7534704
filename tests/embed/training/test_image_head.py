"""The recipe of the image head, on classes, photos and words small enough to judge."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from embed.backends.builtin.image import Clothes
from embed.training.image_head import refine
from embed.training.image_head.clothes import CAPTIONS
from embed.training.image_head.galleries import Galleries, Gallery
from embed.training.image_head.photos import Photos, split
from embed.training.prototypes import Synset
from embed.training.regression import fit
from embed.types import normalise
from embed.weights import store


def test_softmax_regression_finds_the_optimum() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(["a", "b", "c"], 200)
    features = rng.normal(size=(200, 5)) + 0.7 * (labels[:, None] == np.array([*"abcab"])) + 3
    found = fit(features.astype(np.float32), labels.tolist(), 0.5)
    wanted = LogisticRegression(C=0.5, tol=1e-10, max_iter=2000).fit(features, labels)
    likely = found.posterior(features.astype(np.float32))
    np.testing.assert_allclose(likely, wanted.predict_proba(features), atol=1e-4)
    assert list(found.names) == ["a", "b", "c"]


def photos(count: int, seed: int = 0) -> Photos:
    rng = np.random.default_rng(seed)
    features = rng.normal(0.2, 0.3, (count, 1280)).astype(np.float32)
    nothing = np.zeros(count, np.str_)
    return Photos(
        features, np.zeros((count, 1000), np.float32), nothing, np.arange(count).astype(str)
    )


def test_twins_are_never_parted() -> None:
    alone = photos(150)
    near = alone.features + 0.02 * np.random.default_rng(1).normal(size=alone.features.shape)
    names = np.char.add("twin of ", alone.paths)
    twins = alone._replace(features=near.astype(np.float32), paths=names)
    parts = split(Photos(*(np.concatenate(pair) for pair in zip(alone, twins, strict=True))))
    sizes = [len(part.labels) for part in parts]
    assert sum(sizes) == 300
    np.testing.assert_allclose(sizes, [180, 60, 60], atol=40)
    for part in parts:
        assert {f"twin of {path}" for path in part.paths} >= {
            path for path in part.paths.tolist() if path.startswith("twin")
        }
        assert sum(path.startswith("twin") for path in part.paths.tolist()) * 2 == len(part.paths)


def test_drawn_pictures_are_told_better_the_stronger_they_are() -> None:
    galleries = Galleries(photos(400, seed=2))
    right = []
    for strength in (0.0, 3.0, 8.0):
        gallery = galleries.draw(1, strength)
        np.testing.assert_allclose(gallery.posterior.sum(axis=1), 1, atol=1e-5)
        right.append((gallery.posterior.argmax(axis=1) == gallery.classes).mean())
    assert right[0] < 0.01 < right[1] < 0.5 < right[2]
    again = galleries.draw(1, 8.0)
    np.testing.assert_array_equal(again.posterior, gallery.posterior)


class Blurred:
    """Galleries of a network that often takes a class for the next."""

    def draw(self, seed: int, strength: float, each: int = 1) -> Gallery:
        noise = np.random.default_rng(seed).uniform(0, 0.2, (6, 6))
        likely = 0.6 * np.eye(6) + 0.3 * np.roll(np.eye(6), 1, axis=1) + noise
        return Gallery(np.arange(6), normalise(likely))


def test_refining_ranks_the_right_classes_first_and_goes_half_the_way() -> None:
    rng = np.random.default_rng(3)
    texts = normalise(rng.normal(size=(9, 16)))
    right = np.concatenate([np.eye(6, dtype=bool), np.eye(6, dtype=bool).reshape(3, 2, 6).any(1)])
    made = normalise(texts[:6] + 1.2 * rng.normal(size=(6, 16)))
    asked = refine.Questions(texts, right, np.full(9, 1 / 9))
    found = refine.refined(made, asked, Blurred())  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, refine.refined(made, asked, Blurred()))  # type: ignore[arg-type]
    pictures = Blurred().draw(9, 0.0).posterior
    margins = []
    for rows in (made, found):
        scores = texts @ normalise(pictures @ rows).T
        margins.append(scores[right].mean() - scores[~right].mean())
    assert margins[1] > margins[0] + 0.03
    assert (np.einsum("kd,kd->k", found, made) > 0.6).all()


NOUNS = {
    "n1": Synset(("thing",), "what there is", ()),
    "n2": Synset(("cat", "house cat"), "a pet", ("n4",)),
    "n3": Synset(("dog",), "a pet too", ("n4",)),
    "n4": Synset(("animal",), "it lives", ("n1",)),
    "n5": Synset(("cup",), "to drink from", ("n1",)),
}
TREE = refine.Tree(["n2", "n3", "n5"], ["cat", "dog", "cup"], NOUNS)


def test_questions_know_what_is_right() -> None:
    texts: list[str] = []

    def words(asked: list[str]) -> np.ndarray:
        texts.extend(asked)
        return np.zeros((len(asked), 4), np.float32)

    asked = refine.questions(TREE, ["n4"], words)  # type: ignore[arg-type]
    right = dict(zip(texts, asked.right.tolist(), strict=True))
    assert right["a pet"] == right["house cat"] == [True, False, False]
    assert right["animal"] == right["it lives"] == [True, True, False]
    assert asked.share.sum() == pytest.approx(1)
    assert TREE.called("thing") == [0, 1, 2]
    learnt, left_out = refine.above(TREE)
    assert {*learnt, *left_out} == {"n1", "n4"}


def test_the_shipped_clothes_add_little_where_no_clothes_are_seen() -> None:
    path = store.find("clothes-head")
    with np.load(path, allow_pickle=False) as stored:
        assert stored["names"].tolist() == sorted(CAPTIONS)
        branch, directions = stored["branch"], stored["directions"]
    assert 40 <= branch.sum() <= 70
    np.testing.assert_allclose(directions.mean(axis=0), 0, atol=1e-6)
    clothes = Clothes(path)
    features = photos(1).features[0]
    posterior = np.where(branch, 0, 1 / (~branch).sum()).astype(np.float32)
    np.testing.assert_array_equal(clothes(features, posterior), 0)
    posterior = np.where(branch, 1 / branch.sum(), 0).astype(np.float32)
    lengths = np.linalg.norm(directions, axis=1)
    assert 0.05 < np.linalg.norm(clothes(features, posterior)) <= lengths.max()
