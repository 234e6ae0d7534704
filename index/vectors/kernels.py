"""Inner products by the instructions of the processor at hand: the one place that knows NumKong.

NumKong picks its kernels when it is loaded. Its products of bytes are worth having where the
processor has an instruction for them; `BYTES` says so. It lets other threads run meanwhile.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embed.types import Floats

try:
    import numkong
except ImportError:
    FOUND = False
else:
    FOUND = True

Bytes = NDArray[np.int8]

_INSTRUCTIONS = ("icelake", "alder", "sierra", "neonsdot")  # AVX-512 VNNI, AVX-VNNI, Arm DotProd
BYTES = FOUND and any(map(numkong.get_capabilities().get, _INSTRUCTIONS))


def of_bytes(rows: Bytes, queries: Bytes) -> Floats:
    """`(N, D)` rows and `(Q, D)` queries to `(N, Q)`. Exact, then rounded to float32."""
    if not len(rows):
        return np.empty((0, len(queries)), np.float32)
    if len(queries) == 1:
        alone = np.empty(len(rows), np.float32)
        numkong.dot(rows, queries[0], out=alone)
        return alone[:, None]
    return np.asarray(numkong.dots_packed(rows, numkong.dots_pack(queries))).astype(np.float32)


def of_floats(rows: Floats, query: Floats) -> Floats:
    """`(N, D)` rows and one query to `(N,)`.

    With NumKong summed in float64, so that equal rows score equally wherever they are.
    """
    if not FOUND or not len(rows):
        return rows @ query
    precise = np.empty(len(rows), np.float64)
    numkong.dot(rows, query, out=precise)
    return precise.astype(np.float32)
