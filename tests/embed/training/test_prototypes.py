"""The recipe of the class prototypes, on a WordNet small enough to check by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from embed.backends.builtin.space import Builtin
from embed.errors import NotFound
from embed.registry import LoadOptions
from embed.training.prototypes import ancestors, prototypes, read_nouns, specificity
from embed.types import Media, Modality
from embed.weights import store

DATA = """\
  1 This line is part of a licence.
00000001 03 n 01 entity 0 000 | that which exists
00000002 05 n 02 animal 0 fauna 0 001 @ 00000001 n 0000 | a living organism; "it moves"
00000003 05 n 01 pet 0 001 @ 00000001 n 0000 | an animal kept for company
00000004 05 n 02 house_cat 0 cat 1 003 @ 00000002 n 0 @ 00000003 n 0 ~ 00000009 n 0 | feline
00000005 05 n 01 dog 0 002 @ 00000002 n 0000 @i 00000003 n 0000 | a canine that barks
00000006 06 n 01 bicycle 0 001 @ 00000001 n 0000 | a vehicle with two wheels and pedals
"""
CLASSES = ["n00000004", "n00000005", "n00000006"]
NAMES = ["cat", "dog", "bicycle"]


@pytest.fixture
def wordnet(tmp_path: Path) -> Path:
    (tmp_path / "data.noun").write_text(DATA, encoding="latin-1")
    return tmp_path


def test_nouns_are_read(wordnet: Path) -> None:
    nouns = read_nouns(wordnet)
    assert len(nouns) == 6
    assert nouns["n00000004"].lemmas == ("house cat", "cat")
    assert nouns["n00000004"].parents == ("n00000002", "n00000003")
    assert nouns["n00000005"].parents == ("n00000002", "n00000003")
    assert nouns["n00000002"].gloss == "a living organism"


def test_ancestors_follow_every_parent_and_count_each_class_once(wordnet: Path) -> None:
    nouns = read_nouns(wordnet)
    assert ancestors("n00000004", nouns) == {"n00000001", "n00000002", "n00000003"}
    weights = specificity(CLASSES, nouns)
    assert weights["n00000001"] == 0
    assert weights["n00000002"] == weights["n00000003"] == pytest.approx(math.log(3 / 2))


def test_prototypes_answer_to_names_and_to_what_is_above(wordnet: Path, model_cache: Path) -> None:
    wordnet.joinpath("data.noun").write_text(
        DATA + "00000007 06 n 01 car 0 001 @ 00000001 n 0000 | a motor vehicle\n"
        "00000008 06 n 01 roadster 0 001 @ 00000007 n 0000 | an open car with two seats\n"
    )
    embedder = Builtin(LoadOptions(cache=model_cache, threads=1))
    classes, names = [*CLASSES[:2], "n00000008"], [*NAMES[:2], "roadster"]
    vectors = prototypes(classes, names, read_nouns(wordnet), embedder)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    queries = ["a photo of a cat", "a canine that barks", "a car"]
    words = embedder.embed([Media(Modality.TEXT, query) for query in queries]).joint
    assert (words @ vectors.T).argmax(axis=1).tolist() == [0, 1, 2]
    animals, cars = vectors[:2], vectors[2:]
    fauna = embedder.embed([Media(Modality.TEXT, "fauna")]).joint[0]
    assert (animals @ fauna).min() > (cars @ fauna).max()


def test_a_missing_wordnet_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="wordnet-base"):
        read_nouns(tmp_path)


def test_the_shipped_prototypes_are_whole() -> None:
    vectors = np.load(store.find("imagenet-prototypes"), allow_pickle=False)
    assert (vectors.shape, vectors.dtype) == ((1000, 384), np.float16)
    np.testing.assert_allclose(np.linalg.norm(vectors.astype(np.float32), axis=1), 1, atol=1e-3)
    assert len(np.unique(vectors, axis=0)) == 1000
