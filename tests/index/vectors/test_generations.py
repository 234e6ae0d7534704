"""Sealed bases: swapped without a gap, whole or not there, shared by processes, built once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from embed.types import Floats
from index.catalog import Catalog
from index.disk import alone
from index.factory import open_index
from index.follower import Follower
from index.types import Place, Where
from index.vectors import plan
from index.vectors.faiss_engine import FaissIndex
from index.vectors.generation import Generation
from index.vectors.shelf import Shelf

pytest.importorskip("faiss")

DIM, ADDRESS = 8, "faiss:hnsw?recall=0.99"
FILES = ["ids.npy", "index.faiss", "manifest.json", "vectors.npy"]


@pytest.fixture(autouse=True)
def _few_rows_are_enough(monkeypatch) -> None:
    monkeypatch.setattr(plan, "LEAST", 100)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "indexes" / "1-1", "epoch")


@pytest.fixture
def opened(place: Place) -> Iterator[Callable[..., FaissIndex]]:
    """Engines at the place, closed in the end."""
    engines = []

    def open_it(place: Place | None = place, address: str = ADDRESS) -> FaissIndex:
        engine = open_index(address, DIM, place)
        assert isinstance(engine, FaissIndex)
        engines.append(engine)
        return engine

    yield open_it
    for engine in engines:
        engine.close()


def filled(engine: FaissIndex, vectors: Floats, seq: int = 1) -> FaissIndex:
    engine.upsert(np.arange(len(vectors)), vectors)
    engine.commit(seq, lambda: vectors[:40])
    engine.settle()
    return engine


def folders(place: Place) -> list[str]:
    return sorted(path.name for path in place.folder.iterdir() if path.is_dir())


def sealed(engine: FaissIndex) -> int:
    """How many rows are in the base."""
    base = engine._state.base
    return len(base) if base else 0


def test_a_base_is_found_again(opened, place, oracle, units, rng) -> None:
    vectors = units(rng, 300)
    filled(opened(), vectors, seq=5)
    assert sorted(path.name for path in (place.folder / "1").iterdir()) == FILES
    again = opened()
    assert (again.seq, len(again), sealed(again)) == (5, 300, 300)
    oracle.vectors = dict(enumerate(vectors))
    assert oracle.judge(vectors[:9], 4, again.search(vectors[:9], 4)) == 1
    assert again.search(vectors[:9], 4).recall_estimate >= 0.98
    again.remove(np.arange(5))
    assert again.search(vectors[:1], 1).ids[0, 0] >= 5
    assert len(opened()) == 300  # what is not committed is in no file


def test_a_fifth_of_change_makes_a_new_base(opened, place, units, rng) -> None:
    vectors = units(rng, 500)
    engine = filled(opened(), vectors[:400])
    engine.remove(np.arange(40))
    engine.upsert(np.arange(400, 439), vectors[400:439])
    engine.commit(2, lambda: vectors[:40])
    engine.settle()
    assert (sealed(engine), folders(place)) == (400, ["1"])
    engine.upsert(np.arange(439, 441), vectors[439:441])
    engine.commit(3, lambda: vectors[:40])
    engine.settle()
    assert (sealed(engine), len(engine), folders(place)) == (401, 401, ["2"])
    assert opened().seq == 3


def test_a_swap_is_not_noticed(opened, units, rng, monkeypatch) -> None:
    """Rows in pairs, one at each side of what is sealed; each search finds both or, once one was
    written, its new place. Nothing that is live is ever missed."""
    monkeypatch.setattr("index.vectors.faiss_engine._STALE_SHARE", 0.02)
    vectors = units(rng, 600)
    engine = opened(place=None)
    faults: list[object] = []
    stop = threading.Event()

    def read(seed: int) -> None:
        mine = np.random.default_rng(seed)
        try:
            while not stop.is_set():
                row = int(mine.integers(200))
                found = engine.search(vectors[row][None], 5, Where.of(np.arange(row, 600)))
                if found.ids[0, 0] != row or len(set(found.ids[0].tolist())) != 5:
                    faults.append((row, found.ids[0].tolist()))
        except Exception as error:
            faults.append(error)

    filled(engine, vectors[:300])
    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(2)]
    for reader in readers:
        reader.start()
    bases = {sealed(engine)}
    for seq in range(2, 32):
        step = np.arange(300 + 10 * (seq - 2), 300 + 10 * (seq - 1))
        engine.upsert(step, vectors[step])
        engine.upsert(np.arange(seq, 200, 7), vectors[seq:200:7])  # the same again
        engine.remove(step[:3])
        engine.commit(seq, lambda: vectors[:40])
        if seq % 6 == 0:
            while sealed(engine) in bases:  # the builder may be busy tuning
                engine.settle()
                engine.commit(seq, lambda: vectors[:40])
            bases.add(sealed(engine))
    stop.set()
    for reader in readers:
        reader.join()
    engine.settle()
    assert faults == []
    assert len(bases) == 6
    assert len(engine) == 300 + 30 * 7


def test_what_is_written_while_a_base_is_built_stays(opened, oracle, units, rng, monkeypatch):
    vectors, ready, go = units(rng, 400), threading.Event(), threading.Event()
    engine = opened(place=None)
    hand_over = engine._builder._hand_over

    def later(base) -> None:
        ready.set()
        assert go.wait(30)
        hand_over(base)

    monkeypatch.setattr(engine._builder, "_hand_over", later)
    engine.upsert(np.arange(300), vectors[:300])
    engine.commit(1, lambda: vectors[:40])
    assert ready.wait(30)
    engine.remove(np.arange(0, 50))
    engine.upsert(np.arange(60, 70), vectors[300:310])
    engine.upsert(np.arange(300, 320), vectors[310:330])
    oracle.vectors = {i: vectors[i] for i in range(50, 300)}
    oracle.vectors |= dict(zip([*range(60, 70), *range(300, 320)], vectors[300:330], strict=True))
    before = engine.search(vectors[:60], 3)
    go.set()
    engine.settle()
    assert (sealed(engine), engine._state.dead, len(engine._state.tail)) == (300, 60, 30)
    assert len(engine) == len(oracle.vectors)
    assert oracle.judge(vectors[:60], 3, before) == 1
    assert oracle.judge(vectors[:60], 3, engine.search(vectors[:60], 3)) > 0.98


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found_and_all_begins_again(
    catalog: Catalog, space, entry, units, rng, name: str, caplog
) -> None:
    info = catalog.create_collection("c", space=space, chunker="whole", index=ADDRESS)
    contents, vectors = catalog.contents(info), units(rng, 300)
    with contents.writing() as writing:
        for vector in vectors:
            writing.put(entry(vector[None]))
    [state] = contents.partitions()
    place = contents.place(state)

    def followed() -> FaissIndex:
        engine = open_index(ADDRESS, DIM, place)
        assert isinstance(engine, FaissIndex)
        began.append(engine.seq)
        Follower(engine).follow(contents, state, lambda: contents.probes(state, 40))
        engine.settle()
        engine.close()
        return engine

    began: list[int] = []
    followed()
    spoilt = place.folder / "1" / name
    data = bytearray(spoilt.read_bytes())
    data[len(data) // 2] ^= 1
    spoilt.write_bytes(data)
    engine = followed()
    assert began == [0, 0]
    assert "left out" in caplog.text
    assert (len(engine), sealed(engine), engine.seq) == (300, 300, state.seq)
    found = engine.search(vectors[:20], 1)
    np.testing.assert_allclose(found.scores, 1, atol=1e-5)
    assert followed().seq == state.seq
    assert began[2] == state.seq


def test_another_history_begins_empty(opened, place, units, rng) -> None:
    filled(opened(), units(rng, 200))
    (place.folder / "7").mkdir()  # what a build that was killed leaves behind
    other = opened(place._replace(epoch="another"))
    assert (other.seq, len(other)) == (0, 0)
    assert folders(place) == []


def test_another_recall_begins_empty(opened, units, rng) -> None:
    filled(opened(), units(rng, 200))
    assert opened(address="faiss:hnsw?recall=0.9").seq == 0


def test_one_process_builds_and_others_use_it(opened, place, units, rng) -> None:
    vectors = units(rng, 300)
    first, second, late = opened(), opened(), opened()
    first.upsert(np.arange(200), vectors[:200])
    place.folder.mkdir(parents=True, exist_ok=True)
    with alone(place.folder / "lock", "taken"):
        first.commit(1, lambda: vectors[:40])
        first.settle()
    assert sealed(first) == 0
    first.commit(1, lambda: vectors[:40])
    first.settle()
    assert sealed(first) == 200
    filled(second, vectors[:210], seq=2)  # told more; uses what is there, and keeps the rest
    assert (sealed(second), len(second), second.seq, folders(place)) == (200, 210, 2, ["1"])
    filled(second, vectors, seq=3)
    assert folders(place) == ["2"]
    # Told less than the base it finds: it is up to date only when a commit says that it is.
    filled(late, vectors[:150], seq=1)
    assert (late.seq, sealed(late)) == (1, 0)
    late.commit(2, lambda: vectors[:40])
    assert (late.seq, len(late), sealed(late)) == (3, 300, 300)
    assert first.search(vectors[:1], 1).ids.tolist() == [[0]]  # its files are gone, not its map


def test_a_base_that_cannot_be_kept_is_used_all_the_same(
    opened, place, units, rng, monkeypatch, caplog
) -> None:
    vectors = units(rng, 200)
    place.folder.parent.mkdir(parents=True)
    place.folder.write_text("no folder")
    engine = filled(opened(), vectors)
    assert sealed(engine) == 200
    assert "kept in memory" in caplog.text
    assert engine.search(vectors[:1], 1).ids.tolist() == [[0]]


KILLED = """
import sys, numpy as np
from pathlib import Path
from index.vectors import plan
from index import failpoints
from index.factory import open_index
from index.types import Place
plan.LEAST = 100
engine = open_index(sys.argv[2], 8, Place(Path(sys.argv[1]), "epoch"))
rows = np.load(sys.argv[3])
engine.upsert(np.arange(len(rows)), rows)
failpoints.arm(sys.argv[4])
engine.commit(engine.seq + 1, lambda: rows[:40])
engine.settle()
engine.close()
"""


@pytest.mark.parametrize(
    ("name", "survives"),
    [
        ("generation.built", False),
        ("generation.written", False),
        ("generation.synced", False),
        ("generation.sealed", True),
        ("generation.alone", True),
    ],
)
def test_a_killed_build_leaves_the_old_base_or_the_new(
    opened, place, units, rng, tmp_path, name: str, survives: bool
) -> None:
    filled(opened(), units(rng, 200), seq=1).close()
    rows = tmp_path / "rows.npy"
    np.save(rows, units(rng, 300))
    command = [sys.executable, "-c", KILLED, str(place.folder), ADDRESS, str(rows), name]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == -signal.SIGKILL
    engine = opened()
    assert (engine.seq, len(engine)) == ((2, 300) if survives else (1, 200))
    assert folders(place) == ["2" if survives else "1"]


def test_closing_gives_up_a_build(opened, place, units, rng, monkeypatch) -> None:
    engine, begun = opened(), threading.Event()
    monkeypatch.setattr("index.vectors.builder.gathered", lambda *_: begun.set() or _never(engine))
    engine.upsert(np.arange(200), units(rng, 200))
    engine.commit(1, lambda: units(rng, 40))
    assert begun.wait(30)
    engine.close()
    assert sealed(engine) == 0


def _never(engine: FaissIndex) -> None:
    while True:
        engine._builder._go_on()


def test_a_shelf_without_a_folder_is_empty(place) -> None:
    assert Shelf(place, {}).newest() is None


@pytest.mark.parametrize("gap", [1, 3, 1000])
def test_positions_of_any_ids(gap: int) -> None:
    ids = 5 + gap * np.arange(50)
    nothing = np.empty((50, DIM), np.float32)
    generation = Generation(1, 1, "hnsw", ids, nothing, None, None)  # type: ignore[arg-type]
    asked = np.array([0, 4, 5, 5 + gap, 6 + gap, 5 + 30 * gap, 5 + 49 * gap, 6 + 49 * gap, 10**9])
    expected = [
        {one: row for row, one in enumerate(ids.tolist())}.get(i, -1) for i in asked.tolist()
    ]
    assert generation.positions(np.unique(asked)).tolist() == expected[: len(np.unique(asked))]
    assert generation.positions(asked[:0]).tolist() == []
