"""Shards answer as one collection that holds everything does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embed.calibration import Curve
from embed.errors import InvalidQuery, SpaceMismatch
from embed.types import Floats, Modality, Space
from index.catalog import Catalog
from index.collection import Collection
from index.metadata.filter_text import parse_filter
from index.search.query import Query
from index.search.router import Router
from index.types import Entry, NewFragment, Partition, VectorKind

SHARDS = 3
KINDS = (Modality.IMAGE, Modality.TEXT, Modality.AUDIO)


STEEP, FLAT = Curve(8, 0), Curve(2, 0.5)


@pytest.fixture
def halves(
    tmp_path: Path, catalog: Catalog, space: Space, units: Callable[..., Floats]
) -> tuple[Collection, list[Collection]]:
    """One collection of 150 items of up to three pieces, and the same dealt out to three homes."""
    rng = np.random.default_rng(11)
    entries = []
    for n in range(150):
        count = int(rng.integers(1, 4))
        pieces = zip(units(rng, count), units(rng, count, 4), strict=True)
        kind = KINDS[int(rng.integers(3))]
        entries.append(
            Entry(
                id=f"i{n}",
                modality=kind,
                digest=f"{n}",
                uri=f"file:///{n}",
                metadata={"n": n},
                fragments=[
                    NewFragment(None, joint, native if kind is Modality.IMAGE else None)
                    for joint, native in pieces
                ],
            )
        )
    catalogs = [catalog, *(Catalog(tmp_path / f"{n}" / "catalog.db") for n in range(SHARDS))]
    whole, *shards = [
        Collection(one, one.create_collection("c", space=space, chunker="1")) for one in catalogs
    ]
    whole.write(entries)
    dealt = rng.integers(SHARDS, size=len(entries))
    for number, shard in enumerate(shards):
        shard.write([entry for entry, to in zip(entries, dealt, strict=True) if to == number])
    return whole, shards


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"k": 1},
        {"k": 200},
        {"k": 7, "offset": 9},
        {"k": 20, "min_score": 0.3},
        {"modalities": frozenset({Modality.TEXT})},
        {"filter": parse_filter("n >= 40 and n < 60")},
        {"filter": parse_filter("n > 999")},
        {"native": True, "k": 12},
        {"curves": True, "k": 30},
        {"curves": True, "k": 30, "min_probability": 0.6},
    ],
)
def test_the_best_of_all_are_those_of_one_collection(
    halves: tuple[Collection, list[Collection]], units: Callable[..., Floats], about: dict[str, Any]
) -> None:
    whole, shards = halves
    router = Router(shards)
    rng = np.random.default_rng(12)
    curves = {Partition(kind, VectorKind.JOINT): STEEP for kind in KINDS}
    curves[Partition(Modality.TEXT, VectorKind.JOINT)] = FLAT
    for joint, native in zip(units(rng, 12), units(rng, 12, 4), strict=True):
        given = dict(about)
        if given.pop("native", False):
            given["native"] = {Modality.IMAGE: native}
        if given.pop("curves", False):
            given["curves"] = curves
        query = Query(joint=joint, **given)
        one, found = whole.search(query), router.search(query)
        assert [placed.hit.item.id for placed in found.hits] == [h.item.id for h in one.hits]
        for placed, hit in zip(found.hits, one.hits, strict=True):
            assert (placed.hit.score, placed.hit.rank_score) == pytest.approx(
                (hit.score, hit.rank_score), abs=1e-6
            )
            assert placed.hit.probability == pytest.approx(hit.probability, abs=1e-6)
            assert shards[placed.shard].item(hit.item.id).uri == hit.item.uri
        assert (found.exact, found.recall_estimate) == (one.exact, one.recall_estimate)
    router.close()


def test_what_needs_all_side_by_side_is_refused(
    halves: tuple[Collection, list[Collection]], tmp_path: Path, space: Space, units: Any
) -> None:
    whole, shards = halves
    router = Router(shards)
    plain = Query(joint=units(np.random.default_rng(1), 1)[0])
    alone: dict[str, Any] = {
        "words": "sea",
        "group_by": "record",
        "collapse": 0.9,
        "diversity": 0.1,
        "seen": frozenset({1}),
        "exclude": frozenset({"i1"}),
    }
    for name, value in alone.items():
        with pytest.raises(InvalidQuery, match=name):
            router.search(replace(plain, **{name: value}))
    router.close()
    other = Catalog(tmp_path / "other.db")
    info = other.create_collection("c", space=replace(space, revision="2"), chunker="1")
    with pytest.raises(SpaceMismatch, match="one space"):
        Router([whole, Collection(other, info)])
    other.close()
