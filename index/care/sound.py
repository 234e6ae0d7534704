"""Whether stored vectors are what was written: `(dim,)` numbers, of unit length.

It knows no table but `vectors`, and judges nothing that a vector means.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from embed.types import Floats
from index import rows
from index.types import Storage

_LENGTH = 1e-3  # as embed.types.check_unit: of the squared length, from 1
_RESCALED = 0.05  # the same; beyond it the direction is not to be trusted either


class BadVector(NamedTuple):
    """wrong: in words. better: at unit length, None where its direction is not to be trusted."""

    fragment: int
    wrong: str
    better: Floats | None


def bad_vectors(
    chunk: Sequence[tuple[int, bytes]], dim: int, storage: Storage
) -> Iterator[BadVector]:
    """Of fragments and their blobs, those that are not as they should be."""
    size = rows.blob_size(dim, storage)
    for fragment, blob in chunk:
        if len(blob) != size:
            wrong = f"has {len(blob)} bytes where {size} are wanted"
            yield BadVector(fragment, wrong, None)
    fit = [(fragment, blob) for fragment, blob in chunk if len(blob) == size]
    vectors = rows.vectors_from_blobs([blob for _, blob in fit], dim, storage).astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.einsum("nd,nd->n", vectors, vectors)
    for position in np.flatnonzero(~(np.abs(lengths - 1) < _LENGTH)):  # NaN is bad too
        length = float(lengths[position]) ** 0.5
        near = abs(length**2 - 1) < _RESCALED
        better = (vectors[position] / length).astype(np.float32) if near else None
        yield BadVector(fit[position][0], f"has length {length:.4g} where 1 is wanted", better)


def set_vector(
    partition: int, storage: Storage, bad: BadVector, connection: sqlite3.Connection, seq: int
) -> None:
    """Puts the better one in its place, and tells the engines."""
    assert bad.better is not None
    connection.execute(
        "UPDATE vectors SET vector = ?, seq = ? WHERE partition = ? AND fragment = ?",
        (rows.vector_to_blob(bad.better, storage), seq, partition, bad.fragment),
    )
    connection.execute("UPDATE partitions SET seq = ? WHERE id = ?", (seq, partition))
