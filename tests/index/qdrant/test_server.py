"""A Qdrant server: away, shared, emptied, asking for keys, searched by its graph."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

pytest.importorskip("qdrant_client", reason="needs crossbind[qdrant]")
pytest.importorskip("qdrant_edge", reason="needs crossbind[qdrant]")

import grpc

from embed.errors import (
    BackendFailed,
    Conflict,
    Forbidden,
    NotAvailable,
    Overloaded,
    StorageFull,
    Unauthorized,
)
from index.collection import Collection
from index.engines import drop_engines
from index.factory import open_index
from index.keys import Keys
from index.metadata.bounds import Op
from index.metadata.filters import Not, Predicate
from index.qdrant import engine as qdrant_index
from index.qdrant import filters as qdrant_filters
from index.qdrant import server as qdrant_backend
from index.qdrant import tuning as qdrant_tuning
from index.qdrant.points import LostPoints
from index.search.query import Query

DIM = 8


def test_a_server_that_goes_away_half_way_is_caught_up_with(
    server, process_at, contents, entry, units, monkeypatch
) -> None:
    monkeypatch.setattr(qdrant_index, "_UPSERT_FLOATS", 10 * DIM)
    monkeypatch.setattr(qdrant_backend, "_STATEMENTS", 30)
    vectors = units(np.random.default_rng(9), 40)
    process = process_at()
    with contents.writing() as writing:
        for row in vectors[:5]:
            writing.put(entry(row[None]))
    assert len(process.search(vectors[0])) == 5
    with contents.writing() as writing:  # acknowledged, whatever the server does
        for row in vectors[5:]:
            writing.put(entry(row[None]))
        writing.remove(contents.owners([1])[1])
    server.status, server.after = 503, 2
    with pytest.raises(NotAvailable, match=r"Qdrant server http://127\.0\.0\.1.*search again"):
        process.search(vectors[0])
    assert process.engine.seq == 1
    server.status = None
    assert process.search(vectors[0]) == list(range(2, 41))


def test_processes_that_share_a_server_take_turns(
    server, process_at, contents, entry, units, monkeypatch
) -> None:
    vectors = units(np.random.default_rng(10), 6)
    one, two = (process_at() for _ in range(2))
    with contents.writing() as writing:
        for row in vectors:
            writing.put(entry(row[None], metadata={"n": 1}))
    assert len(one.search(vectors[0])) == 6
    server.requests.clear()
    assert len(two.search(vectors[0], Predicate("n", Op.EQ, 1))) == 6
    assert not [path for method, path, _ in server.requests if method in {"PUT", "DELETE"}]

    with contents.writing() as writing:
        writing.remove(contents.owners([1])[1])
    with two.engine.turn():
        waiting = threading.Thread(target=one.search, args=(vectors[0],))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join()
    monkeypatch.setattr(qdrant_index, "_PATIENCE", 0)
    with two.engine.turn(), pytest.raises(Overloaded, match="try again"), one.engine.turn():
        pass
    assert two.search(vectors[0]) == [2, 3, 4, 5, 6]


def test_points_lost_on_the_server_are_put_back(server, process_at, contents, entry, units) -> None:
    vectors = units(np.random.default_rng(11), 3)
    process = process_at()
    with contents.writing() as writing:
        for row in vectors:
            writing.put(entry(row[None]))
    assert len(process.search(vectors[0])) == 3
    for one in server.client.get_collections().collections:
        server.client.delete_collection(one.name)
    with pytest.raises(NotAvailable, match="search again, and they are put back"):
        process.search(vectors[0])
    assert len(process.search(vectors[0])) == 3


def test_a_large_collection_is_tuned_once_its_graph_is_built(
    no_probes, server, place, units, monkeypatch
) -> None:
    for module in (qdrant_index, qdrant_tuning):
        monkeypatch.setattr(module, "EXACT_UP_TO", 10)
    monkeypatch.setattr(qdrant_tuning, "_PAUSE", 0.01)
    engine: Any = open_index(f"qdrant:{server.url}", DIM, place)
    vectors = units(np.random.default_rng(12), 30)
    built = iter([False, False])
    settled = engine._points.settled
    engine._points.settled = lambda: next(built, settled())
    engine.upsert(np.arange(30), vectors)
    engine.commit(1, lambda: vectors[:5])
    found = engine.search(vectors[:2], 3)
    assert found.exact is False
    engine.settle()
    assert next(built, None) is None
    found = engine.search(vectors[:2], 3)
    assert (found.exact, found.recall_estimate) == (False, 1.0)
    engine.commit(2, no_probes)  # nothing to tune again
    engine.close()
    again: Any = open_index(f"qdrant:{server.url}", DIM, place)
    assert (again.seq, again.search(vectors[:1], 1).recall_estimate) == (2, 1.0)
    again.close()


def test_tuning_takes_the_least_ef_that_finds_enough(no_probes, units) -> None:
    class Graph:
        approximate = True

        def search(self, queries: Any, k: int, where: object, ef: int | None) -> Any:
            found = k if ef is None or ef >= 256 else k // 2
            return [[(one, 1.0) for one in range(found)] for _ in queries]

    kept: list[qdrant_tuning.Tuned] = []
    graph: Any = Graph()
    graph.settled = lambda: True
    tuning = qdrant_tuning.Tuning(graph)
    tuning.begin(lambda: np.zeros((3, DIM), np.float32), kept.append)
    tuning.settle()
    assert kept == [(256, 1.0)]
    graph.settled = lambda: False  # for ever
    tuning.begin(no_probes, kept.append)
    tuning.stop()
    assert len(kept) == 1


@pytest.mark.parametrize(
    ("status", "error", "match"),
    [
        (401, Unauthorized, "CROSSBIND_QDRANT_API_KEY"),
        (403, Forbidden, "may not do this"),
        (404, NotAvailable, "put back"),
        (409, Conflict, "as the test wants it"),
        (418, BackendFailed, "418"),
        (429, Overloaded, "try again"),
        (500, BackendFailed, "log"),
        (503, NotAvailable, "until it is up"),
        (507, StorageFull, "give it room"),
    ],
)
def test_what_a_server_says_is_one_of_our_errors(server, status, error, match) -> None:
    engine = open_index(f"qdrant:{server.url}", DIM)
    server.status = status
    with pytest.raises(error, match=match) as raised:
        len(engine)
    assert server.url in raised.value.message
    engine.close()


def test_a_server_that_is_not_there_and_one_that_is_no_qdrant(server) -> None:
    server.answer = lambda *_: (200, ["hello"])
    for address in (
        f"qdrant:{server.url}",
        "qdrant:http://127.0.0.1:9",
        "qdrant:http://[::1]:9?grpc=9",
    ):
        engine = open_index(address, DIM)
        with pytest.raises(
            NotAvailable, match=r"is it one|cannot be reached.*is safe in the catalog"
        ):
            len(engine)
        engine.close()


def test_another_dim_is_a_conflict(server, place) -> None:
    engine = open_index(f"qdrant:{server.url}", DIM, place)
    other = open_index(f"qdrant:{server.url}", DIM + 1, place)
    assert len(engine) == 0
    with pytest.raises(Conflict, match=f"vectors of {DIM + 1} numbers"):
        len(other)
    engine.close()
    other.close()


def test_a_key_goes_to_its_server_and_nowhere_else(server, place) -> None:
    address = f"qdrant:{server.url}"
    keys = Keys.of(server.url + "/", "s3cret")
    assert "s3cret" not in repr(place._replace(keys=keys))
    engine = open_index(address, DIM, place._replace(keys=keys))
    assert len(engine) == 0
    assert set(server.keys) == {"s3cret"}
    engine.close()
    server.keys.clear()
    engine = open_index(address, DIM, place._replace(keys=Keys.of("https://other", "s3cret")))
    assert len(engine) == 0
    assert set(server.keys) == {None}
    server.status = 401
    with pytest.raises(Unauthorized) as raised:
        engine.upsert(np.arange(1), np.eye(1, DIM, dtype=np.float32))
    assert "s3cret" not in raised.value.message
    engine.close()


def test_a_deleted_collection_leaves_nothing_on_the_server(
    server, catalog, space, units, entry, caplog
) -> None:
    info = catalog.create_collection(
        "c", space=space, chunker="whole", index=f"qdrant:{server.url}"
    )
    collection = Collection(catalog, info)
    vectors = units(np.random.default_rng(16), 3)
    collection.write([entry(vectors)])
    assert len(collection.search(Query(joint=vectors[0])).hits) == 1
    assert len(server.client.get_collections().collections) == 1
    collection.close()
    server.status = 503
    drop_engines(catalog.contents(info))
    assert "points of c stay where they are: the Qdrant server" in caplog.text
    server.status = None
    drop_engines(catalog.contents(info))
    assert server.client.get_collections().collections == []


def test_grpc_carries_the_key_and_the_same_errors(place) -> None:
    status, asked = [grpc.StatusCode.UNAUTHENTICATED], []

    class Handler(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            def answer(request: bytes, context: Any) -> None:
                asked.append((details.method, dict(details.invocation_metadata)["api-key"]))
                context.abort(status[0], "as the test wants it")

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(2), handlers=[Handler()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    keys = Keys.of("http://127.0.0.1:1", "s3cret")
    engine: Any = open_index(
        f"qdrant:http://127.0.0.1:1?grpc={port}", DIM, place._replace(keys=keys)
    )
    points, one = engine._points, np.eye(1, DIM, dtype=np.float32)
    said = qdrant_filters.Said(says=["a"], numbers={"n": [1.0]}, times={})
    native = qdrant_filters.condition(Not(Predicate("n", Op.GT, 1)), points.dialect)
    for work in (
        points.open,
        points.count,
        points.read_note,
        lambda: points.write_note({"seq": 1}),
        lambda: points.upsert([1], one),
        lambda: points.remove([1]),
        lambda: points.say([([1], said)]),
        lambda: points.index("numbers.n"),
        points.silent,
        lambda: points.search(one, 3, native, 64),
        points.snapshot,
        points.drop,
    ):
        with pytest.raises(Unauthorized, match="CROSSBIND_QDRANT_API_KEY"):
            work()
    assert len({method for method, _ in asked}) == 11  # the note and points are both upserts
    assert {key for _, key in asked} == {"s3cret"}
    for code, error in (
        (grpc.StatusCode.PERMISSION_DENIED, Forbidden),
        (grpc.StatusCode.NOT_FOUND, LostPoints),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Overloaded),
        (grpc.StatusCode.INTERNAL, BackendFailed),
        (grpc.StatusCode.UNAVAILABLE, NotAvailable),
    ):
        status[0] = code
        with pytest.raises(error):
            points.count()
    engine.close()
    server.stop(None).wait()


def test_two_processes_may_make_the_collection_at_once(server, place, monkeypatch) -> None:
    one, two = (open_index(f"qdrant:{server.url}", DIM, place) for _ in range(2))
    assert len(one) == 0
    exists = iter([False])
    there = server.client.collection_exists
    monkeypatch.setattr(server.client, "collection_exists", lambda name: next(exists, there(name)))
    assert len(two) == 0
    one.close()
    two.close()
