"""What ann.py asks of a system, and what it gives it. All hold the same vectors, searched by inner
product; what a build is given is such as its documentation calls good for recall."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

K = 10
CORES = len(os.sched_getaffinity(0))


class Rows(NamedTuple):
    """base: `(N, dim)`; field: `(N,)`, 0 to 999, what is filtered by; probes: `(P, dim)`."""

    base: Any
    field: Any
    probes: Any


class System:
    """search: `(Q, dim)` queries to ids `(Q, K)`. knobs: what its curve is swept over."""

    needs: Sequence[str] = ()  # modules; what they take of memory is not the index's
    knobs: Sequence[Any] = (None,)
    filters = False

    def build(self, rows: Rows, folder: Path) -> None:
        raise NotImplementedError

    def load(self, folder: Path) -> None:
        raise NotImplementedError

    def turn(self, knob: Any) -> None:
        """Makes the next searches as thorough as this."""

    def search(self, queries: Any) -> Any:
        raise NotImplementedError

    def among(self, queries: Any, below: int) -> Any:
        """As `search`, among the rows whose field is below this."""
        raise NotImplementedError


def padded(rows: list[list[int]]) -> Any:
    found = np.full((len(rows), K), -1, np.int64)
    for row, ids in zip(found, rows, strict=True):
        row[: len(ids)] = ids
    return found
