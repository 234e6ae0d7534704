"""The bytes that stand for the rows of a matrix, made when wanted again, and kept up with it.

As in `dense.py`, what was handed out never changes: codes are added behind it, and another
matrix gets a room of its own. So only the making is locked, and who comes meanwhile goes without.
"""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from embed.types import Floats
from index.vectors.int8 import Coder, Codes
from index.vectors.workers import Workers

_SAMPLE = 4096  # rows, or more, whose centre stands for that of all


class _Made(NamedTuple):
    """codes: of the first rows of a matrix, see `dense.State`. room: where more fit."""

    matrix: int
    codes: Codes
    room: Codes

    def holds(self, matrix: int, count: int) -> bool:
        return self.matrix == matrix and len(self.codes.scales) >= count


class CodeBook:
    """Codes of one matrix of rows at a time, the newest."""

    def __init__(self, coder: Coder, workers: Workers) -> None:
        self._coder = coder
        self._workers = workers
        self._making = threading.Lock()
        self._wanted = -1
        self._made = _Made(-1, *[_room(0, np.zeros(coder.dim, np.float32))] * 2)

    def of(self, matrix: int, vectors: Floats) -> Codes | None:
        """Of all `(N, dim)` rows. None while another thread makes them, or for an old matrix.

        None too when a matrix is asked for the first time: a process that searches once need not
        wait for what pays only later.
        """
        if self._wanted < matrix:
            self._wanted = matrix
            return None
        made = self._made
        if made.holds(matrix, len(vectors)):
            return made.codes.part(0, len(vectors))
        if not self._making.acquire(blocking=False):
            return None
        try:
            made = self._made
            if made.matrix > matrix:
                return None
            if not made.holds(matrix, len(vectors)):
                made = self._made = self._further(matrix, vectors)
        finally:
            self._making.release()
        return made.codes.part(0, len(vectors))

    def _further(self, matrix: int, vectors: Floats) -> _Made:
        count, (known, codes, room) = len(vectors), self._made
        done = len(codes.scales) if known == matrix else 0
        if known != matrix or count > len(room.scales):
            centre = codes.centre if done else self._coder.centre(vectors[:: 1 + count // _SAMPLE])
            room = _room(max(count, 2 * done), centre)
            room.numbers[:done] = codes.numbers[:done]
            room.scales[:done] = codes.scales[:done]
            room.errors[:done] = codes.errors[:done]
            room.lengths[:done] = codes.lengths[:done]
        shares = self._workers.count
        edges = [done + (count - done) * share // shares for share in range(shares + 1)]
        self._workers.each(
            lambda span: self._coder.rows(vectors[slice(*span)], room.part(*span)),
            [span for span in pairwise(edges) if span[0] < span[1]],
        )
        return _Made(matrix, room.part(0, count), room)


def _room(count: int, centre: Floats) -> Codes:
    return Codes(
        numbers=np.empty((count, len(centre)), np.int8),
        scales=np.empty(count, np.float32),
        errors=np.empty(count, np.float32),
        lengths=np.empty(count, np.float32),
        centre=centre,
    )
