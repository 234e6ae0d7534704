"""What the tests of Qdrant share: a server, engines that are opened again and again, processes.

No Qdrant server runs here. `Server` speaks its REST interface over the client's local mode, so that
all of our side of a server is real: addresses, keys, JSON, errors, several processes.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from embed.types import Modality
from index.catalog import Catalog
from index.contents import Contents
from index.factory import open_index
from index.follower import Follower
from index.metadata.filters import Filter
from index.types import Place, VectorIndex, Where

DIM = 8


class Server:
    """The part of Qdrant's REST interface that we use. status: all it answers, when not None;
    after: requests that it still answers before it says so."""

    def __init__(self) -> None:
        from qdrant_client import QdrantClient, models

        self.client = QdrantClient(":memory:")
        self.models = models
        self.requests: list[tuple[str, str, Any]] = []
        self.keys: list[str | None] = []
        self.status: int | None = None
        self.after = 0
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self.thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def stop(self) -> None:
        self._http.shutdown()
        self.thread.join()
        self._http.server_close()
        self.client.close()

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        self.requests.append((method, path, body))
        if self.status is not None and self.after <= 0:
            return self.status, {"status": {"error": "as the test wants it"}}
        self.after -= 1
        _, _, name, *rest = path.partition("?")[0].split("/")
        try:
            result = self._result(method, name, "/".join(rest), body)
        except ValueError as error:
            return (404 if "not found" in str(error) else 400), {"status": {"error": str(error)}}
        return 200, {"result": result, "status": "ok", "time": 0.0}

    def _result(self, method: str, name: str, rest: str, body: Any) -> Any:
        models = self.models
        c, done = self.client, {"operation_id": 0, "status": "completed"}

        def put_points() -> None:
            points = [models.PointStruct(**point) for point in body.get("points", ())]
            c.upsert(name, points or models.Batch(**body["batch"]))

        def query() -> list[Any]:
            for search in body["searches"]:
                del search["params"]  # local mode warns of them
            asked = [models.QueryRequest(**search) for search in body["searches"]]
            return [one.model_dump() for one in c.query_batch_points(name, asked)]

        def scroll() -> Any:
            wanted = models.Filter(**body["filter"])
            points, offset = c.scroll(name, wanted, limit=body["limit"], with_payload=False)
            return {"points": [p.model_dump() for p in points], "next_page_offset": offset}

        routes: dict[str, Callable[[], Any]] = {
            "GET exists": lambda: {"exists": c.collection_exists(name)},
            "GET ": lambda: c.get_collection(name).model_dump(mode="json"),
            "PUT ": lambda: c.create_collection(name, models.VectorParams(**body["vectors"])),
            "DELETE ": lambda: c.delete_collection(name),
            "PUT index": lambda: done,
            "PUT points": lambda: put_points() or done,
            "POST points": lambda: [p.model_dump() for p in c.retrieve(name, body["ids"])],
            "POST points/count": lambda: {"count": c.count(name).count},
            "POST points/delete": lambda: c.delete(name, models.PointIdsList(**body)) and done,
            "POST points/batch": lambda: [
                c.overwrite_payload(name, **one["overwrite_payload"]) and done
                for one in body["operations"]
            ],
            "POST points/scroll": scroll,
            "POST points/query/batch": query,
            "POST snapshots": lambda: {"name": f"{name}.snapshot", "size": 1},
        }
        return routes[f"{method} {rest}"]()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                with server._lock:
                    server.keys.append(self.headers.get("api-key"))
                    status, told = server.answer(self.command, self.path, json.loads(body or "{}"))
                out = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(out)))
                self.end_headers()
                self.wfile.write(out)

            do_GET = do_POST = do_PUT = do_DELETE = do  # noqa: N815 - as the base class calls them

            def log_message(self, *args: object) -> None:
                pass

        return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "indexes" / "1-1", "e" * 32)


@pytest.fixture(params=["qdrant:memory", "qdrant:/folder", "qdrant-edge", "qdrant:http"])
def opened(
    request: pytest.FixtureRequest, tmp_path: Path, place: Place
) -> Iterator[Callable[[], Any]]:
    """Opens the same engine again and again, as processes that come one after the other."""
    address, engines = request.param, []
    if address == "qdrant:/folder":
        address = f"qdrant:{tmp_path}/points"
    elif address == "qdrant:http":
        address = f"qdrant:{request.getfixturevalue('server').url}"

    def open_it() -> VectorIndex:
        engines.append(open_index(address, DIM, place))
        return engines[-1]

    open_it.keeps = address != "qdrant:memory"  # type: ignore[attr-defined]
    yield open_it
    for engine in engines:
        engine.close()


@pytest.fixture
def contents(catalog: Catalog, space) -> Contents:
    return catalog.contents(catalog.create_collection("c", space=space, chunker="whole"))


class Process:
    """One that follows the catalog by itself, with an engine that others may have too."""

    def __init__(self, contents: Contents, engine: Any) -> None:
        self.contents = contents
        self.engine = engine
        self.follower = Follower(engine)

    def search(self, query: Any, f: Filter | None = None) -> list[int]:
        """The fragments of all pictures that a filter leaves; Qdrant must answer it by itself."""
        (state,) = [s for s in self.contents.partitions() if s.partition[0] == Modality.IMAGE]
        self.follower.follow(self.contents, state, _no_probes)
        where = None if f is None else Where(lambda: 1 / 0, f)  # type: ignore[arg-type,return-value]
        found = self.engine.search(query[None], 50, where).ids[0]
        return sorted(found[found >= 0].tolist())


@pytest.fixture
def process(opened, contents) -> Callable[[], Process]:
    return lambda: Process(contents, opened())


@pytest.fixture
def process_at(server, place, contents) -> Iterator[Callable[[], Process]]:
    """One that uses the server."""
    started: list[Process] = []

    def start() -> Process:
        started.append(Process(contents, open_index(f"qdrant:{server.url}", DIM, place)))
        return started[-1]

    yield start
    for one in started:
        one.engine.close()


def _no_probes() -> Any:
    raise AssertionError("nothing to tune")


@pytest.fixture
def no_probes() -> Callable[[], Any]:
    return _no_probes
