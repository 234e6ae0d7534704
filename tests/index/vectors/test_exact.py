"""The exact engine looks at bytes first: every answer is still the oracle's."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from embed.types import Floats, normalise
from index.factory import open_index
from index.types import Found, Where
from index.vectors import exact, kernels, scan
from index.vectors.exact import ExactIndex
from index.vectors.int8 import CodedQueries, Coder, Codes, products
from index.vectors.workers import Workers

needs_bytes = pytest.mark.skipif(not kernels.BYTES, reason="NumKong or its instructions are absent")


@pytest.fixture
def small(monkeypatch) -> None:
    """Bytes for the smallest matrix, in many blocks and two threads."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(exact, "_MANY", 1)
    monkeypatch.setattr(exact, "_WIDE", 1)
    monkeypatch.setattr(exact, "_FEW", 0)
    monkeypatch.setattr(exact, "_FEW_FOR_MANY", 0)
    monkeypatch.setattr(exact, "_CANDIDATES", 0)
    monkeypatch.setattr(scan, "BLOCK_SCORES", 64)
    monkeypatch.setattr(scan, "_SHARE", 1)
    monkeypatch.setattr(scan, "_WORTH", 1)
    monkeypatch.setattr(scan, "_WORTH_OF_MANY", 1)
    monkeypatch.setattr("index.vectors.int8._ENCODED_AT_ONCE", 16)


@pytest.fixture
def only_bytes(small, monkeypatch) -> None:
    """Fails where floats would answer."""
    if not kernels.BYTES:
        pytest.skip("NumKong or its instructions are absent")

    def floats(self, queries, state, k, wanted):
        assert self._book._made.matrix != state.matrix, "answered from floats"
        return whole(self, queries, state, k, wanted)

    whole = ExactIndex._scan_floats
    monkeypatch.setattr(ExactIndex, "_scan_floats", floats)


def warm(vectors: Floats) -> ExactIndex:
    """An engine that has made its bytes."""
    engine = ExactIndex(vectors.shape[1])
    engine.upsert(np.arange(len(vectors)), vectors)
    for _ in range(2):
        engine.search(vectors[:1], 1)
    return engine


def gaussian(rng: np.random.Generator, dim: int) -> Floats:
    return normalise(rng.standard_normal((300, dim)))


def duplicates(rng: np.random.Generator, dim: int) -> Floats:
    return np.repeat(normalise(rng.standard_normal((6, dim))), 50, axis=0)


def near_ties(rng: np.random.Generator, dim: int) -> Floats:
    """Closer to each other than a byte can tell."""
    return normalise(rng.standard_normal(dim) + 1e-3 * rng.standard_normal((300, dim)))


def one_hot(rng: np.random.Generator, dim: int) -> Floats:
    return np.eye(dim, dtype=np.float32)[rng.integers(0, dim, 300)] * rng.choice(
        np.array([-1, 1], np.float32), (300, 1)
    )


def one_large(rng: np.random.Generator, dim: int) -> Floats:
    """As CLIP's pictures: one number outweighs all others, in every row."""
    rows = rng.standard_normal((300, dim))
    rows[:, dim // 2] = 30
    return normalise(rows)


def tiny(rng: np.random.Generator, dim: int) -> Floats:
    """Numbers from 1 down to where float32 ends."""
    sizes = 10.0 ** -rng.uniform(0, 44, (300, dim))
    sizes[:, 0] = 1
    return normalise(rng.standard_normal((300, dim)) * sizes)


def some_exact(rng: np.random.Generator, dim: int) -> Floats:
    """Near ties, and between them rows that bytes hold without any error."""
    coder = Coder(dim)
    even = np.full((len(coder._outer), len(coder._inner)), dim**-0.5, np.float32)
    rows = near_ties(rng, dim)
    rows[::2] = normalise((coder._outer.T @ even @ coder._inner.T).reshape(1, dim))
    return rows


SETS = [some_exact, gaussian, duplicates, near_ties, one_hot, one_large, tiny]
DIMS = [8, 67, 96, 130]  # 67 is prime


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("make", SETS)
def test_the_bound_holds(make, dim: int) -> None:
    if not kernels.BYTES:
        pytest.skip("NumKong or its instructions are absent")
    rng = np.random.default_rng(dim)
    vectors, coder = make(rng, dim), Coder(dim)
    codes = Codes(
        np.empty(vectors.shape, np.int8),
        *np.empty((3, 300), np.float32),
        centre=coder.centre(vectors),
    )
    coder.rows(vectors, codes)
    queries = np.concatenate([vectors[:9], rng.standard_normal((9, dim)).astype(np.float32)])
    coded = coder.queries(queries, codes.centre)
    scales = coded.scales
    true = vectors.astype(np.float64) @ queries.T.astype(np.float64)
    said = products(codes, coded) * scales
    allowed = np.stack([coded.wrong(codes.part(i, i + 1)) for i in range(300)]) * scales
    assert np.all(np.abs(said + coded.offsets - true) <= allowed)
    np.testing.assert_array_equal(
        products(codes, coded.part(slice(3, 4)))[:, 0] * scales[3], said[:, 3]
    )


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("make", SETS)
def test_every_kind_of_row_against_the_oracle(make, dim: int, oracle, only_bytes) -> None:
    rng = np.random.default_rng(dim)
    vectors = make(rng, dim)
    engine, oracle.vectors = warm(vectors), dict(enumerate(vectors))
    queries = np.concatenate([vectors[::60], normalise(rng.standard_normal((3, dim)))])
    for k in (1, 10, 299):
        oracle.agrees(queries, k, engine.search(queries, k))
        oracle.agrees(queries[:1], k, engine.search(queries[:1], k))
    removed = rng.choice(300, 40, replace=False)
    engine.remove(removed)
    for one in removed.tolist():
        del oracle.vectors[one]
    for share in (0.03, 0.1, 0.5, 0.97):
        where = np.flatnonzero(rng.random(400) < share)
        found = engine.search(queries, 12, Where.of(where))
        oracle.agrees(queries, 12, found, set(where.tolist()))
    assert found.exact
    assert len(engine._book._made.codes.scales) == 300


@pytest.mark.parametrize("k", [1, 7, 40])
def test_bytes_may_be_as_wrong_as_they_say(k: int, oracle, units, small, monkeypatch) -> None:
    """The best rows are told to be as bad as they can be, and all others as good."""
    rng = np.random.default_rng(k)
    vectors, queries = units(rng, 400), units(rng, 5)
    true, errors = vectors @ queries.T, rng.uniform(0.05, 0.2, 400).astype(np.float32)
    is_best = true >= np.partition(true, -k, axis=0)[-k]
    codes = Codes(
        numbers=np.empty((400, 8), np.int8),
        scales=np.arange(400, dtype=np.float32),
        errors=errors,
        lengths=np.ones(400, np.float32),
        centre=np.empty(8, np.float32),
    )
    coded = CodedQueries(
        numbers=np.empty((5, 8), np.int8),
        scales=np.full(5, 2.0),
        offsets=np.full(5, -0.5),
        lengths=np.full(5, 0.25, np.float32),
        errors=np.full(5, 0.01, np.float32),
        slack=np.full(5, 0.01, np.float32),
    )

    def told(codes: Codes, coded: CodedQueries) -> Floats:
        some, wrong = codes.scales.astype(int), 0.999 * coded.wrong(codes)
        told = (true[some] + 0.5) / 2
        return np.where(is_best[some], told - wrong, told + wrong)

    monkeypatch.setattr(scan, "products", told)
    rows = scan.Rows(
        ids=np.arange(400), vectors=vectors, codes=codes, skip=np.empty(0, np.int64), only=None
    )
    scores, positions, unsure = scan.nearest(rows, queries, coded, k, Workers())
    assert not len(unsure)
    oracle.vectors = dict(enumerate(vectors))
    oracle.agrees(queries, k, Found(ids=positions, scores=scores))


@pytest.mark.parametrize("k", [1, 30, 200])
@pytest.mark.parametrize("count", [1, 8])
def test_groups_of_rows_do_not_show(
    count: int, k: int, oracle, units, only_bytes, monkeypatch
) -> None:
    monkeypatch.setattr(scan, "BLOCK_SCORES", 2**18)
    rng = np.random.default_rng(k)
    vectors = np.repeat(units(rng, 600, 32), 5, axis=0)  # equal rows in several groups
    engine, oracle.vectors = warm(vectors), dict(enumerate(vectors))
    queries = np.repeat(units(rng, 1, 32), count, axis=0)
    oracle.agrees(queries, k, engine.search(queries, k))
    engine.remove(np.arange(0, 3000, 9))
    for one in range(0, 3000, 9):
        del oracle.vectors[one]
    oracle.agrees(queries, k, engine.search(queries, k))


@pytest.mark.parametrize("worth", [0.05, 1])
@pytest.mark.parametrize("seed", range(4))
def test_a_random_life(seed: int, worth: float, oracle, units, small, monkeypatch) -> None:
    monkeypatch.setattr(scan, "_WORTH", worth)
    monkeypatch.setattr(scan, "_WORTH_OF_MANY", worth)
    rng = np.random.default_rng(seed)
    engine, top = ExactIndex(8), 0
    for _ in range(60):
        ids = rng.integers(0, 300, rng.integers(1, 30))
        if rng.random() < 0.4:
            ids, top = np.arange(top, top + 20), top + 20
        if rng.random() < 0.7:
            vectors = units(rng, len(ids))
            engine.upsert(ids, vectors)
            oracle.vectors.update(zip(ids.tolist(), vectors, strict=True))
        else:
            engine.remove(ids)
            for one in ids.tolist():
                oracle.vectors.pop(one, None)
        assert len(engine) == len(oracle.vectors)
        queries = units(rng, int(rng.integers(1, 9)))
        k = int(rng.integers(1, 40))
        oracle.agrees(queries, k, engine.search(queries, k))
        where = np.flatnonzero(rng.random(400) < rng.random())
        oracle.agrees(queries, k, engine.search(queries, k, Where.of(where)), set(where.tolist()))


@pytest.mark.parametrize("bytes_at_hand", [True, False])
def test_equal_rows_come_by_id_and_the_last_place_is_the_lowest(
    bytes_at_hand: bool, small, monkeypatch
) -> None:
    monkeypatch.setattr(kernels, "BYTES", bytes_at_hand and kernels.BYTES)
    one, other = np.eye(2, 8, dtype=np.float32)
    engine = warm(np.repeat(other[None], 200, axis=0))
    for first in (150, 50, 100):  # late, so that rows are no longer in the order of ids
        engine.upsert(np.arange(first, first + 3), np.repeat(one[None], 3, axis=0))
    queries = np.stack([one, other, one, one, one])
    ids = engine.search(queries, 5).ids
    assert ids[0].tolist() == [50, 51, 52, 100, 101]
    assert ids[1].tolist() == [0, 1, 2, 3, 4]
    allowed = Where.of(np.arange(51, 160))
    assert engine.search(queries[:1], 5, allowed).ids[0].tolist() == [51, 52, 100, 101, 102]
    assert engine.search(queries[1:2], 5, allowed).ids[0].tolist() == [53, 54, 55, 56, 57]


@needs_bytes
def test_too_many_candidates_are_left_to_floats(oracle, units, small, monkeypatch) -> None:
    monkeypatch.setattr(scan, "_WORTH_OF_MANY", 0.1)
    rng = np.random.default_rng(3)
    crowd = np.repeat(units(rng, 1, 64), 200, axis=0)
    vectors = np.concatenate([units(rng, 800, 64), crowd])
    engine, oracle.vectors = warm(vectors), dict(enumerate(vectors))
    asked: list[int] = []
    whole = ExactIndex._scan_floats

    def count(self, queries, *rest):
        asked.append(len(queries))
        return whole(self, queries, *rest)

    monkeypatch.setattr(ExactIndex, "_scan_floats", count)
    queries = np.concatenate([vectors[:8], crowd[:2]])
    oracle.agrees(queries, 10, engine.search(queries, 10))
    assert asked == [2]


def test_the_scale_of_a_query_changes_nothing(units, only_bytes) -> None:
    vectors = units(np.random.default_rng(4), 200, 64)
    engine = warm(vectors)
    plain = engine.search(vectors[:5], 7)
    for scale in (1e-30, 1e30):
        scaled = engine.search(vectors[:5] * np.float32(scale), 7)
        np.testing.assert_array_equal(scaled.ids, plain.ids)
    nothing = engine.search(np.zeros((5, 64), np.float32), 7)
    assert nothing.ids.tolist() == [list(range(7))] * 5


def test_without_numkong_the_answers_are_the_same(units, small, monkeypatch) -> None:
    rng = np.random.default_rng(5)
    vectors, queries = units(rng, 500, 64), units(rng, 9, 64)
    where = Where.of(np.flatnonzero(rng.random(500) < 0.4))
    engine = warm(vectors)
    here = [engine.search(queries, 20), engine.search(queries, 20, where)]
    monkeypatch.setattr(kernels, "BYTES", False)
    monkeypatch.setattr(kernels, "FOUND", False)
    engine = warm(vectors)
    there = [engine.search(queries, 20), engine.search(queries, 20, where)]
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one.ids, other.ids)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)


def test_bytes_are_made_when_wanted_again_and_kept_up(oracle, units, only_bytes) -> None:
    rng = np.random.default_rng(6)
    vectors = units(rng, 400, 32)
    engine = ExactIndex(32)
    known = lambda: len(engine._book._made.codes.scales)  # noqa: E731
    engine.upsert(np.array([0]), vectors[:1])
    engine.search(vectors[:1], 1)
    assert known() == 0
    for start, end in pairwise([1, 2, 130, 131, 300, 400]):
        engine.upsert(np.arange(start, end), vectors[start:end])
        oracle.vectors = dict(enumerate(vectors[:end]))
        oracle.agrees(vectors[:7], 9, engine.search(vectors[:7], 9))
        assert known() == len(engine._state.ids)
    before = engine._book._made.codes
    kept = before.numbers.copy()
    engine.remove(np.arange(200))
    assert engine._book.of(engine._state.matrix, engine._state.vectors) is None
    oracle.vectors = {i: v for i, v in oracle.vectors.items() if i >= 200}
    oracle.agrees(vectors[:7], 9, engine.search(vectors[:7], 9))
    assert known() == len(engine._state.ids) == len(engine)
    np.testing.assert_array_equal(before.numbers, kept)  # which a search may still be reading


def test_a_vector_put_in_again_moves_no_others(units) -> None:
    rng = np.random.default_rng(7)
    vectors = units(rng, 1000)
    engine = ExactIndex(8)
    engine.upsert(np.arange(1000), vectors)
    engine.upsert(np.array([1000]), vectors[:1])  # which makes room for more
    before = engine._state
    engine.upsert(np.array([3]), vectors[4:5])
    assert np.shares_memory(engine._state.vectors, before.vectors)
    assert len(engine) == 1001
    assert engine.search(vectors[4:5], 2).ids.tolist() == [[3, 4]]
    for _ in range(400):
        engine.upsert(np.array([5]), vectors[5:6])
    assert len(engine) == 1001
    assert len(engine._state.ids) < 1400


def test_searches_beside_a_writer(units, small, torn_searches) -> None:
    groups = units(np.random.default_rng(8), 40, 64)
    engine = warm(np.repeat(groups[:20], 10, axis=0))
    assert torn_searches(engine, groups, readers=2, writes=150, at_once=(1, 5), seed=9) == []


def test_a_closed_engine_still_answers(oracle, units, only_bytes) -> None:
    vectors = units(np.random.default_rng(10), 200, 64)
    engine, oracle.vectors = warm(vectors), dict(enumerate(vectors))
    engine._workers._pool.shutdown()  # as another thread may do at any time
    oracle.agrees(vectors[:6], 5, engine.search(vectors[:6], 5))
    engine.close()
    engine.close()
    oracle.agrees(vectors[:6], 5, engine.search(vectors[:6], 5))


def test_rows_that_come_late_are_in_the_order_of_ids_for_faiss_too() -> None:
    pytest.importorskip("faiss")
    engine = open_index("faiss:flat", 8)
    one, other = np.eye(2, 8, dtype=np.float32)[:, None]
    engine.upsert(np.arange(10, 30), np.repeat(other, 20, axis=0))
    for late in (9, 4, 7, 4):
        engine.upsert(np.array([late]), one)
    assert engine.search(one, 3).ids.tolist() == [[4, 7, 9]]
    assert engine.search(one, 3, Where.of(np.array([4, 9]))).ids.tolist() == [[4, 9, -1]]
