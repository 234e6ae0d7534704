"""Every engine against the oracle: the same random life, the same answers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from embed.errors import (
    BadInput,
    InvalidQuery,
    InvalidVector,
    MissingDependency,
    NotAvailable,
    NotFound,
)
from embed.types import Floats, normalise
from index import factory
from index.factory import open_index
from index.types import Ids, Place, VectorIndex, Where
from index.vectors import dense, plan, sealed, tuning
from index.vectors.exact import ExactIndex
from index.vectors.faiss_engine import FaissIndex

DIM = 8


@pytest.fixture
def engine(case) -> Iterator[VectorIndex]:
    engine = open_index(case.address, DIM)
    yield engine
    engine.close()


@pytest.fixture
def sealing(monkeypatch) -> None:
    """Few rows are enough for a sealed base, and for an approximate search of it."""
    monkeypatch.setattr(plan, "LEAST", 30)
    monkeypatch.setattr(tuning, "_by_row", lambda *_: (1.0, None))
    monkeypatch.setattr(sealed, "_LARGE_SHARE", 0.9)


class Life:
    """What happens to an engine, by seq, so that one opened anew can be told what it missed."""

    def __init__(self, rng: np.random.Generator, units) -> None:
        self._rng, self._units = rng, units
        self.log: list[tuple[int, Ids, Floats | None]] = []

    def step(self, seq: int, oracle) -> None:
        rng = self._rng
        ids = rng.integers(0, 900, rng.integers(1, 90))
        if rng.random() < 0.6:
            vectors = self._units(rng, len(ids))
            oracle.vectors.update(zip(ids.tolist(), vectors, strict=True))
            self.log.append((seq, ids, vectors))
        else:
            for one in ids.tolist():
                oracle.vectors.pop(one, None)
            self.log.append((seq, ids, None))

    def tell(self, engine: VectorIndex) -> None:
        """As a follower would."""
        for seq, ids, vectors in self.log:
            if seq <= engine.seq:
                continue
            if vectors is None:
                engine.remove(ids)
            else:
                engine.upsert(ids, vectors)
        engine.commit(self.log[-1][0], lambda: self._units(np.random.default_rng(0), 64))


def settle(engine: VectorIndex) -> None:
    if isinstance(engine, FaissIndex):
        engine.settle()


def test_an_engine_keeps_the_contract(engine) -> None:
    assert isinstance(engine, VectorIndex)
    assert engine.dim == DIM
    assert len(engine) == 0


@pytest.mark.parametrize("seed", range(2))
def test_a_random_life_against_the_oracle(
    case, oracle, units, sealing, tmp_path, seed: int
) -> None:
    """Opened anew half-way, at its place, an engine is told what it does not know."""
    rng, place = np.random.default_rng(seed), Place(tmp_path / "engine", "epoch")
    engine, life = open_index(case.address, DIM, place), Life(rng, units)
    recalls, guessed = [], 0
    for seq in range(1, 31):
        life.step(seq, oracle)
        if seq == 17:
            engine.close()
            engine = open_index(case.address, DIM, place)
        if seq % 3 == 0:
            continue
        life.tell(engine)
        if seq % 10 == 0:
            settle(engine)
        assert engine.seq == seq
        assert len(engine) == len(oracle.vectors)
        queries, k = units(rng, int(rng.integers(1, 4))), int(rng.integers(1, 20))
        found = engine.search(queries, k)
        recalls.append(oracle.judge(queries, k, found, atol=case.atol))
        guessed += not found.exact
        where = np.flatnonzero(rng.random(950) < rng.random())
        found = engine.search(queries, k, Where.of(where))
        recalls.append(oracle.judge(queries, k, found, set(where.tolist()), case.atol))
    engine.close()
    assert np.mean(recalls) >= case.recall
    assert (guessed > 0) == (case.recall < 1)


@pytest.mark.parametrize("share", [1.0, 0.3, 0.02])
def test_recall_is_what_is_asked_for_and_said(case, oracle, sealing, share: float) -> None:
    """Among clustered rows, some removed or replaced since, for queries that are no rows."""
    rng = np.random.default_rng(12)
    rows, queries = clustered(rng, 1200, 24), clustered(rng, 60, 24)
    engine = open_index(case.address, 24)
    engine.upsert(np.arange(1100), rows[:1100])
    engine.commit(1, lambda: clustered(np.random.default_rng(13), 100, 24))
    settle(engine)
    engine.remove(np.arange(0, 1100, 11))
    engine.upsert(np.arange(1000, 1100), rows[1100:])
    oracle.vectors = {i: rows[i] for i in range(1000) if i % 11}
    oracle.vectors.update(zip(range(1000, 1100), rows[1100:], strict=True))
    allowed = None if share == 1 else set(np.flatnonzero(rng.random(1100) < share).tolist())
    where = None if allowed is None else Where.of(np.array(sorted(allowed)))
    found = engine.search(queries, 10, where)
    engine.close()
    recall = oracle.judge(queries, 10, found, allowed, case.atol)
    if found.exact:
        assert recall == found.recall_estimate == 1
    else:
        assert found.recall_estimate >= case.recall
        assert recall >= (case.recall if allowed is None else max(case.recall, 0.97))
    assert found.exact == (case.recall == 1 or share < 0.1)


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
def test_blocks_do_not_show(case, oracle, units, monkeypatch, where: str | None) -> None:
    monkeypatch.setattr(dense, "BLOCK_BYTES", 4 * DIM * 10)
    monkeypatch.setattr("index.vectors.exact.BLOCK_BYTES", 4 * 7 * 5)
    monkeypatch.setattr("index.vectors.exact._QUERIES", 7)
    rng = np.random.default_rng(2)
    engine, vectors = open_index(case.address, DIM), units(rng, 300)
    engine.upsert(np.arange(300), vectors)
    oracle.vectors = dict(enumerate(vectors))
    allowed = None
    if where is not None:
        allowed = np.flatnonzero(rng.random(300) < (0.15 if where == "few" else 0.8))
    queries = units(rng, 17)
    found = engine.search(queries, 9, None if allowed is None else Where.of(allowed))
    oracle.agrees(queries, 9, found, None if allowed is None else set(allowed.tolist()))


def test_equal_scores_come_in_the_order_of_ids(engine) -> None:
    one = np.eye(1, DIM, dtype=np.float32)
    engine.upsert(np.array([9, 4, 7]), np.repeat(one, 3, axis=0))
    assert engine.search(one, 3).ids.tolist() == [[4, 7, 9]]


def test_the_exact_engine_gives_the_last_place_to_the_lowest_id(monkeypatch) -> None:
    monkeypatch.setattr("index.vectors.exact.BLOCK_BYTES", 4 * 10)
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
    assert engine.search(vectors[:1], 2, Where.of(np.array([1, 50]))).ids.tolist() == [[-1, -1]]


def test_of_many_rows_few_are_left(engine, oracle, units) -> None:
    vectors = units(np.random.default_rng(7), 1000)
    engine.upsert(np.arange(1000), vectors)
    engine.remove(np.arange(0, 900))
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


def test_readers_beside_a_writer_see_whole_states(engine, units, torn_searches) -> None:
    groups = units(np.random.default_rng(10), 40)
    assert torn_searches(engine, groups, readers=3, writes=400, at_once=(1,), seed=11) == []


def clustered(rng: np.random.Generator, count: int, dim: int) -> Floats:
    centres = np.random.default_rng(0).standard_normal((20, dim))
    return normalise(centres[rng.integers(0, 20, count)] + rng.standard_normal((count, dim)))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("annoy", r"'annoy'; the choices are: auto, exact, faiss"),
        ("faiss:hsnw", r"did you mean 'faiss:hnsw'"),
        ("faiss:", r"no index is called 'faiss:'"),
    ],
)
def test_an_unknown_address_names_the_choices(address: str, message: str) -> None:
    with pytest.raises(NotFound, match=message):
        open_index(address, DIM)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("faiss:hnsw?ef=3", "ef is no option; the choices are recall=0.95 and memory"),
        ("auto?recall=1", "recall is '1'; .*'exact' finds all"),
        ("auto?recall=high", "recall is 'high'"),
        ("auto?memory=2", "memory is '2'; a size as 512MiB"),
        ("exact?recall=0.9", "exact takes no options"),
    ],
)
def test_options_that_are_none_are_refused(address: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        open_index(address, DIM)


@pytest.mark.parametrize(
    ("rows", "recall", "memory", "kind"),
    [
        (49_999, 0.95, None, None),
        (100_000, 0.95, None, "hnsw"),
        (100_000, 0.95, 45 * 2**20, "ivf-sq8"),
        (100_000, 0.95, 2**23, "rabitq"),
        (100_000, 0.99, 2**23, "ivf-sq8"),
    ],
)
def test_a_kind_is_chosen_by_size_memory_and_recall(rows, recall, memory, kind) -> None:
    assert plan.Plan(recall=recall, memory=memory).choose(rows, 384) == kind


def test_an_absent_faiss_answers_with_the_command(monkeypatch) -> None:
    for address, module in (("faiss:flat", "faiss_flat"), ("faiss:hnsw", "faiss_kinds")):
        monkeypatch.setitem(sys.modules, "faiss", None)
        monkeypatch.delitem(sys.modules, f"index.vectors.{module}", raising=False)
        with pytest.raises(MissingDependency, match=r"pip install 'crossbind\[cpu\]'"):
            open_index(address, DIM)


def test_a_gpu_that_is_not_there_is_named() -> None:
    faiss = pytest.importorskip("faiss")
    if faiss.get_num_gpus():
        pytest.skip("there is one")
    with pytest.raises((MissingDependency, NotAvailable), match=r"crossbind\[gpu\]|sees no GPU"):
        open_index("faiss:gpu-cagra", DIM)


def test_without_faiss_auto_is_exact(monkeypatch) -> None:
    monkeypatch.setattr(factory, "find_spec", lambda name: None)
    assert isinstance(open_index("auto", DIM), ExactIndex)


@pytest.mark.parametrize("address", ["exact", "auto"])
def test_few_rows_do_not_load_faiss(address: str) -> None:
    code = (
        "import sys, index.collection, numpy; from index.factory import open_index; "
        f"engine = open_index({address!r}, 4); engine.upsert([1], numpy.eye(1, 4, dtype='f4')); "
        "engine.commit(1, None); engine.close(); "
        "sys.exit('faiss' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
