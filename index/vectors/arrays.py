"""What an engine is handed, made sure of: ids, vectors and queries of the right shapes."""

from __future__ import annotations

from math import isfinite

import numpy as np

from embed.errors import BadInput, InvalidQuery, InvalidVector
from embed.types import Floats, check_unit
from index.types import Ids


def checked_rows(ids: Ids, vectors: Floats, dim: int) -> tuple[Ids, Floats]:
    """`(N,)` ascending ids, once each, and their `(N, dim)` unit vectors; of an id given twice the
    last counts. Raises InvalidVector, BadInput for a negative id."""
    ids, vectors = np.asarray(ids, dtype=np.int64), np.asarray(vectors)
    check_unit(vectors, dim)
    if ids.shape != (len(vectors),):
        raise InvalidVector(f"ids of shape {ids.shape} for {len(vectors)} vectors")
    if len(ids) and ids.min() < 0:
        raise BadInput(f"id {ids.min()} is negative; ids start at 0")
    if np.all(ids[1:] > ids[:-1]):
        return ids, vectors
    order = np.argsort(ids, kind="stable")
    last = np.append(ids[order][1:] != ids[order][:-1], True)
    return ids[order][last], vectors[order][last]


def checked_queries(queries: Floats, k: int, dim: int) -> Floats:
    """`(Q, dim)` contiguous float32. Raises InvalidVector for another shape or NaN, InvalidQuery
    for k < 1."""
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise InvalidVector(f"queries have shape {queries.shape}; (Q, {dim}) is wanted")
    # Of numbers so large that their squares are not, each is looked at.
    if not isfinite(np.vdot(queries, queries)) and not np.isfinite(queries).all():
        raise InvalidVector("a query holds NaN or infinity; every number must be finite")
    if k < 1:
        raise InvalidQuery(f"k is {k}; at least 1 is needed", param="k")
    return queries
