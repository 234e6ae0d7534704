"""FAISS on an NVIDIA card (Johnson et al. 2017): flat, inverted file, CAGRA (Ootomo et al. 2023).

Same shape as `faiss_kinds.py`, and the same files. A card takes no filter: what may not answer
is struck out of the answer, and where too few are left the engine scores those rows exactly.
No test reaches this without a card.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from embed.errors import MissingDependency, NotAvailable
from embed.types import Floats
from index.types import Ids
from index.vectors.faiss_kinds import faiss
from index.vectors.tuning import Bits

_MOST = 1024  # neighbours that a card's kernels are asked for
_FLAT, _LISTS, _GRAPH = "gpu-flat", "gpu-ivf", "gpu-cagra"
KINDS = (_FLAT, _LISTS, _GRAPH)


def check() -> None:
    """Raises MissingDependency without FAISS for GPUs, NotAvailable without a GPU."""
    if not hasattr(faiss, "StandardGpuResources"):
        raise MissingDependency(
            "an index on the GPU needs FAISS for GPUs: pip install 'crossbind[gpu]' in place of "
            "crossbind[cpu]"
        )
    if not faiss.get_num_gpus():
        raise NotAvailable("FAISS sees no GPU: choose 'faiss:hnsw', or run where there is one")


class OnGpu:
    """Implements `tuning.Ranked`. resources: of the card, as long as the index lives."""

    def __init__(self, kind: str, index: Any, resources: Any) -> None:
        self._kind = kind
        self._index = index
        self._resources = resources

    @property
    def widest(self) -> int:
        return {_FLAT: 1, _LISTS: int(getattr(self._index, "nlist", 1)), _GRAPH: _MOST}[self._kind]

    @property
    def at_once(self) -> None:
        """A card takes them all."""

    def rank(self, queries: Floats, depth: int, width: int, allowed: Bits | None = None) -> Ids:
        """As `index.vectors.faiss_kinds.Approximate.rank`."""
        asked = min(_MOST, depth if allowed is None else 4 * depth, self._index.ntotal)
        scores, found = self._index.search(queries, asked, params=self._parameters(width, asked))
        if allowed is not None:
            met = np.maximum(found, 0)
            out = (found < 0) | ((allowed[met >> 3] >> (met & 7) & 1) == 0)
            scores, found = np.where(out, -np.inf, scores), np.where(out, -1, found)
            order = np.argsort(-scores, axis=1, kind="stable")
            found = np.take_along_axis(found, order, axis=1)
        short = ((0, 0), (0, max(0, depth - asked)))
        return np.pad(found, short, constant_values=-1)[:, :depth]

    def rank_all(self, queries: Floats, depth: int) -> Ids:
        """The vectors are held whole, so that as wide as can be is as good as all."""
        return self.rank(queries, depth, self.widest)

    def rank_rows(self, query: Floats, depth: int, rows: Ids) -> None:
        """None: what is on the card is not at hand row by row."""

    def save(self, path: Path) -> None:
        faiss.write_index(faiss.index_gpu_to_cpu(self._index), str(path))

    def _parameters(self, width: int, depth: int) -> Any:
        if self._kind == _LISTS:
            return faiss.SearchParametersIVF(nprobe=width)
        if self._kind == _GRAPH:
            return faiss.SearchParametersCagra(itopk_size=max(width, depth))
        return None


def build(kind: str, vectors: Floats, go_on: Callable[[], None]) -> OnGpu:
    """As `index.vectors.faiss_kinds.build`."""
    check()
    go_on()
    resources = faiss.StandardGpuResources()
    index = _empty(kind, vectors.shape[1], len(vectors), resources)
    rows = np.ascontiguousarray(vectors)
    index.train(rows)
    if kind != _GRAPH:  # which is made in training
        index.add(rows)
    return OnGpu(kind, index, resources)


def load(kind: str, path: Path) -> OnGpu:
    """As `index.vectors.faiss_kinds.load`, on the first card."""
    check()
    resources = faiss.StandardGpuResources()
    index = faiss.index_cpu_to_gpu(resources, 0, faiss.read_index(str(path)))
    return OnGpu(kind, index, resources)


def _empty(kind: str, dim: int, count: int, resources: Any) -> Any:
    metric = faiss.METRIC_INNER_PRODUCT
    if kind == _FLAT:
        return faiss.GpuIndexFlatIP(resources, dim)
    if kind == _LISTS:
        lists = max(1, min(int(4 * count**0.5), count // 39))
        return faiss.GpuIndexIVFFlat(resources, dim, lists, metric)
    return faiss.GpuIndexCagra(resources, dim, metric)
