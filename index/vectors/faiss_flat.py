"""FAISS's exact scan (Douze et al. 2024) over the same rows as `index.vectors.exact`.

The rows stay where they are: FAISS is handed their address, as its own flat index would hold a
second copy that a search may not read while rows are added. Nothing is saved either, since a flat
index is its vectors, and those load from the catalog as fast as from a file.
FAISS breaks ties as it likes: which of several equal rows make the last place is its choice.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from embed.errors import MissingDependency
from embed.types import Floats
from index.types import Ids
from index.vectors.dense import DenseIndex

try:
    import faiss
except ImportError as error:
    raise MissingDependency(
        "the index 'faiss:flat' needs FAISS: pip install 'crossbind[cpu]', or crossbind[gpu] on a "
        "machine with an NVIDIA card"
    ) from error


class FaissFlatIndex(DenseIndex):
    """The k nearest by inner product, certainly; in the order of ids where scores are equal."""

    def _nearest(self, queries: Floats, vectors: Floats, k: int, skip: Ids) -> tuple[Floats, Ids]:
        scores = np.empty((len(queries), k), np.float32)
        positions = np.empty((len(queries), k), np.int64)
        faiss.knn_inner_product(
            faiss.swig_ptr(queries),
            faiss.swig_ptr(vectors),
            self.dim,
            len(queries),
            len(vectors),
            k,
            faiss.swig_ptr(scores),
            faiss.swig_ptr(positions),
            _all_but(skip, len(vectors)) if len(skip) else None,
        )
        order = np.lexsort((positions, -scores), axis=1)
        return (
            np.take_along_axis(scores, order, axis=1),
            np.take_along_axis(positions, order, axis=1),
        )


def _all_but(skip: Ids, size: int) -> Any:
    allowed = np.ones(size, dtype=bool)
    allowed[skip] = False
    # FAISS's Python layer takes an array and keeps it alive; its stubs show the C++ signature.
    selector: Any = faiss.IDSelectorBitmap
    return selector(np.packbits(allowed, bitorder="little"))
