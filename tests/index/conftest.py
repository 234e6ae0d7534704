"""What the tests of the index share: a judge that is not the engine, and small collections."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embed.types import Floats, Modality, Space, normalise
from index.catalog import Catalog
from index.collection import Collection
from index.types import Entry, Found, NewFragment, VectorIndex

DIM = 8
QDRANT_URL = os.environ.get("CROSSBIND_TEST_QDRANT_URL", "")  # of a server that wants no key
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
        assert self.judge(queries, k, found, where) == 1.0

    def judge(
        self,
        queries: Floats,
        k: int,
        found: Found,
        where: set[int] | None = None,
        atol: float = 1e-6,
    ) -> float:
        """The share of the k best that were found. What was found must be true, whatever it is."""
        assert found.ids.shape == found.scores.shape == (len(queries), k)
        hits = total = 0
        for query, ids, scores in zip(queries, found.ids, found.scores, strict=True):
            best = self.search(query, k, where)
            mine = ids[: len(best)].tolist()
            assert np.all(ids[len(best) :] == -1)
            assert np.all(scores[len(best) :] == -np.inf)
            assert -1 not in mine
            assert len(set(mine)) == len(best)
            assert where is None or set(mine) <= where
            assert np.all(np.diff(scores[: len(best)]) <= atol)
            own = [float(query @ self.vectors[i]) for i in mine]
            np.testing.assert_allclose(scores[: len(best)], own, atol=atol)
            hits += sum(score >= best[-1] - atol for score in own)
            total += len(best)
        return hits / total if total else 1.0


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


@dataclass(frozen=True)
class Engine:
    """An engine under test. recall: the least it may find, once its rows are sealed.

    needs: the package that it is skipped without.
    """

    address: str
    recall: float = 1.0
    needs: str = "numpy"
    atol: float = 1e-6

    def __str__(self) -> str:
        return self.address


ENGINES = [
    Engine("exact"),
    Engine("faiss:flat", needs="faiss"),
    Engine("auto", 0.95, needs="faiss"),
    Engine("faiss:hnsw?recall=0.99", 0.98, needs="faiss"),
    Engine("faiss:ivf", 0.95, needs="faiss"),
    Engine("faiss:ivf-sq8", 0.95, needs="faiss"),
    Engine("faiss:ivf-pq", 0.93, needs="faiss"),
    Engine("faiss:rabitq", 0.93, needs="faiss"),
    Engine("qdrant:memory", needs="qdrant_client"),
    Engine("qdrant-edge", needs="qdrant_edge"),
    # `qdrant:/folder` syncs each point by itself, so its life in qdrant/ is shorter.
    Engine(f"qdrant:{QDRANT_URL}", needs="qdrant_client"),
]


@pytest.fixture(params=ENGINES, ids=str)
def case(request: pytest.FixtureRequest) -> Engine:
    pytest.importorskip(request.param.needs)
    found: Engine = request.param
    if found.address == "qdrant:":
        pytest.skip("CROSSBIND_TEST_QDRANT_URL names no Qdrant server to test with")
    return found


@pytest.fixture(params=["exact", "faiss:flat", "auto"])
def address(request: pytest.FixtureRequest) -> str:
    if request.param != "exact":
        pytest.importorskip("faiss")
    return str(request.param)


@pytest.fixture
def collection(catalog: Catalog) -> Collection:
    return Collection(catalog, catalog.create_collection("c", space=SPACE, chunker="whole"))


def torn_searches(
    engine: VectorIndex,
    groups: Floats,
    *,
    readers: int,
    writes: int,
    at_once: tuple[int, ...],
    seed: int,
) -> list[object]:
    """What searches saw beside a writer that was no whole state, or that broke them.

    groups: `(40, dim)`. Ids come in groups of ten, each group one vector: a whole state holds whole
    groups. at_once: how many queries a search may have.
    """
    torn: list[object] = []
    stop = threading.Event()

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            while not stop.is_set():
                group = int(rng.integers(40))
                found = engine.search(groups[[group] * int(rng.choice(at_once))], 10)
                here = found.ids[0][found.scores[0] > 0.9999]
                if len(here) not in {0, 10} or not np.all(here // 10 == group):
                    torn.append(found.ids[0].tolist())
        except Exception as error:
            torn.append(error)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(readers)]
    for thread in threads:
        thread.start()
    rng = np.random.default_rng(seed)
    for _ in range(writes):
        group = int(rng.integers(40))
        ids = np.arange(10 * group, 10 * group + 10)
        if rng.random() < 0.6:
            engine.upsert(ids, np.repeat(groups[group][None], 10, axis=0))
        else:
            engine.remove(ids)
    stop.set()
    for thread in threads:
        thread.join()
    return torn


@pytest.fixture(name="torn_searches")
def torn_searches_fixture() -> Callable[..., list[object]]:
    return torn_searches
