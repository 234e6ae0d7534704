"""Tuning: the recall asked for is found for queries of another modality, and said truly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from embed.types import Floats, normalise
from index.types import Place, Where
from index.vectors import plan, sealed
from index.vectors.faiss_engine import FaissIndex
from index.vectors.kernels import BYTES
from index.vectors.tail import Tail
from index.vectors.tuning import Setting, Tuning, tune

faiss_kinds = pytest.importorskip("index.vectors.faiss_kinds")

ROWS, DIM = 3000, 32


@pytest.fixture(scope="module")
def rows() -> Floats:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((40, DIM))
    return normalise(centres[rng.integers(0, 40, ROWS)] + 0.7 * rng.standard_normal((ROWS, DIM)))


def asked(rows: Floats, count: int, seed: int) -> Floats:
    """Queries as texts are to pictures: near rows, but all of them off to one side."""
    rng = np.random.default_rng(seed)
    aside = normalise(np.random.default_rng(1).standard_normal((1, DIM)))
    own = normalise(rng.standard_normal((count, DIM)))
    return normalise(rows[rng.integers(0, len(rows), count)] + aside + own)


def truth(rows: Floats):
    with Tail(DIM) as judge:
        return lambda queries, k, some: judge.among(queries, rows, k, some)[1]


def recall(index, rows: Floats, queries: Floats, setting: Setting) -> float:
    best = truth(rows)(queries, setting.k, np.arange(len(rows)))
    ranked = index.rank(queries, setting.depth, setting.width)
    return float(np.mean([np.isin(b, r).mean() for b, r in zip(best, ranked, strict=True)]))


@pytest.mark.parametrize("kind", ["hnsw", "ivf-sq8"])
def test_probes_of_another_modality_give_the_recall_asked_for(rows, kind: str) -> None:
    index = faiss_kinds.build(kind, rows)
    queries = asked(rows, 300, seed=5)
    for probes, enough in ((asked(rows, 256, seed=3), True), (rows[:256], False)):
        setting = tune(index, rows, probes, 0.95, truth(rows)).setting(10, 1.0)
        assert setting is not None
        found = recall(index, rows, queries, setting)
        assert setting.recall >= 0.95
        assert (abs(found - setting.recall) < 0.02) if enough else (found < 0.9)


@pytest.mark.parametrize("wanted", [0.9, 0.99])
def test_recall_is_a_knob_for_any_number_of_neighbours(rows, wanted: float) -> None:
    index = faiss_kinds.build("ivf-pq", rows)
    tuning = tune(index, rows, asked(rows, 256, seed=3), wanted, truth(rows))
    for k in (5, 10, 30, 100, 250):
        setting = tuning.setting(k, 1.0)
        assert setting is not None
        assert recall(index, rows, asked(rows, 200, seed=6), setting) >= wanted - 0.015


def test_fewer_rows_that_may_answer_are_looked_for_further(rows) -> None:
    tuning = tune(
        faiss_kinds.build("hnsw", rows), rows, asked(rows, 128, seed=3), 0.95, truth(rows)
    )
    settings = [tuning.setting(10, share) for share in (1.0, 0.9, 0.5, 0.3, 0.12)]
    widths = [setting.width for setting in settings if setting]
    assert len(widths) == 5
    assert widths == sorted(widths)
    assert all(setting.recall >= 0.98 for setting in settings[1:] if setting)
    assert tuning.setting(10, 0.01) is None


def test_between_measured_numbers_all_grows_evenly() -> None:
    ten = Setting(k=10, share=1.0, width=50, depth=20, recall=0.97, seconds=1e-4)
    hundred = Setting(k=100, share=1.0, width=140, depth=110, recall=0.96, seconds=4e-4)
    tuning = Tuning([ten, hundred], 1e-7)
    assert tuning.setting(3, 1.0) == ten._replace(k=3)
    half = tuning.setting(55, 1.0)
    assert half is not None
    assert half[:5] == (55, 1.0, 95, 65, 0.96)
    assert half.seconds == pytest.approx(2.5e-4)
    twice = tuning.setting(200, 1.0)
    assert twice is not None
    assert twice[:5] == (200, 1.0, 280, 220, 0.96)
    assert tuning.setting(10, 0.5) is None


def test_a_base_is_tuned_again_by_what_is_asked(rows, monkeypatch, tmp_path) -> None:
    """Pictures without texts have no probes but pictures; then texts ask."""
    monkeypatch.setattr(plan, "LEAST", 100)
    place = Place(tmp_path / "kept", "epoch")
    engine = FaissIndex(DIM, plan.Plan(kind="hnsw", recall=0.95), place)
    engine.upsert(np.arange(ROWS), rows)
    engine.commit(1, lambda: rows[:256])
    engine.settle()
    queries = asked(rows, 256, seed=8)
    best = truth(rows)(queries, 10, np.arange(ROWS))

    def found() -> tuple[float, float | None]:
        answer = engine.search(queries, 10)
        shares = [np.isin(b, i).mean() for b, i in zip(best, answer.ids, strict=True)]
        return float(np.mean(shares)), answer.recall_estimate

    before, said = found()
    assert before < 0.9 < (said or 0)
    engine.settle()
    after, said = found()
    assert after >= 0.94
    assert said == pytest.approx(after, abs=0.02)
    assert len(engine) == ROWS
    engine.close()

    # And after a restart; the next base is tuned by them from the start.
    engine = FaissIndex(DIM, plan.Plan(kind="hnsw", recall=0.95), place)
    assert found() == (after, said)
    engine.upsert(np.arange(ROWS // 2), rows[: ROWS // 2])  # the same, but written anew
    engine.commit(2, lambda: rows[:40])
    engine.settle()
    assert found()[0] >= 0.94
    engine.close()

    # A note that was damaged costs what was learnt, not the base.
    (note,) = place.folder.glob("*/tuned.json")
    note.write_text("{}")
    (place.folder / "asked.npy").write_bytes(b"nothing")
    engine = FaissIndex(DIM, plan.Plan(kind="hnsw", recall=0.95), place)
    assert len(engine) == ROWS
    engine.close()


def test_what_a_card_cannot_leave_out_is_struck_out(rows) -> None:
    """Its index here is one of the processor, which answers the same calls."""
    faiss = pytest.importorskip("faiss")
    flat = faiss.IndexFlatIP(DIM)
    flat.add(rows[:300])
    index = pytest.importorskip("index.vectors.faiss_gpu").OnGpu("gpu-flat", flat, None)
    queries = rows[:4]
    best = truth(rows)(queries, 10, np.arange(300))
    found = index.rank(queries, 10, 1)
    assert found.tolist() == best.tolist()
    odd = np.packbits(np.arange(300) % 2 == 1, bitorder="little")
    found = index.rank(queries, 10, 1, odd)
    some = found[found >= 0]
    assert len(some) > 20
    assert np.all(some % 2 == 1)
    scores = np.where(found < 0, -np.inf, np.take_along_axis(queries @ rows.T, found, axis=1))
    assert np.all(scores[:, 1:] <= scores[:, :-1])
    assert index.rank(queries, 400, 1).shape == (4, 400)


@pytest.mark.skipif(not BYTES, reason="no instructions for products of bytes")
def test_rows_that_a_filter_chooses_are_ranked_by_their_codes(rows, monkeypatch) -> None:
    monkeypatch.setattr(plan, "LEAST", 100)
    monkeypatch.setattr(sealed, "_FEW", 50)
    engine = FaissIndex(DIM, plan.Plan(kind="hnsw", recall=0.95))
    engine.upsert(np.arange(ROWS), rows)
    engine.commit(1, lambda: asked(rows, 256, seed=3))
    engine.settle()
    engine.remove(np.arange(0, ROWS, 50))
    base = engine._state.base
    assert base is not None
    assert base.tuning.codes is not None
    slow = Tuning([s._replace(seconds=1.0) for s in base.tuning.settings], 1.0, base.tuning.codes)
    engine._state = engine._state._replace(base=replace(base, tuning=slow))
    some = np.arange(0, ROWS, 5)
    shares = []
    for query in asked(rows, 50, seed=9):
        found = engine.search(query[None], 10, Where.of(some))
        [best] = truth(rows)(query[None], 10, some[some % 50 != 0])
        shares.append(np.isin(best, found.ids[0]).mean())
        assert not found.exact
        assert found.recall_estimate == base.tuning.codes.recall
        np.testing.assert_allclose(found.scores[0], rows[found.ids[0]] @ query, atol=1e-6)
    assert np.mean(shares) > 0.98
    engine.close()
