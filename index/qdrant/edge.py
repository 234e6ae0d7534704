"""Points in Qdrant's embedded engine, `qdrant-edge`: a shard in a folder, searched in this process.

A shard admits one process, readers included. Its write-ahead log keeps updates in their order, so
the note never survives points before it. Every search looks at all points that a filter leaves.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

from filelock import FileLock, Timeout

from embed.errors import BackendFailed, Conflict, MissingDependency, NotAvailable, StorageFull
from embed.types import Floats
from index.metadata.bounds import Op
from index.qdrant.engine import QdrantIndex
from index.qdrant.filters import SAYS, Dialect, Payload, Said
from index.qdrant.points import NOTE_ID, Scored
from index.types import Place

try:
    import qdrant_edge as edge
except ImportError as error:
    raise MissingDependency(
        "the index 'qdrant-edge' needs Qdrant's embedded engine: pip install 'crossbind[qdrant]'"
    ) from error

_ALL = 2**31
_TOLD = 200
_LOGGED = 20_000  # points; with more than that the write-ahead log is cut
_EXACT = edge.SearchParams(exact=True)


def open_edge(dim: int, place: Place | None = None) -> QdrantIndex:
    """The engine in `place`, or in a folder of its own that goes with it; opened when needed."""
    if place is None:
        return QdrantIndex(dim, EdgePoints(None, "edge", dim))
    return QdrantIndex(dim, EdgePoints(place.folder, f"edge-{place.epoch}", dim))


class EdgeDialect(Dialect["edge.ConditionType"]):
    """Conditions as `qdrant_edge` has them."""

    def says(self, statements: Sequence[str]) -> edge.ConditionType:
        match = (
            edge.MatchValue(statements[0])
            if len(statements) == 1
            else edge.MatchAny(list(statements))
        )
        return edge.FieldCondition(key=SAYS, match=match)

    def order(self, path: str, op: Op, bound: float) -> edge.ConditionType:
        return edge.FieldCondition(key=path, range=edge.RangeFloat(**{op.value: bound}))

    def all(self, parts: Sequence[edge.ConditionType]) -> edge.ConditionType:
        return edge.Filter(must=list(parts))

    def any(self, parts: Sequence[edge.ConditionType]) -> edge.ConditionType:
        return edge.Filter(should=list(parts))

    def none(self, part: edge.ConditionType) -> edge.ConditionType:
        return edge.Filter(must_not=[part])

    def ids(self, ids: Sequence[int]) -> edge.ConditionType:
        return edge.HasIdCondition(set(ids))


class EdgePoints:
    """Implements `index.qdrant.points.Points` over a shard in `folder / name`.

    folder: None for one of its own, which goes with it. What lies in `folder` under another
    `edge…` name is of another history, and removed.
    """

    approximate = False

    def __init__(self, folder: Path | None, name: str, dim: int) -> None:
        self.dialect = EdgeDialect()
        self._folder = folder
        self._name = name
        self._dim = dim
        self._lock: FileLock | None = None
        self._shard: edge.EdgeShard | None = None
        self._logged = 0

    def open(self) -> None:
        if self._shard is not None:
            return
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="crossbind-edge-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        lock = _locked(self._folder)
        try:
            self._shard = _load(self._folder, self._name, self._dim)
        except BaseException:
            lock.release()
            raise
        self._lock = lock

    def count(self) -> int:
        with self._asking() as shard:
            return shard.count(edge.CountRequest(exact=True))

    def read_note(self) -> Payload | None:
        with self._asking() as shard:
            found = shard.retrieve([NOTE_ID], with_payload=True, with_vector=False)
        return (found[0].payload or {}).get("note") if found else None

    def write_note(self, note: Payload) -> None:
        point = edge.Point(id=NOTE_ID, vector={}, payload={SAYS: [], "note": dict(note)})
        self._update(edge.UpdateOperation.upsert_points([point]))
        with self._asking() as shard:
            shard.optimize()  # clears away what was removed, when it is a fifth
            if self._logged > _LOGGED:
                shard.flush()
                self._logged = 0

    def upsert(self, ids: Sequence[int], vectors: Floats) -> None:
        points = [
            edge.Point(id=one, vector=vector, payload={})
            for one, vector in zip(ids, vectors.tolist(), strict=True)
        ]
        self._logged += len(points)
        self._update(edge.UpdateOperation.upsert_points(points))

    def remove(self, ids: Sequence[int]) -> None:
        self._update(edge.UpdateOperation.delete_points(list(ids)))

    def say(self, payloads: Sequence[tuple[Sequence[int], Said]]) -> None:
        for ids, payload in payloads:
            self._update(edge.UpdateOperation.overwrite_payload(list(ids), dict(payload)))

    def index(self, path: str) -> None:
        kind = edge.PayloadSchemaType.Float
        self._update(edge.UpdateOperation.create_field_index(path, kind))

    def silent(self) -> list[int]:
        nothing = edge.Filter(
            must=[edge.IsEmptyCondition(SAYS)], must_not=[edge.HasIdCondition({NOTE_ID})]
        )
        request = edge.ScrollRequest(
            limit=_ALL, filter=nothing, with_payload=False, with_vector=False
        )
        with self._asking() as shard:
            return [cast("int", point.id) for point in shard.scroll(request)[0]]

    def settled(self) -> bool:
        return True

    def search(
        self,
        queries: Floats,
        k: int,
        where: edge.ConditionType | None,
        ef: int | None,  # noqa: ARG002 - there is no graph
    ) -> list[list[Scored]]:
        wanted = None if where is None else edge.Filter(must=[where])
        asked = [edge.Query.Nearest(query) for query in queries.tolist()]
        requests = [
            edge.QueryRequest(limit=k, query=query, filter=wanted, params=_EXACT) for query in asked
        ]
        with self._asking() as shard:
            answers = shard.query_batch(edge.QueryBatchRequest(requests))
        return [[(cast("int", one.id), one.score) for one in answer] for answer in answers]

    def snapshot(self) -> str:
        raise NotAvailable("only a Qdrant server keeps snapshots: snapshot the catalog instead")

    def drop(self) -> None:
        self.close()
        if self._folder is not None:
            shutil.rmtree(self._folder / self._name, ignore_errors=True)

    def close(self) -> None:
        shard, self._shard = self._shard, None
        lock, self._lock = self._lock, None
        if shard is not None:
            with _explained(self._folder):
                shard.close()
        if lock is not None:
            lock.release()

    def _update(self, operation: edge.UpdateOperation) -> None:
        with self._asking() as shard:
            shard.update(operation)

    @contextmanager
    def _asking(self) -> Iterator[edge.EdgeShard]:
        assert self._shard is not None
        with _explained(self._folder):
            yield self._shard


def _locked(folder: Path) -> FileLock:
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "edge.lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise NotAvailable(
            f"the index in {folder} is open in another process, and 'qdrant-edge' admits one: "
            "close it there, or give the collection another index"
        ) from error
    return lock


def _load(folder: Path, name: str, dim: int) -> edge.EdgeShard:
    path = folder / name
    for other in folder.glob("edge*/"):
        if other != path:
            shutil.rmtree(other, ignore_errors=True)
    config = edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(size=dim, distance=edge.Distance.Dot),
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=0),  # no graph: all is looked at
    )
    with suppress(Exception):
        # What cannot be read, whatever the engine calls it, is made anew from the catalog.
        return edge.EdgeShard.load(str(path), config)
    with _explained(path):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        shard = edge.EdgeShard.create(str(path), config)
        keyword = edge.PayloadSchemaType.Keyword
        shard.update(edge.UpdateOperation.create_field_index(SAYS, keyword))
        return shard


@contextmanager
def _explained(path: Path | None) -> Iterator[None]:
    """The engine raises bare exceptions; what they say is all there is to go by."""
    try:
        yield
    except Exception as error:
        told = str(error)
        if "No space left" in told:
            raise StorageFull(f"no room left on the disk of {path}: free some space") from error
        if "imension" in told:
            raise Conflict(f"the index in {path} holds other vectors ({told})") from error
        raise BackendFailed(
            f"the index in {path} failed ({told[:_TOLD]}): close Crossbind and delete that folder, "
            "and it is made anew from the catalog"
        ) from error
