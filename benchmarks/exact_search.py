"""Exact search: ours beside FAISS, qdrant-edge, NumPy and PyTorch, one query and batches of 64.

    python benchmarks/exact_search.py --out benchmarks/results/<date>-exact-512.json
    python benchmarks/exact_search.py --dim 384

The vectors are those of a mixture of clusters, and a query is one of them with noise, so that the
best are close to each other. Every engine answers the same queries in turn, round by round; of a
round the quickest of some calls counts, and of the rounds the median; ratios are taken within a
round. FAISS is run as it comes, and with threads and the size from which it hands over to BLAS
swept. Recall is against float64; a score as good as the k-th, to 1e-6, is as good as the k-th.
Bandwidth: bytes of codes over the time of a whole search, against reading as many bytes, which do
nothing but be compared, with as many threads.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

from api.config import own_threads

os.environ.update(own_threads() | os.environ)  # before any library reads them

import faiss
import numpy as np
import qdrant_edge
import torch
from numpy.typing import NDArray
from setting import finish, say

from embed.types import Floats, normalise
from index.vectors import kernels
from index.vectors.exact import ExactIndex
from index.vectors.workers import Workers

K = 10
BATCH = 64
CLUSTERS = 1000
REST = 0.1  # seconds; OpenBLAS threads spin on for so long, and would run beside the next
BLAS_FROM = {"always": 1, "default": 20, "never": 2**30}  # queries at once, for FAISS

Ids = NDArray[np.int64]
Search = Callable[[Floats], Ids]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    vectors, queries = dataset(args.rows, args.dim)
    shapes = {"single": queries[:1], "batch": queries[:BATCH]}
    with engines(vectors) as searches:
        found = {name: search(queries[:BATCH]) for name, search in searches.items()}
        recalls = recall(vectors, queries[:BATCH], found)
        works: dict[str, Callable[[], object]] = {
            f"{name} {shape}": partial(search, some)
            for name, search in searches.items()
            for shape, some in shapes.items()
        }
        works["read"] = reading(vectors)
        times = timed(works, args.rounds)
    result = {
        "rows": args.rows,
        "dim": args.dim,
        "k": K,
        "batch": BATCH,
        "threads": Workers().count,
        "rounds": args.rounds,
        "recall": recalls,
        "milliseconds": {name: round(1e3 * statistics.median(t), 3) for name, t in times.items()},
        "kernels": {name: version(name) for name in ("numkong", "qdrant-edge-py")},
        "bytes_read": args.rows * args.dim * (1 if kernels.BYTES else 4),
        "bytes_per_vector": {"ours": 5 * args.dim + 20, "float32": 4 * args.dim},
        **ratios(times),
    }
    finish("exact_search", result, args.out)
    return 0


def dataset(rows: int, dim: int) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CLUSTERS, dim), dtype=np.float32)
    vectors = rng.standard_normal((rows, dim), dtype=np.float32)
    vectors += centres[rng.integers(0, CLUSTERS, rows)]
    vectors = normalise(vectors)
    noise = normalise(rng.standard_normal((BATCH, dim)))
    return vectors, normalise(vectors[rng.integers(0, rows, BATCH)] + noise)


@contextmanager
def engines(vectors: Floats) -> Iterator[dict[str, Search]]:
    """Searches by name."""
    ours = ExactIndex(vectors.shape[1])
    ours.upsert(np.arange(len(vectors)), vectors)
    searches: dict[str, Search] = {"ours": lambda queries: ours.search(queries, K).ids}
    start = time.perf_counter()
    for _ in range(2):
        ours.search(vectors[:1], K)
    say(f"ours: bytes made in {time.perf_counter() - start:.2f} s")
    searches |= faiss_searches(vectors)
    searches["numpy"] = numpy_search(vectors)
    searches["torch bf16"] = torch_search(vectors)
    with tempfile.TemporaryDirectory() as folder:
        shard = edge_shard(Path(folder), vectors)
        searches["qdrant-edge"] = partial(edge_search, shard)
        yield searches
        shard.close()
    ours.close()


def faiss_searches(vectors: Floats) -> dict[str, Search]:
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    most = faiss.omp_get_max_threads()

    def search(queries: Floats, *, threads: int, blas_from: int) -> Ids:
        faiss.omp_set_num_threads(threads)
        faiss.cvar.distance_compute_blas_threshold = blas_from
        ids: Ids = flat.search(queries, K)[1]
        return ids

    return {
        f"faiss {threads} threads, BLAS {name}": partial(search, threads=threads, blas_from=size)
        for threads in sorted({1, most})
        for name, size in BLAS_FROM.items()
    }


def numpy_search(vectors: Floats) -> Search:
    def search(queries: Floats) -> Ids:
        scores = queries @ vectors.T
        best = np.argpartition(scores, -K, axis=1)[:, -K:]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        return np.take_along_axis(best, order, axis=1)

    return search


def torch_search(vectors: Floats) -> Search:
    """bfloat16, of which the 4 K best are scored again in float32: near to exact, not certain."""
    short, whole = torch.from_numpy(vectors).bfloat16(), torch.from_numpy(vectors)

    def search(queries: Floats) -> Ids:
        asked = torch.from_numpy(queries)
        near = (asked.bfloat16() @ short.T).topk(4 * K, sorted=False).indices
        scores = torch.einsum("qkd,qd->qk", whole[near], asked)
        ids: Ids = near.gather(1, scores.topk(K).indices).numpy()
        return ids

    return search


def edge_shard(folder: Path, vectors: Floats) -> qdrant_edge.EdgeShard:
    """Optimised, which spreads it over segments, one a thread; without a graph of neighbours."""
    params = qdrant_edge.EdgeVectorParams(vectors.shape[1], qdrant_edge.Distance.Dot)
    no_graph = qdrant_edge.HnswIndexConfig(m=0, ef_construct=4, full_scan_threshold=10)
    config = qdrant_edge.EdgeConfig(params, hnsw_config=no_graph)
    shard = qdrant_edge.EdgeShard.create(str(folder), config)
    for start in range(0, len(vectors), 5000):
        points = [
            qdrant_edge.Point(start + at, vector.tolist())
            for at, vector in enumerate(vectors[start : start + 5000])
        ]
        shard.update(qdrant_edge.UpdateOperation.upsert_points(points))
    shard.flush()
    shard.optimize()
    return shard


def edge_search(shard: qdrant_edge.EdgeShard, queries: Floats) -> Ids:
    params = qdrant_edge.SearchParams(exact=True)
    requests = [
        qdrant_edge.QueryRequest(
            limit=K, query=qdrant_edge.Query.Nearest(q.tolist()), params=params
        )
        for q in queries
    ]
    if len(requests) == 1:
        answers = [shard.query(requests[0])]
    else:
        answers = shard.query_batch(qdrant_edge.QueryBatchRequest(requests))
    return np.array([[point.id for point in points] for points in answers])


def reading(vectors: Floats) -> Callable[[], object]:
    """Reads as many bytes as ours must of every row, in as many threads."""
    workers = Workers()
    words = vectors.reshape(-1).view(np.int64)
    parts = np.array_split(words[: len(words) // 4] if kernels.BYTES else words, workers.count)
    return lambda: workers.each(np.max, parts)


def recall(vectors: Floats, queries: Floats, found: Mapping[str, Ids]) -> dict[str, float]:
    scores = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    worst = np.partition(scores, -K, axis=1)[:, -K]
    return {
        name: round(float((np.take_along_axis(scores, ids, 1) >= worst[:, None] - 1e-6).mean()), 5)
        for name, ids in found.items()
    }


def timed(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of the quickest call of each round, by name, the threads of others asleep."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            time.sleep(REST)
            spent = [_seconds(work) for _ in range(3 if name.endswith("batch") else 20)]
            if number:  # the first round warms up
                times[name].append(min(spent))
        say(f"round {number} of {rounds}")
    return times


def ratios(times: Mapping[str, list[float]]) -> dict[str, float]:
    """Medians over the rounds of what happened within one."""

    def best_of_faiss(shape: str) -> list[float]:
        every = [t for name, t in times.items() if name.startswith("faiss") and shape in name]
        return [min(one) for one in zip(*every, strict=True)]

    def over(one: list[float], other: list[float]) -> float:
        return round(statistics.median(a / b for a, b in zip(one, other, strict=True)), 3)

    most = faiss.omp_get_max_threads()
    return {
        "single_over_qdrant_edge": over(times["ours single"], times["qdrant-edge single"]),
        "single_over_best_faiss": over(times["ours single"], best_of_faiss("single")),
        "single_share_of_bandwidth": over(times["read"], times["ours single"]),
        "batch_speedup_over_best_faiss": over(best_of_faiss("batch"), times["ours batch"]),
        "batch_speedup_over_default_faiss": over(
            times[f"faiss {most} threads, BLAS default batch"], times["ours batch"]
        ),
        "batch_speedup_over_qdrant_edge": over(times["qdrant-edge batch"], times["ours batch"]),
        "batch_speedup_over_torch_bf16": over(times["torch bf16 batch"], times["ours batch"]),
        "batch_speedup_over_numpy": over(times["numpy batch"], times["ours batch"]),
    }


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
