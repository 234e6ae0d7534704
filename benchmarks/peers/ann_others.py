"""The systems of others that ann.py compares with, each imported when it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ann_system import CORES, K, Rows, System, padded


class Hnswlib(System):
    needs = ("hnswlib",)
    knobs = (16, 32, 64, 96, 128, 192, 256, 384, 512)

    def build(self, rows: Rows, folder: Path) -> None:
        import hnswlib

        index = hnswlib.Index("ip", rows.base.shape[1])
        index.init_index(len(rows.base), M=16, ef_construction=200)
        index.add_items(rows.base, num_threads=CORES)
        index.save_index(str(folder / f"{rows.base.shape[1]}.index"))

    def load(self, folder: Path) -> None:
        import hnswlib

        [path] = folder.glob("*.index")
        self._index = hnswlib.Index("ip", int(path.stem))
        self._index.load_index(str(path))

    def turn(self, knob: int) -> None:
        self._index.set_ef(knob)

    def search(self, queries: Any) -> Any:
        return self._index.knn_query(queries, K, num_threads=CORES)[0].astype(np.int64)


class Usearch(System):
    needs = ("usearch.index",)
    knobs = (16, 32, 64, 96, 128, 192, 256, 384, 512)

    def __init__(self, dtype: str) -> None:
        self._dtype = dtype

    def build(self, rows: Rows, folder: Path) -> None:
        from usearch.index import Index

        index = Index(ndim=rows.base.shape[1], metric="ip", dtype=self._dtype)
        index.add(np.arange(len(rows.base)), rows.base, threads=CORES)
        index.save(str(folder / "index"))

    def load(self, folder: Path) -> None:
        from usearch.index import Index

        self._index = Index.restore(str(folder / "index"))

    def turn(self, knob: int) -> None:
        self._index.expansion_search = knob

    def search(self, queries: Any) -> Any:
        keys = self._index.search(queries, K, threads=CORES).keys
        return np.atleast_2d(keys).astype(np.int64)


class QdrantEdge(System):
    needs = ("qdrant_edge",)
    knobs = (16, 32, 64, 96, 128, 192, 256, 384, 512)
    filters = True
    _ef = 128

    def build(self, rows: Rows, folder: Path) -> None:
        import qdrant_edge as edge

        (folder / "shard").mkdir()
        shard = edge.EdgeShard.create(str(folder / "shard"), self._config(rows.base.shape[1]))
        (folder / "dim").write_text(str(rows.base.shape[1]))
        for start in range(0, len(rows.base), 1000):
            points = [
                edge.Point(
                    id=row, vector=rows.base[row].tolist(), payload={"field": int(rows.field[row])}
                )
                for row in range(start, min(start + 1000, len(rows.base)))
            ]
            shard.update(edge.UpdateOperation.upsert_points(points))
        kind = edge.PayloadSchemaType.Integer
        shard.update(edge.UpdateOperation.create_field_index("field", kind))
        shard.optimize()
        shard.flush()
        shard.close()

    def _config(self, dim: int) -> Any:
        import qdrant_edge as edge

        graph = edge.HnswIndexConfig(16, 200, 1000, max_indexing_threads=CORES)
        vectors = edge.EdgeVectorParams(size=dim, distance=edge.Distance.Dot, hnsw_config=graph)
        optimizers = edge.EdgeOptimizersConfig(indexing_threshold=1000, default_segment_number=1)
        return edge.EdgeConfig(vectors=vectors, hnsw_config=graph, optimizers=optimizers)

    def load(self, folder: Path) -> None:
        import qdrant_edge as edge

        dim = int((folder / "dim").read_text())
        self._shard = edge.EdgeShard.load(str(folder / "shard"), self._config(dim))

    def turn(self, knob: int) -> None:
        self._ef = knob

    def search(self, queries: Any) -> Any:
        return self._asked(queries, None)

    def among(self, queries: Any, below: int) -> Any:
        import qdrant_edge as edge

        only = edge.FieldCondition("field", range=edge.RangeFloat(lt=below))
        return self._asked(queries, edge.Filter(must=[only]))

    def _asked(self, queries: Any, only: Any) -> Any:
        import qdrant_edge as edge

        requests = [
            edge.QueryRequest(
                limit=K,
                query=edge.Query.Nearest(query),
                filter=only,
                params=edge.SearchParams(hnsw_ef=self._ef),
            )
            for query in queries.tolist()
        ]
        answers = self._shard.query_batch(edge.QueryBatchRequest(requests))
        return padded([[point.id for point in answer] for answer in answers])


class Lancedb(System):
    """Its tables have no graph without quantization; `refine_factor` looks at the vectors again."""

    needs = ("lancedb", "pyarrow")
    knobs = ((16, 10), (64, 20), (128, 40))
    filters = True
    _knob = (64, 20)

    def build(self, rows: Rows, folder: Path) -> None:
        import lancedb
        import pyarrow as pa

        vectors = pa.FixedSizeListArray.from_arrays(
            pa.array(rows.base.reshape(-1)), rows.base.shape[1]
        )
        data = pa.table({"vector": vectors, "field": rows.field, "id": np.arange(len(rows.base))})
        table = lancedb.connect(str(folder)).create_table("rows", data)
        lists = max(1, len(rows.base) // 256)  # more it does not train
        table.create_index(
            metric="dot", num_partitions=lists, num_sub_vectors=rows.base.shape[1] // 4
        )
        table.create_scalar_index("field")

    def load(self, folder: Path) -> None:
        import lancedb

        self._table = lancedb.connect(str(folder)).open_table("rows")

    def turn(self, knob: tuple[int, int]) -> None:
        self._knob = knob

    def search(self, queries: Any) -> Any:
        return padded([self._one(query, None) for query in queries])

    def among(self, queries: Any, below: int) -> Any:
        return padded([self._one(query, below) for query in queries])

    def _one(self, query: Any, below: int | None) -> list[int]:
        probes, refine = self._knob
        search = self._table.search(query).distance_type("dot").nprobes(probes)
        search = search.refine_factor(refine).limit(K).select(["id", "_distance"])
        if below is not None:
            search = search.where(f"field < {below}", prefilter=True)
        found: list[int] = search.to_arrow()["id"].to_pylist()
        return found


class Chroma(System):
    needs = ("chromadb",)
    knobs = (16, 32, 64, 128, 256, 512)

    def build(self, rows: Rows, folder: Path) -> None:
        import chromadb

        graph = {"hnsw:space": "ip", "hnsw:M": 16, "hnsw:construction_ef": 200}
        client = chromadb.PersistentClient(str(folder))
        collection = client.create_collection("rows", metadata=graph, embedding_function=None)
        for start in range(0, len(rows.base), 5000):
            part = range(start, min(start + 5000, len(rows.base)))
            collection.add(
                ids=[str(row) for row in part],
                embeddings=rows.base[part.start : part.stop],
                metadatas=[{"field": int(rows.field[row])} for row in part],
            )

    def load(self, folder: Path) -> None:
        import chromadb

        self._folder = folder
        self._client = chromadb.PersistentClient(str(folder))
        self._collection = self._client.get_collection("rows", embedding_function=None)

    def turn(self, knob: int) -> None:
        from chromadb.api.shared_system_client import SharedSystemClient

        self._collection.modify(configuration={"hnsw": {"ef_search": knob}})
        SharedSystemClient.clear_system_cache()  # a graph that is loaded keeps its own
        self.load(self._folder)

    def search(self, queries: Any) -> Any:
        found = self._collection.query(query_embeddings=queries, n_results=K, include=[])
        return padded([[int(one) for one in ids] for ids in found["ids"]])
