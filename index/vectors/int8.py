"""Inner products of vectors rounded to bytes, and the most that they can be wrong.

A row x is turned by an orthogonal matrix R, which leaves inner products alone and spreads a few
large numbers over all of them, so that every row loses about as little when it is rounded. What all
rows share, their centre m, is taken off first, as it would only waste steps:
R x = m + y and y = s c + r, with bytes c and a scale s of its own (RaBitQ, Gao & Long 2024, turns
and centres for the same reasons). R is a Kronecker product of two small random orthogonal matrices:
`D (a + b)` products instead of `D²`. Of a query, R q = t d + e. What the bytes cannot know is then
bounded by Cauchy-Schwarz:

    |q·x - R q·m - s t (c·d)| <= t |d| |r| + |e| |y|

It knows neither rows by id nor which of them are wanted.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embed.types import Floats
from index.vectors import kernels
from index.vectors.kernels import Bytes

_STEPS = 127
_ENCODED_AT_ONCE = 4096  # rows; what they need meanwhile stays in the cache
_FACTOR = 64  # of a turn, at most where the dim allows
_ROUNDING = 2.0**-24  # of one operation in float32


class Codes(NamedTuple):
    """numbers: `(N, dim)` bytes; scales, errors, lengths: `(N,)`, s, |r|, |y|; centre: `(dim,)`."""

    numbers: Bytes
    scales: Floats
    errors: Floats
    lengths: Floats
    centre: Floats

    def part(self, start: int, stop: int) -> Codes:
        """Without a copy."""
        return Codes(
            self.numbers[start:stop],
            self.scales[start:stop],
            self.errors[start:stop],
            self.lengths[start:stop],
            self.centre,
        )

    def take(self, positions: NDArray[np.int64]) -> Codes:
        return Codes(
            self.numbers.take(positions, axis=0),
            self.scales.take(positions),
            self.errors.take(positions),
            self.lengths.take(positions),
            self.centre,
        )


class CodedQueries(NamedTuple):
    """numbers: `(Q, dim)` bytes; scales: `(Q,)`, t, in which the others are told.

    offsets: `(Q,)`, R q·m, as it is; lengths, errors: `(Q,)`, |d|, |e|; slack: `(Q,)`, what
    rounding in float32 adds.
    """

    numbers: Bytes
    scales: NDArray[np.float64]
    offsets: NDArray[np.float64]
    lengths: Floats
    errors: Floats
    slack: Floats

    def part(self, some: slice) -> CodedQueries:
        return CodedQueries(
            self.numbers[some],
            self.scales[some],
            self.offsets[some],
            self.lengths[some],
            self.errors[some],
            self.slack[some],
        )

    def wrong(self, codes: Codes) -> Floats:
        """By how much their `products` can be wrong, at most, `(Q,)`."""
        wrong: Floats = self.lengths * codes.errors.max() + self.errors * codes.lengths.max()
        return wrong + self.slack


class Coder:
    """Rounds vectors of one dim."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._size = next(size for size in range(min(dim, _FACTOR), 0, -1) if dim % size == 0)
        # A sum of n products in float32 is wrong by n roundings of |a||b| at most (Higham 2002,
        # 3.1): so of D sums over either factor, of a row and of a query, and twice as much to spare
        # for the products themselves.
        self._slack = 4 * (self._size + dim // self._size) * dim**0.5 * _ROUNDING

    def centre(self, vectors: Floats) -> Floats:
        """Of `(N, dim)` vectors. Any would do; the nearer to all rows, the less is lost."""
        centre: Floats = self._turn(vectors.mean(axis=0, keepdims=True))[0]
        return centre

    def rows(self, vectors: Floats, into: Codes) -> None:
        """Fills `into`, which has its centre, with the codes of `(N, dim)` unit vectors."""
        for start in range(0, len(vectors), _ENCODED_AT_ONCE):
            some = slice(start, start + _ENCODED_AT_ONCE)
            turned = self._turn(vectors[some]) - into.centre
            into.lengths[some] = _length(turned)
            into.numbers[some], into.scales[some], into.errors[some] = _rounded(turned)

    def queries(self, queries: Floats, centre: Floats) -> CodedQueries:
        """Of `(Q, dim)` finite queries, for rows of this centre."""
        largest = np.abs(queries).max(axis=1).astype(np.float64)
        largest[largest == 0] = 1
        level = (queries / largest[:, None]).astype(np.float32)
        turned = self._turn(level)
        numbers, scales, errors = _rounded(turned)
        return CodedQueries(
            numbers=numbers,
            scales=scales * largest,
            offsets=turned.astype(np.float64) @ centre * largest,
            lengths=_length(numbers.astype(np.float32)),
            errors=errors / scales,
            slack=self._slack * _length(level) / scales,
        )

    @cached_property
    def _inner(self) -> Floats:
        return _orthogonal(self._size)

    @cached_property
    def _outer(self) -> Floats:
        return _orthogonal(self.dim // self._size)

    def _turn(self, vectors: Floats) -> Floats:
        # A stack of small products rather than a large one: for that OpenBLAS would wake its own
        # threads, and those spin on beside the search for milliseconds.
        stacked = vectors.reshape(len(vectors), len(self._outer), len(self._inner))
        return (self._outer @ (stacked @ self._inner)).reshape(vectors.shape)


def products(codes: Codes, queries: CodedQueries) -> Floats:
    """s (c·d) of every row and query, `(N, Q)`: the inner product is about t times that + R q·m."""
    scores = kernels.of_bytes(codes.numbers, queries.numbers)
    scores *= codes.scales[:, None]
    return scores


def _rounded(turned: Floats) -> tuple[Bytes, Floats, Floats]:
    """Numbers, scales, and the lengths of what is lost."""
    scales = np.maximum(turned.max(axis=1), -turned.min(axis=1)) / _STEPS
    scales[scales == 0] = 1
    steps = turned / scales[:, None]
    whole = np.rint(steps)
    steps -= whole
    return whole.astype(np.int8), scales, _length(steps) * scales


def _length(rows: Floats) -> Floats:
    """Of each row, and a thousandth more, which pays for the rounding of this very sum."""
    lengths: Floats = np.sqrt(np.einsum("nd,nd->n", rows, rows)) * np.float32(1.001)
    return lengths


@lru_cache
def _orthogonal(size: int) -> Floats:
    """A random one, the same in every process."""
    normal = np.random.default_rng(size).standard_normal((size, size))
    return np.linalg.qr(normal)[0].astype(np.float32)
