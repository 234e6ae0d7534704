"""What the tests of the index share: a judge that is not the engine, and small collections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embed.types import Floats, Modality, Space, normalise
from index.catalog import Catalog
from index.collection import Collection
from index.types import Entry, Found, NewFragment

DIM = 8
SPACE = Space(name="toy", revision="1", preprocessing="1", precision="fp32", dim=DIM)


class Oracle:
    """Vectors in a dict, every one looked at: slow, obvious, and the judge of every engine."""

    def __init__(self) -> None:
        self.vectors: dict[int, Floats] = {}

    def search(self, query: Floats, k: int, where: set[int] | None = None) -> list[float]:
        """The k best scores."""
        allowed = self.vectors.keys() if where is None else self.vectors.keys() & where
        return sorted((float(query @ self.vectors[i]) for i in allowed), reverse=True)[:k]

    def agrees(self, queries: Floats, k: int, found: Found, where: set[int] | None = None) -> None:
        """Equal scores may swap ids, so ids are judged by the scores that are truly theirs."""
        assert found.ids.shape == found.scores.shape == (len(queries), k)
        for query, ids, scores in zip(queries, found.ids, found.scores, strict=True):
            best = self.search(query, k, where)
            assert np.all(ids[len(best) :] == -1)
            assert np.all(scores[len(best) :] == -np.inf)
            mine = ids[: len(best)].tolist()
            assert len(set(mine)) == len(best)
            assert where is None or set(mine) <= where
            np.testing.assert_allclose(scores[: len(best)], best, atol=1e-6)
            own = [float(query @ self.vectors[i]) for i in mine]
            np.testing.assert_allclose(scores[: len(best)], own, atol=1e-6)


def units(rng: np.random.Generator, count: int, dim: int = DIM) -> Floats:
    return normalise(rng.standard_normal((count, dim)))


def entry(vectors: Floats, **fields: Any) -> Entry:
    """An item with one whole-item fragment for each row of `vectors`."""
    fields = {"modality": Modality.IMAGE, "digest": "d", **fields}
    return Entry(fragments=[NewFragment(None, vector) for vector in vectors], **fields)


@pytest.fixture
def oracle() -> Oracle:
    return Oracle()


@pytest.fixture(name="units")
def units_fixture() -> Callable[..., Floats]:
    return units


@pytest.fixture(name="entry")
def entry_fixture() -> Callable[..., Entry]:
    return entry


@pytest.fixture
def space() -> Space:
    return SPACE


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    catalog = Catalog(tmp_path / "home" / "catalog.db")
    yield catalog
    catalog.close()


@pytest.fixture(params=["exact", "faiss:flat"])
def address(request: pytest.FixtureRequest) -> str:
    if request.param.startswith("faiss"):
        pytest.importorskip("faiss")
    return str(request.param)


@pytest.fixture
def collection(catalog: Catalog) -> Collection:
    return Collection(catalog, catalog.create_collection("c", space=SPACE, chunker="whole"))
