"""Every filter, answered by Qdrant, means what its definition says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("qdrant_client", reason="needs crossbind[qdrant]")
pytest.importorskip("qdrant_edge", reason="needs crossbind[qdrant]")


from embed.types import GeoPoint, Item, Modality, Origin
from index.metadata.bounds import Circle, Op
from index.metadata.filters import And, Filter, Has, Not, Or, Predicate, matches
from index.qdrant import filters as qdrant_filters
from index.qdrant.server import ClientDialect
from index.types import Where

VALUES: list[Any] = [
    None, 2020, 2020.0, 2020.5, -3, 0, 1, True, False, "", "2020", "Sea", "the Sea, the sky", "été",
    "海辺の町", "2024-05-01", "2024-05-01T02:00:00+02:00", "2024-05-01T00:00:00.5", "3024-05-01",
    "not a time", [], ["Sea"], ["Sea", "sky"], ["Sea", "Sea"], [1, 2], [1, 1.0], [1, True],
    ["1", 1], ["the sky", "a sea"], ["2024-05-01", "2025-05-01"], 2**53, 2**53 + 1, 10**400,
    -(2**60) - 1,
    1e300, 0.1, GeoPoint(48.1, 11.5), GeoPoint(0.0, 0.0), "x" * 300, "x" * 299 + "y",
]  # fmt: skip
BOUNDS = [
    2020, 2020.0, 2020.5, 1, 0, True, False, "", "2020", "Sea", "sea", "2024-05-01", "2024-04-30",
    "2024-05-01T00:00:00.499999", "3024-05-01", "not a time", 2**53, 2**53 - 1, 2**53 + 1, 10**400,
    -1e300, 0.1, "x" * 300,
]  # fmt: skip
ORDERS = [Op.GT, Op.GTE, Op.LT, Op.LTE]


def _items() -> list[tuple[Item, frozenset[Modality]]]:
    made = []
    for number, value in enumerate(VALUES):
        metadata = {} if value is None else {"f": value, "a b.c[0]": value, "x_1": value}
        has = {Modality.IMAGE, list(Modality)[number % 3]}
        item = Item(
            id=str(number),
            record=f"r{number % 5}",
            modality=Modality.IMAGE,
            uri=None,
            digest="d",
            title=None if number % 4 == 0 else f"The Sea {number}",
            text=None if number % 3 else "words of the sea",
            origin=Origin.OBSERVED,
            metadata=metadata,
            created=f"2024-05-{1 + number % 28:02}T10:00:00+00:00",
        )
        made.append((item, frozenset(has)))
    return made


def _filters() -> list[Filter]:
    fields = ["f", "a b.c[0]", "x_1", "nowhere"]
    made: list[Filter] = []
    for field in fields:
        made += [Predicate(field, op, bound) for op in (Op.EQ, Op.NE) for bound in BOUNDS]
        made += [
            Predicate(field, op, bound)
            for op in ORDERS
            for bound in BOUNDS
            if not isinstance(bound, bool)
        ]
        made += [
            Predicate(field, Op.MATCH, words) for words in ("sea", "SEA sky", "ete", "海", "!")
        ]
        made += [Predicate(field, Op.IN, some) for some in ((), (2020, "Sea"), (True,), (1, "1"))]
        made += [
            Predicate(field, Op.GEO, Circle(GeoPoint(48.1, 11.5), metres)) for metres in (0.0, 1e7)
        ]
        made.append(Predicate(field, Op.EXISTS))
    for field in ("@id", "@record", "@modality", "@uri", "@title", "@text", "@origin", "@created"):
        for bound in (
            "3",
            "r2",
            "image",
            "The Sea 5",
            "words of the sea",
            "2024-05-07",
            "observed",
        ):
            made += [Predicate(field, op, bound) for op in (Op.EQ, Op.NE, Op.LT, Op.GTE)]
        made += [Predicate(field, Op.EXISTS), Predicate(field, Op.MATCH, "sea")]
    return [*made, *map(Has, Modality), And(()), Or(())]


def _trees(count: int) -> list[Filter]:
    """Joined at random, three deep."""
    rng, leaves = np.random.default_rng(5), _filters()

    def grow(depth: int) -> Filter:
        if depth == 0 or rng.random() < 0.2:
            return leaves[rng.integers(len(leaves))]
        parts = tuple(grow(depth - 1) for _ in range(rng.integers(0, 4)))
        return [And(parts), Or(parts), Not(grow(depth - 1))][rng.integers(3)]

    return [grow(3) for _ in range(count)]


@pytest.mark.parametrize("opened", ["qdrant:memory", "qdrant-edge", "qdrant:http"], indirect=True)
def test_every_filter_means_what_the_definition_says(no_probes, opened, units) -> None:
    items = _items()
    engine, ids = opened(), np.arange(len(items))
    vectors = units(np.random.default_rng(6), len(items))
    engine.upsert(ids, vectors)
    engine.commit(1, no_probes)
    engine.put_payloads(ids, [item for item, _ in items], [has for _, has in items])
    engine.commit_payloads(1)
    native = 0
    every = 7 if engine._points.approximate else 1  # over HTTP they take their time
    for f in [*_filters(), *_trees(300)][::every]:
        true = [i for i, (item, has) in enumerate(items) if matches(f, item, has)]
        asked: list[str] = []

        def ids_of(true: list[int] = true, asked: list[str] = asked) -> Any:
            asked.append("ids")
            return np.array(true, dtype=np.int64)

        found = engine.search(vectors[:1], len(items), Where(ids_of, f)).ids[0]
        assert sorted(found[found >= 0].tolist()) == true, f
        native += not asked
    assert native > 500 / every


def test_what_is_said_in_doubles_says_which_filters_go_by_ids() -> None:
    def native(f: Filter) -> bool:
        return qdrant_filters.condition(f, ClientDialect()) is not None

    def ordered(bound: Any) -> Filter:
        return Predicate("f", Op.GT, bound)

    assert native(ordered(2**53 - 1))
    assert native(ordered("2024-05-01"))
    assert native(Predicate("@title", Op.MATCH, "sea"))
    for f in (
        ordered(2**53),
        ordered("b"),
        Predicate("f", Op.MATCH, "sea sky"),
        Predicate("f", Op.MATCH, "海"),
        Predicate("@text", Op.MATCH, "sea"),
        Predicate("f", Op.GEO, Circle(GeoPoint(0, 0), 1)),
    ):
        assert not native(f)
        assert not native(And((Has(Modality.TEXT), Not(f))))
