"""The approximate indexes of FAISS (Douze et al. 2024), behind one shape.

Each ranks rows by codes smaller than the vectors; who asks takes more than are wanted and scores
those again from the vectors. `width` is how far a search looks: `efSearch` of a graph (HNSW,
Malkov & Yashunin 2018), `nprobe` of an inverted file. Rows are positions; no ids are known here.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embed.errors import MissingDependency
from embed.types import Floats
from index.types import Ids
from index.vectors.kernels import BYTES, of_bytes
from index.vectors.tuning import Bits, Ranked

try:
    # Its stubs know neither the keywords that its Python layer adds nor all of its names.
    faiss: Any = import_module("faiss")
except ImportError as error:
    raise MissingDependency(
        "the indexes of FAISS need it installed: pip install 'crossbind[cpu]', or crossbind[gpu] "
        "on a machine with an NVIDIA card"
    ) from error

_LINKS = 24  # M: a graph of fewer needs a greater ef for the same recall, more only cost memory
_CONSTRUCTION = 150
_WIDEST_GRAPH = 8192
_AT_ONCE = 16  # queries; for more, FAISS's own threads are worth waking
_ADDED_AT_ONCE = 4096  # rows; between these a build may be broken off
_SAMPLE = 2**16
_FETCHED_AT_ONCE = 2048  # rows; their codes stay in the cache until they are scored
_TINY = 1e-30
_LEAST_PER_LIST, _PER_LIST = 39, 64  # rows that a centre of k-means is found from
_ITERATIONS = 10


class Approximate:
    """A FAISS index, made and filled by `build` or mapped from a file by `load`."""

    def __init__(self, index: Any) -> None:
        self._index = index
        self._lists: Any = None if _is_graph(index) else faiss.extract_index_ivf(index)
        self._widths: dict[int, Any] = {}
        self._storage: Any = None
        self._bytes: NDArray[np.uint8] | None = None
        if self._lists is None:
            self._storage = faiss.downcast_index(index.storage)
        if self._storage is not None and BYTES:
            numbers = faiss.rev_swig_ptr(self._storage.codes.data(), index.ntotal * index.d)
            self._bytes = numbers.reshape(index.ntotal, index.d)
            # A number is its dimension's least plus its byte times this.
            self._steps = faiss.vector_to_array(self._storage.sq.trained)[index.d :] / 255

    @property
    def widest(self) -> int:
        """Of a graph no bound is natural; of an inverted file at this width nothing is passed by"""
        return _WIDEST_GRAPH if self._lists is None else int(self._lists.nlist)

    @property
    def at_once(self) -> int:
        return _AT_ONCE

    def rank(self, queries: Floats, depth: int, width: int, allowed: Bits | None = None) -> Ids:
        """Positions by their codes, `(Q, depth)`, best first; -1 where none were met.

        queries: contiguous float32. allowed: a bit for each row, least significant first; only
        rows with a 1 are met. Up to `at_once` queries are searched for in this thread alone.
        """
        selector = None if allowed is None else faiss.IDSelectorBitmap(allowed)
        if self._lists is None:
            wanted = self._graph_parameters(selector, max(width, depth))
        else:
            wanted = self._list_parameters(selector, width)
        return self._searched(self._index, queries, depth, wanted)

    def rank_all(self, queries: Floats, depth: int) -> Ids:
        """As `rank`, of every row: what the codes alone get wrong."""
        if self._lists is not None:
            return self.rank(queries, depth, self.widest)
        return self._searched(self._storage, queries, depth, None)

    def _searched(self, index: Any, queries: Floats, depth: int, wanted: Any) -> Ids:
        """Past the layer that FAISS has for Python, in whose time a graph meets 50 rows."""
        scores = np.empty((len(queries), depth), np.float32)
        found = np.empty(scores.shape, np.int64)
        arrays = (faiss.swig_ptr(queries), depth, faiss.swig_ptr(scores), faiss.swig_ptr(found))
        told = faiss.omp_get_max_threads()
        if len(queries) <= _AT_ONCE:
            faiss.omp_set_num_threads(1)
        try:
            index.search_c(len(queries), *arrays, wanted)
        finally:
            faiss.omp_set_num_threads(told)
        return found

    def rank_rows(self, query: Floats, depth: int, rows: Ids) -> Ids | None:
        """The best of ascending `rows`, `depth` of them in any order, for one `(dim,)` query.

        By codes of a byte a number, and a query rounded to bytes: what all rows have in common in
        their scores is left out. None where such codes, or the instructions for them, are wanting.
        """
        if self._bytes is None:
            return None
        steps = query * self._steps
        rounded = np.rint(steps * (127 / max(np.abs(steps).max(), _TINY))).astype(np.int8)
        scores = np.empty(len(rows), np.float32)
        buffer = np.empty((min(len(rows), _FETCHED_AT_ONCE), len(query)), np.uint8)
        for start in range(0, len(rows), _FETCHED_AT_ONCE):
            some = slice(start, start + _FETCHED_AT_ONCE)
            fetched = buffer[: len(rows[some])]
            np.take(self._bytes, rows[some], axis=0, out=fetched, mode="clip")
            fetched ^= 0x80  # from 0..255 to -128..127
            scores[some] = of_bytes(fetched.view(np.int8), rounded[None])[:, 0]
        if depth >= len(rows):
            return rows
        best: Ids = rows[np.argpartition(scores, len(rows) - depth)[len(rows) - depth :]]
        return best

    def save(self, path: Path) -> None:
        faiss.write_index(self._index, str(path))

    def _graph_parameters(self, selector: Any, width: int) -> Any:
        """Made once for searches of all rows: that takes as long as to meet a few of them."""
        if selector is not None:
            return faiss.SearchParametersHNSW(sel=selector, efSearch=width)
        if width not in self._widths:
            self._widths[width] = faiss.SearchParametersHNSW(efSearch=width)
        return self._widths[width]

    def _list_parameters(self, selector: Any, width: int) -> Any:
        if isinstance(self._lists, faiss.IndexIVFRaBitQ | faiss.IndexIVFRaBitQFastScan):
            inner = faiss.IVFRaBitQSearchParameters(sel=selector, nprobe=width)
        else:
            inner = faiss.SearchParametersIVF(sel=selector, nprobe=width)
        if self._lists is self._index or not isinstance(self._index, faiss.IndexPreTransform):
            return inner
        return faiss.SearchParametersPreTransform(index_params=inner)


def build(kind: str, vectors: Floats, go_on: Callable[[], None] = lambda: None) -> Ranked:
    """Of `(N, dim)` vectors, N >= 1. go_on: called now and then; raises to break off."""
    if kind not in KINDS:
        on_gpu: Ranked = _gpu().build(kind, vectors, go_on)
        return on_gpu
    count, dim = vectors.shape
    index = KINDS[kind](dim, count)
    sample = np.random.default_rng(0).choice(count, min(count, _SAMPLE), replace=False)
    go_on()
    if not index.is_trained:
        index.train(np.ascontiguousarray(vectors[np.sort(sample)]))
    for start in range(0, count, _ADDED_AT_ONCE):
        go_on()
        index.add(np.ascontiguousarray(vectors[start : start + _ADDED_AT_ONCE]))
    return Approximate(index)


def load(kind: str, path: Path) -> Ranked:
    """Mapped, not read: processes share the memory. Nothing may be added to it.

    FAISS checks little of what it reads: the file must be known to be whole.
    """
    if kind not in KINDS:
        on_gpu: Ranked = _gpu().load(kind, path)
        return on_gpu
    return Approximate(faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC))


def check(kind: str) -> None:
    """Raises MissingDependency or NotAvailable where such an index cannot be built."""
    if kind != "auto" and kind not in KINDS:
        _gpu().check()


def _gpu() -> Any:
    return import_module("index.vectors.faiss_gpu")


def use_half_of_the_threads() -> None:
    """In this thread alone: others keep what OMP_NUM_THREADS told them when they began."""
    faiss.omp_set_num_threads(max(1, faiss.omp_get_max_threads() // 2))


def _is_graph(index: Any) -> bool:
    return isinstance(index, faiss.IndexHNSW)


def _graph(dim: int, count: int) -> Any:  # noqa: ARG001
    """Over bytes: a quarter of the memory to read for each row met, and half of the time."""
    kind = faiss.ScalarQuantizer.QT_8bit
    index = faiss.IndexHNSWSQ(dim, kind, _LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = _CONSTRUCTION
    return index


def _inverted(factory: str) -> Callable[[int, int], Any]:
    """An inverted file of about 4 √N lists. factory: FAISS's own string, with gaps."""

    def make(dim: int, count: int) -> Any:
        lists = 2 ** round(np.log2(max(1.0, min(4 * sqrt(count), count / _LEAST_PER_LIST))))
        parts = next(parts for parts in range(max(1, dim // 2), 0, -1) if dim % parts == 0)
        name = factory.format(dim=dim, lists=lists, parts=parts)
        index = faiss.index_factory(dim, name, faiss.METRIC_INNER_PRODUCT)
        inverted = faiss.extract_index_ivf(index)
        trained = [inverted.cp, *([inverted.pq.cp] if hasattr(inverted, "pq") else [])]
        for clustering in trained:
            clustering.min_points_per_centroid = 1  # few rows are no reason to warn
            clustering.niter = _ITERATIONS
        inverted.cp.max_points_per_centroid = _PER_LIST
        return index

    return make


KINDS: dict[str, Callable[[int, int], Any]] = {
    "hnsw": _graph,
    "ivf": _inverted("IVF{lists},Flat"),
    "ivf-sq8": _inverted("IVF{lists},SQ8"),
    "ivf-pq": _inverted("IVF{lists},PQ{parts}x4fs"),
    # Without a random turn the bits of its codes would depend on each other.
    "rabitq": _inverted("RR{dim},IVF{lists},RaBitQfs"),
}
