"""Points wherever they are, against the oracle; addresses, and the embedded engine."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("qdrant_client", reason="needs crossbind[qdrant]")
pytest.importorskip("qdrant_edge", reason="needs crossbind[qdrant]")


from embed.errors import (
    BadInput,
    InvalidVector,
    MissingDependency,
    NotAvailable,
)
from index.factory import open_index
from index.keys import origin
from index.qdrant import engine as qdrant_index
from index.qdrant import server as qdrant_backend
from index.qdrant.address import parse_address, reaches_beyond
from index.types import Where

DIM = 8


@pytest.mark.parametrize("seed", range(2))
def test_a_life_with_a_new_process_half_way(no_probes, opened, oracle, units, seed: int) -> None:
    rng = np.random.default_rng(seed)
    engine = opened()
    for step in range(20):
        ids = rng.integers(0, 60, rng.integers(1, 12))
        if rng.random() < 0.6:
            vectors = units(rng, len(ids))
            engine.upsert(ids, vectors)
            oracle.vectors.update(zip(ids.tolist(), vectors, strict=True))
        else:
            engine.remove(ids)
            for one in ids.tolist():
                oracle.vectors.pop(one, None)
        engine.commit(step + 1, no_probes)
        assert len(engine) == len(oracle.vectors)
        if step == 10 and opened.keeps:
            engine.close()
            engine = opened()
            assert engine.seq == 11
        queries, k = units(rng, int(rng.integers(1, 4))), int(rng.integers(1, 40))
        found = engine.search(queries, k)
        assert (found.exact, found.recall_estimate) == (True, 1.0)
        oracle.agrees(queries, k, found)
        where = np.flatnonzero(rng.random(70) < rng.random())
        oracle.agrees(queries, k, engine.search(queries, k, Where.of(where)), set(where.tolist()))


def test_ids_come_in_bounded_parts(opened, oracle, units, monkeypatch) -> None:
    monkeypatch.setattr(qdrant_index, "IDS_AT_ONCE", 7)
    monkeypatch.setattr(qdrant_index, "_UPSERT_FLOATS", 11 * DIM)
    monkeypatch.setattr(qdrant_backend, "_NUMBERS", 2 * (DIM + 7))
    engine, vectors = opened(), units(np.random.default_rng(1), 40)
    engine.upsert(np.arange(40), vectors)
    engine.remove(np.arange(0, 40, 4))
    oracle.vectors = {i: vectors[i] for i in range(40) if i % 4}
    where = np.arange(0, 40, 3)
    found = engine.search(vectors[:3], 12, Where.of(where))
    oracle.agrees(vectors[:3], 12, found, set(where.tolist()))


def test_numbers_that_are_none_are_refused_before_qdrant_sees_them(opened, units) -> None:
    engine, vectors = opened(), units(np.random.default_rng(2), 3)
    engine.upsert(np.arange(3), vectors)
    vectors[1, 2] = np.nan
    with pytest.raises(InvalidVector):
        engine.upsert(np.arange(3, 6), vectors)
    with pytest.raises(InvalidVector):
        engine.search(vectors, 1)
    assert len(engine) == 3


def test_another_epoch_is_another_history(no_probes, opened, place, units) -> None:
    engine = opened()
    engine.upsert(np.arange(3), units(np.random.default_rng(3), 3))
    engine.commit(5, no_probes)
    engine.close()
    address = "qdrant-edge" if not hasattr(engine._points, "_where") else None
    if address is None:
        where = engine._points._where
        address = f"qdrant:{where}"
    other = open_index(address, DIM, place._replace(epoch="f" * 32))
    assert (other.seq, len(other)) == (0, 0)
    other.close()
    if address == "qdrant-edge":
        assert [one.name for one in place.folder.glob("edge-*")] == ["edge-" + "f" * 32]


def test_snapshots_are_the_servers(server, opened, place) -> None:
    engine = opened()
    if hasattr(engine._points, "_where") and engine._points._where.url:
        assert engine.snapshot().endswith(".snapshot")
    else:
        with pytest.raises(NotAvailable, match="snapshot the catalog"):
            engine.snapshot()
    engine.drop()
    assert (engine.seq, len(engine)) == (0, 0)


def test_addresses() -> None:
    full = parse_address(
        "qdrant:https://q.example/db/?grpc=1&shards=2&replicas=3&quantization=int8"
    )
    assert (full.url, full.grpc_port) == ("https://q.example:6333/db", 6334)
    assert (full.shards, full.replicas, full.quantization) == (2, 3, "int8")
    assert origin("http://[::1]:9/x") == "http://[::1]:9"
    assert str(parse_address("qdrant:/a")) == "/a"
    for wrong, match in (
        ("qdrant:", "is wanted"),
        ("qdrant:relative/path", "is wanted"),
        ("qdrant:ftp://host", "is wanted"),
        ("qdrant:http://", "no URL"),
        ("qdrant:http://host:port", "no URL"),
        ("qdrant:http://host?api_key=s3cret", "choices are: grpc, quantization"),
        ("qdrant:http://user:s3cret@host", "CROSSBIND_QDRANT_API_KEY"),
        ("qdrant:http://host?shards=0", "shards is '0'"),
        ("qdrant:http://host?quantization=int4", "int8, binary"),
    ):
        with pytest.raises(BadInput, match=match) as raised:
            open_index(wrong, DIM)
        assert "s3cret" not in raised.value.message


def test_strangers_choose_no_folder_and_no_server() -> None:
    ours = "https://q.example:6333"
    for address, beyond in (
        ("exact", False),
        ("qdrant-edge", False),
        ("qdrant:memory", False),
        ("qdrant:/etc", True),
        (f"qdrant:{ours}?shards=2", False),
        ("qdrant:http://q.example:6333", True),
        ("qdrant:http://169.254.169.254", True),
    ):
        assert reaches_beyond(address, ours) == beyond
    assert reaches_beyond(f"qdrant:{ours}", None)


@pytest.mark.parametrize(
    ("address", "module", "library"),
    [
        ("qdrant:memory", "index.qdrant.server", "qdrant_client"),
        ("qdrant-edge", "index.qdrant.edge", "qdrant_edge"),
    ],
)
def test_what_is_not_installed_answers_with_the_command(
    monkeypatch, address: str, module: str, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(MissingDependency, match=r"pip install 'crossbind\[qdrant\]'"):
        open_index(address, DIM)


def test_edge_admits_one_process(place) -> None:
    first, second = open_index("qdrant-edge", DIM, place), open_index("qdrant-edge", DIM, place)
    assert len(first) == 0
    with pytest.raises(NotAvailable, match="admits one: close it there"):
        len(second)
    first.close()
    assert len(second) == 0
    second.close()


def test_a_damaged_shard_is_made_anew(no_probes, place, units) -> None:
    engine = open_index("qdrant-edge", DIM, place)
    engine.upsert(np.arange(5), units(np.random.default_rng(13), 5))
    engine.commit(3, no_probes)
    engine.close()
    (config,) = place.folder.glob("edge-*/edge_config.json")
    config.write_bytes(b"\0")
    engine = open_index("qdrant-edge", DIM, place)
    assert (engine.seq, len(engine)) == (0, 0)
    engine.close()


def test_edge_clears_away_what_was_removed(no_probes, place, units, monkeypatch) -> None:
    monkeypatch.setattr("index.qdrant.edge._LOGGED", 100)
    vectors = units(np.random.default_rng(17), 3000)
    engine: Any = open_index("qdrant-edge", DIM, place)
    engine.upsert(np.arange(3000), vectors)
    engine.commit(1, no_probes)
    assert engine._points._logged == 0
    engine.remove(np.arange(0, 3000, 2))
    engine.commit(2, no_probes)
    assert not engine._points._shard.optimize()
    assert len(engine) == 1500
    found = engine.search(vectors[:1], 3000)
    assert np.count_nonzero(found.ids >= 0) == 1500
    assert np.all(found.ids[found.ids >= 0] % 2 == 1)
    engine.close()


def test_edge_killed_at_once_knows_what_it_was_told(place) -> None:
    code = """
import os, sys, numpy as np
from pathlib import Path
from index.factory import open_index
from index.types import Place
engine = open_index("qdrant-edge", 8, Place(Path(sys.argv[1]), sys.argv[2]))
vectors = np.tile(np.eye(8, dtype=np.float32), (3, 1))
engine.upsert(np.arange(10), vectors[:10])
engine.commit(1, None)
engine.upsert(np.arange(10, 20), vectors[10:20])
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", code, str(place.folder), place.epoch])
    assert done.returncode == -9
    engine = open_index("qdrant-edge", DIM, place)
    assert (engine.seq, len(engine)) == (1, 20)
    assert engine.silent.tolist() == list(range(20))
    engine.close()
