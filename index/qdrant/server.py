"""Points on a Qdrant server, by REST or gRPC, or in the client's local mode.

Local mode is the client's own imitation in NumPy, for tests and small folders: it looks at every
point and lets one process in.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from uuid import uuid4

from embed.errors import BackendFailed, Conflict, CrossbindError, MissingDependency, NotAvailable
from embed.types import Floats
from index.keys import origin
from index.metadata.bounds import Op
from index.qdrant.address import QdrantAddress, parse_address
from index.qdrant.engine import QdrantIndex
from index.qdrant.filters import SAYS, Dialect, Payload, Said
from index.qdrant.points import NOTE_ID, Scored
from index.types import Place

try:
    from qdrant_client import QdrantClient, models

    from index.qdrant.errors import explained
except ImportError as error:
    raise MissingDependency(
        "an index 'qdrant:…' needs Qdrant's client: pip install 'crossbind[qdrant]'"
    ) from error

_INT8 = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
_BINARY = models.BinaryQuantizationConfig(always_ram=True)
_QUANTIZATIONS: dict[str, models.QuantizationConfig] = {
    "int8": models.ScalarQuantization(scalar=_INT8),
    "binary": models.BinaryQuantization(binary=_BINARY),
}

# Of one request; a server takes 32 MiB.
_NUMBERS = 500_000
_STATEMENTS = 50_000

TIMEOUT = 30  # seconds; of one request
_PAGE = 10_000


def open_qdrant(address: str, dim: int, place: Place | None = None) -> QdrantIndex:
    """The engine at `qdrant:…`; nothing is asked of it yet.

    place: None for points that nobody shares. A server is told the key that `place.keys` has for
    it, and no other. Raises BadInput.
    """
    where = parse_address(address)
    if place is None:
        own = ClientPoints(where, f"crossbind_{uuid4().hex}", dim, passing=True)
        return QdrantIndex(dim, own)
    name = f"crossbind_{place.epoch}_{place.folder.name}"
    key = place.keys.get(origin(where.url)) if where.url else None
    lock = place.folder / "qdrant.lock" if where.url else None
    return QdrantIndex(dim, ClientPoints(where, name, dim, key), lock)


class ClientDialect(Dialect[models.Condition]):
    """Conditions as `qdrant_client.models`."""

    def says(self, statements: Sequence[str]) -> models.Condition:
        if len(statements) == 1:
            match: models.Match = models.MatchValue(value=statements[0])
        else:
            match = models.MatchAny(any=list(statements))
        return models.FieldCondition(key=SAYS, match=match)

    def order(self, path: str, op: Op, bound: float) -> models.Condition:
        return models.FieldCondition(key=path, range=models.Range(**{op.value: bound}))

    def all(self, parts: Sequence[models.Condition]) -> models.Condition:
        return models.Filter(must=list(parts))

    def any(self, parts: Sequence[models.Condition]) -> models.Condition:
        return models.Filter(should=list(parts))

    def none(self, part: models.Condition) -> models.Condition:
        return models.Filter(must_not=[part])

    def ids(self, ids: Sequence[int]) -> models.Condition:
        return models.HasIdCondition(has_id=list(ids))


class ClientPoints:
    """Implements `index.qdrant.points.Points` with Qdrant's client.

    key: sent to a server only. passing: the points go when they are closed.
    """

    def __init__(
        self,
        where: QdrantAddress,
        name: str,
        dim: int,
        key: str | None = None,
        *,
        passing: bool = False,
    ) -> None:
        self.approximate = where.url is not None
        self.dialect = ClientDialect()
        self._where = where
        self._name = name
        self._dim = dim
        self._key = key
        self._passing = passing
        self._opened: QdrantClient | None = None
        # Local mode is one process's arrays, and they move while points are added.
        self._one_at_a_time = threading.RLock()

    def open(self) -> None:
        if not self._exists():
            try:
                self._create()
            except (Conflict, BackendFailed):
                if not self._exists():  # another process may have made it meanwhile
                    raise
        with self._asking() as client:
            held = client.get_collection(self._name).config.params.vectors
        if not isinstance(held, models.VectorParams) or held.size != self._dim:
            raise Conflict(
                f"the Qdrant collection {self._name!r} at {self._where} does not hold vectors of "
                f"{self._dim} numbers: delete it there, and it is made anew from the catalog",
                param="index",
            )

    def count(self) -> int:
        with self._asking() as client:
            return client.count(self._name, exact=True).count

    def read_note(self) -> Payload | None:
        with self._asking() as client:
            found = client.retrieve(self._name, [NOTE_ID], with_payload=True)
        return (found[0].payload or {}).get("note") if found else None

    def write_note(self, note: Payload) -> None:
        point = models.PointStruct(id=NOTE_ID, vector={}, payload={SAYS: [], "note": dict(note)})
        with self._asking() as client:
            client.upsert(self._name, [point], wait=True)

    def upsert(self, ids: Sequence[int], vectors: Floats) -> None:
        batch = models.Batch(ids=list(ids), vectors=vectors.tolist())
        with self._asking() as client:
            client.upsert(self._name, batch, wait=True)

    def remove(self, ids: Sequence[int]) -> None:
        with self._asking() as client:
            client.delete(self._name, models.PointIdsList(points=list(ids)), wait=True)

    def say(self, payloads: Sequence[tuple[Sequence[int], Said]]) -> None:
        sizes = [len(payload["says"]) + len(ids) for ids, payload in payloads]
        for some in _portions(sizes, _STATEMENTS):
            operations = [
                models.OverwritePayloadOperation(
                    overwrite_payload=models.SetPayload(payload=dict(payload), points=list(ids))
                )
                for ids, payload in payloads[some]
            ]
            with self._asking() as client:
                client.batch_update_points(self._name, operations, wait=True)

    def index(self, path: str) -> None:
        self._make_index(path, models.PayloadSchemaType.FLOAT)

    def silent(self) -> Sequence[int]:
        nothing = models.IsEmptyCondition(is_empty=models.PayloadField(key=SAYS))
        note = models.HasIdCondition(has_id=[NOTE_ID])
        wanted = models.Filter(must=[nothing], must_not=[note])
        found: list[int] = []
        offset: models.ExtendedPointId | None = None
        with self._asking() as client:
            while True:
                page, offset = client.scroll(
                    self._name, wanted, limit=_PAGE, offset=offset, with_payload=False
                )
                found += [int(point.id) for point in page]
                if offset is None:
                    return found

    def settled(self) -> bool:
        with self._asking() as client:
            return client.get_collection(self._name).status == models.CollectionStatus.GREEN

    def search(
        self, queries: Floats, k: int, where: models.Condition | None, ef: int | None
    ) -> list[list[Scored]]:
        wanted = None if where is None else models.Filter(must=[where])
        named = len(where.has_id) if isinstance(where, models.HasIdCondition) else 0
        found: list[list[Scored]] = []
        for some in _portions([self._dim + named] * len(queries), _NUMBERS):
            requests = [
                models.QueryRequest(query=query, limit=k, filter=wanted, params=self._params(ef))
                for query in queries[some].tolist()
            ]
            with self._asking() as client:
                answers = client.query_batch_points(self._name, requests)
            found += [[(int(one.id), one.score) for one in answer.points] for answer in answers]
        return found

    def snapshot(self) -> str:
        if self._where.url is None:
            raise NotAvailable("only a Qdrant server keeps snapshots: snapshot the catalog instead")
        with self._asking() as client:
            made = client.create_snapshot(self._name, wait=True)
        assert made is not None
        return made.name

    def drop(self) -> None:
        with self._asking() as client:
            client.delete_collection(self._name)

    def close(self) -> None:
        with self._one_at_a_time:
            client, self._opened = self._opened, None
        if client is None:
            return
        if self._passing:
            with suppress(CrossbindError), explained(self._where):
                client.delete_collection(self._name)
        client.close()

    def _exists(self) -> bool:
        with self._asking() as client:
            return client.collection_exists(self._name)

    def _create(self) -> None:
        where = self._where
        with self._asking() as client:
            client.create_collection(
                self._name,
                models.VectorParams(size=self._dim, distance=models.Distance.DOT),
                shard_number=where.shards,
                replication_factor=where.replicas,
                quantization_config=_QUANTIZATIONS.get(where.quantization or ""),
            )
        self._make_index(SAYS, models.PayloadSchemaType.KEYWORD)

    def _make_index(self, path: str, kind: models.PayloadSchemaType) -> None:
        if self._where.url is None:  # local mode has none, and warns of them
            return
        with self._asking() as client:
            client.create_payload_index(self._name, path, kind, wait=True)

    def _params(self, ef: int | None) -> models.SearchParams | None:
        if self._where.url is None:  # it looks at every point anyway, and warns of parameters
            return None
        if ef is None:
            ignore = models.QuantizationSearchParams(ignore=True)
            return models.SearchParams(exact=True, quantization=ignore)
        rescore = models.QuantizationSearchParams(rescore=True, oversampling=2.0)
        return models.SearchParams(hnsw_ef=ef, quantization=rescore)

    @contextmanager
    def _asking(self) -> Iterator[QdrantClient]:
        with explained(self._where):
            if self._where.url is not None:
                yield self._client()
                return
            with self._one_at_a_time:
                yield self._client()

    def _client(self) -> QdrantClient:
        with self._one_at_a_time:
            if self._opened is None:
                self._opened = self._connect()
            return self._opened

    def _connect(self) -> QdrantClient:
        where = self._where
        if where.folder is not None:
            return QdrantClient(path=str(where.folder / self._name))
        if where.url is None:
            return QdrantClient(":memory:")
        # As a header, for `api_key` warns of http, which is right between two containers.
        return QdrantClient(
            url=where.url,
            prefer_grpc=where.grpc_port is not None,
            grpc_port=where.grpc_port or 6334,
            headers={"api-key": self._key} if self._key else None,
            timeout=TIMEOUT,
            check_compatibility=False,
        )


def _portions(sizes: Sequence[int], most: int) -> Iterator[slice]:
    """Runs of things whose sizes add up to `most` at most; a larger one comes alone."""
    start = total = 0
    for number, size in enumerate(sizes):
        if total + size > most and number > start:
            yield slice(start, number)
            start, total = number, 0
        total += size
    if len(sizes) > start:
        yield slice(start, len(sizes))
