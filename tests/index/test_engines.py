"""Every engine against the oracle: the same random life, the same answers."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

from embed.errors import BadInput, InvalidQuery, InvalidVector, MissingDependency, NotFound
from index import dense, factory
from index.exact import ExactIndex
from index.factory import open_index
from index.types import VectorIndex

DIM = 8


@pytest.fixture
def engine(address: str) -> VectorIndex:
    return open_index(address, DIM)


def test_an_engine_keeps_the_contract(engine) -> None:
    assert isinstance(engine, VectorIndex)
    assert engine.dim == DIM
    assert len(engine) == 0


@pytest.mark.parametrize("seed", range(6))
def test_a_random_life_against_the_oracle(engine, oracle, units, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(60):
        ids = rng.integers(0, 200, rng.integers(1, 30))
        if rng.random() < 0.6:
            vectors = units(rng, len(ids))
            engine.upsert(ids, vectors)
            oracle.vectors.update(zip(ids.tolist(), vectors, strict=True))
        else:
            engine.remove(ids)
            for one in ids.tolist():
                oracle.vectors.pop(one, None)
        assert len(engine) == len(oracle.vectors)
        queries = units(rng, int(rng.integers(1, 4)))
        k = int(rng.integers(1, 40))
        oracle.agrees(queries, k, engine.search(queries, k))
        share = rng.random()
        where = np.flatnonzero(rng.random(250) < share)
        found = engine.search(queries, k, where)
        oracle.agrees(queries, k, found, set(where.tolist()))


def test_growing_at_the_end_is_the_same_as_all_at_once(engine, oracle, units) -> None:
    rng = np.random.default_rng(1)
    vectors = units(rng, 500)
    for start in range(0, 500, 7):
        ids = np.arange(start, min(start + 7, 500))
        engine.upsert(ids, vectors[ids])
        engine.remove(np.array([start]))
    oracle.vectors = {i: vectors[i] for i in range(500) if i % 7}
    assert len(engine) == len(oracle.vectors)
    oracle.agrees(vectors[:20], 12, engine.search(vectors[:20], 12))


@pytest.mark.parametrize("where", [None, "few", "most"])
def test_blocks_do_not_show(address, oracle, units, monkeypatch, where: str | None) -> None:
    monkeypatch.setattr(dense, "BLOCK_BYTES", 4 * DIM * 10)
    monkeypatch.setattr("index.exact.BLOCK_BYTES", 4 * 7 * 5)
    monkeypatch.setattr("index.exact._QUERIES", 7)
    rng = np.random.default_rng(2)
    engine, vectors = open_index(address, DIM), units(rng, 300)
    engine.upsert(np.arange(300), vectors)
    oracle.vectors = dict(enumerate(vectors))
    allowed = None
    if where is not None:
        allowed = np.flatnonzero(rng.random(300) < (0.15 if where == "few" else 0.8))
    queries = units(rng, 17)
    found = engine.search(queries, 9, allowed)
    oracle.agrees(queries, 9, found, None if allowed is None else set(allowed.tolist()))


def test_equal_scores_come_in_the_order_of_ids(engine) -> None:
    one = np.eye(1, DIM, dtype=np.float32)
    engine.upsert(np.array([9, 4, 7]), np.repeat(one, 3, axis=0))
    assert engine.search(one, 3).ids.tolist() == [[4, 7, 9]]


def test_the_exact_engine_gives_the_last_place_to_the_lowest_id(monkeypatch) -> None:
    monkeypatch.setattr("index.exact.BLOCK_BYTES", 4 * 10)
    one, other = np.eye(2, DIM, dtype=np.float32)  # exact products: BLAS may round rows differently
    engine = ExactIndex(DIM)
    engine.upsert(np.arange(100), np.repeat(one[None], 100, axis=0))
    engine.upsert(np.array([50]), other[None])
    assert engine.search(one[None], 52).ids[0].tolist() == [i for i in range(53) if i != 50]
    assert engine.search(other[None], 3).ids[0].tolist() == [50, 0, 1]


def test_of_an_id_given_twice_the_last_counts(engine, units) -> None:
    vectors = units(np.random.default_rng(4), 3)
    engine.upsert(np.array([5, 1, 5]), vectors)
    assert len(engine) == 2
    found = engine.search(vectors[2:], 1)
    assert found.ids.tolist() == [[5]]
    assert found.scores[0, 0] == pytest.approx(1, abs=1e-6)


def test_an_empty_engine_finds_nothing(engine, units) -> None:
    found = engine.search(units(np.random.default_rng(5), 2), 3)
    assert found.ids.tolist() == [[-1] * 3] * 2
    assert np.all(found.scores == -np.inf)
    assert found.exact
    assert found.recall_estimate == 1.0


def test_no_queries_get_no_rows(engine, units) -> None:
    engine.upsert(np.arange(3), units(np.random.default_rng(6), 3))
    assert engine.search(np.empty((0, DIM), np.float32), 2).ids.shape == (0, 2)


def test_where_of_nothing_known_finds_nothing(engine, units) -> None:
    vectors = units(np.random.default_rng(6), 3)
    engine.upsert(np.arange(3), vectors)
    engine.remove(np.array([1, 77]))
    assert engine.search(vectors[:1], 2, np.array([1, 50])).ids.tolist() == [[-1, -1]]


def test_removed_rows_are_cleared_away(engine, oracle, units) -> None:
    vectors = units(np.random.default_rng(7), 1000)
    engine.upsert(np.arange(1000), vectors)
    engine.remove(np.arange(0, 900))
    assert len(engine._state.ids) == 100
    oracle.vectors = {i: vectors[i] for i in range(900, 1000)}
    oracle.agrees(vectors[:5], 150, engine.search(vectors[:5], 150))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused(engine, units, bad: float) -> None:
    vectors = units(np.random.default_rng(8), 2)
    engine.upsert(np.arange(2), vectors)
    spoilt = vectors.copy()
    spoilt[1, 3] = bad
    with pytest.raises(InvalidVector):
        engine.upsert(np.array([8, 9]), spoilt)
    with pytest.raises(InvalidVector):
        engine.search(spoilt, 1)
    assert len(engine) == 2


def test_wrong_shapes_and_counts_are_refused(engine, units) -> None:
    vectors = units(np.random.default_rng(9), 2)
    with pytest.raises(InvalidVector):
        engine.upsert(np.arange(3), vectors)
    with pytest.raises(InvalidVector):
        engine.upsert(np.arange(2), units(np.random.default_rng(9), 2, DIM + 1))
    with pytest.raises(InvalidVector):
        engine.search(vectors[0], 1)
    with pytest.raises(InvalidQuery, match="k is 0"):
        engine.search(vectors, 0)
    with pytest.raises(BadInput, match="-3"):
        engine.upsert(np.array([-3, 1]), vectors)


def test_readers_beside_a_writer_see_whole_states(engine, units) -> None:
    """Ids come in groups of ten, each group one vector: a whole state holds whole groups."""
    groups = units(np.random.default_rng(10), 40)
    torn: list[object] = []
    stop = threading.Event()

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            while not stop.is_set():
                group = int(rng.integers(40))
                found = engine.search(groups[group][None], 10)
                scores = found.scores[0]
                here = found.ids[0][scores > 0.9999]
                if len(here) not in {0, 10} or not np.all(here // 10 == group):
                    torn.append(found.ids[0].tolist())
        except Exception as error:
            torn.append(error)

    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
    for reader in readers:
        reader.start()
    rng = np.random.default_rng(11)
    for _ in range(400):
        group = int(rng.integers(40))
        ids = np.arange(10 * group, 10 * group + 10)
        if rng.random() < 0.6:
            engine.upsert(ids, np.repeat(groups[group][None], 10, axis=0))
        else:
            engine.remove(ids)
    stop.set()
    for reader in readers:
        reader.join()
    assert torn == []


def test_an_unknown_address_names_the_choices() -> None:
    with pytest.raises(NotFound, match=r"'annoy'.*exact, faiss:flat"):
        open_index("annoy", DIM)


def test_an_absent_faiss_answers_with_the_command(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.delitem(sys.modules, "index.faiss_backend", raising=False)
    with pytest.raises(MissingDependency, match=r"pip install 'crossbind\[cpu\]'"):
        factory.open_index("faiss:flat", DIM)


def test_the_default_engine_does_not_load_faiss() -> None:
    code = (
        "import sys, index.collection; from index.factory import open_index; "
        "open_index('exact', 4); sys.exit('faiss' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
