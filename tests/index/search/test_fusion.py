"""Several rankings to one: by probability where all of them tell it, else by rank."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from embed.calibration import Curve
from embed.types import Modality
from index.collection import Collection
from index.search.fusion import RRF_K, Scored, fuse, judged
from index.search.query import Query
from index.types import Partition, VectorKind

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE
WORDS = [Scored(1, 0.9, 0.9), Scored(2, 0.8, 0.8), Scored(3, 0.7, 0.7)]
PICTURES = [Scored(4, 0.3, 0.3), Scored(5, 0.1, 0.1)]
HIGH, LOW = Curve(20.0, -18.0), Curve(10.0, -2.0)  # one half at .9 and at .2


def fragments(found: list[Scored]) -> list[int]:
    return [scored.fragment for scored in found]


def test_without_curves_ranks_decide() -> None:
    fused = fuse([judged(WORDS, None), judged(PICTURES, None)], 4)
    assert fragments(fused) == [1, 4, 2, 5]
    assert [scored.rank_score for scored in fused] == [1 / (RRF_K + n) for n in (1, 1, 2, 2)]
    assert all(scored.probability is None for scored in fused)


def test_with_a_curve_for_each_probabilities_decide() -> None:
    fused = fuse([judged(WORDS, HIGH), judged(PICTURES, LOW)], 4)
    assert fragments(fused) == [4, 1, 5, 2]  # .73, .50, .27, .12
    assert [scored.rank_score for scored in fused] == [scored.probability for scored in fused]
    assert fused[0].probability == pytest.approx(0.73, abs=0.01)
    assert fused[0].score == 0.3


def test_a_ranking_without_a_curve_puts_all_back_to_ranks_and_the_rest_keeps_its_own() -> None:
    fused = fuse([judged(WORDS, None), judged(PICTURES, LOW)], 4)
    assert fragments(fused) == [1, 4, 2, 5]
    assert [scored.probability is None for scored in fused] == [True, False, True, False]
    assert fragments(fuse([[], judged(PICTURES, LOW), []], 1)) == [4]  # an empty one has no say


def test_a_ranking_that_stands_alone_stays() -> None:
    [first, _] = fuse([judged(PICTURES, LOW)], 5)
    assert first.rank_score == first.score == 0.3
    assert first.probability == LOW(0.3)


def test_a_collection_ranks_by_what_cosines_mean(
    collection: Collection, entry: Callable[..., object], units: Callable[..., np.ndarray]
) -> None:
    """Texts lie near the query and are wrong; a picture lies far, nearer than pictures do."""
    axes = np.eye(8, dtype=np.float32)
    query = axes[0]

    def at(cosine: float, other: int) -> np.ndarray:
        return (cosine * axes[0] + (1 - cosine**2) ** 0.5 * axes[other])[None].astype(np.float32)

    collection.write(
        [
            *(entry(at(0.7, n), modality=TEXT, uri=f"t:{n}", text="no") for n in (1, 2, 3)),
            entry(at(0.3, 4), modality=IMAGE, uri="i:right"),
            entry(at(0.05, 5), modality=IMAGE, uri="i:wrong"),
        ]
    )
    curves = {Partition(TEXT, VectorKind.JOINT): HIGH, Partition(IMAGE, VectorKind.JOINT): LOW}

    def uris(**rest: object) -> list[str | None]:
        return [hit.item.uri for hit in collection.search(Query(joint=query, k=5, **rest)).hits]

    assert uris()[0] == "t:1"
    assert uris(curves=curves) == ["i:right", "i:wrong", "t:1", "t:2", "t:3"]
    best, *_ = collection.search(Query(joint=query, curves=curves)).hits
    assert best.probability == best.rank_score == pytest.approx(LOW(0.3), abs=1e-6)
    assert best.score == pytest.approx(0.3)
    assert uris(curves={Partition(IMAGE, VectorKind.JOINT): LOW})[0] == "t:1"
    many = collection.search_batch([Query(joint=query, k=1, curves=curves)] * 2)
    assert [row.hits[0].item.uri for row in many] == ["i:right"] * 2
