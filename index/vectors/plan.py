"""Which kind of index serves so many vectors best, within a budget of memory.

What `benchmarks/ann.py` measures at 100,000 rows is behind the numbers. It knows no FAISS.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

LEAST = 20_000  # rows; fewer are scored exactly in a millisecond
_UNASKED = 5  # times as many: so far all are scored in 2 ms, and in batches as fast as a graph
_BUDGET_SHARE = 0.25  # of the machine's memory, for one index
_LINK_BYTES = 204  # of an HNSW graph, for each row
_COARSE = 0.97  # recall; beyond it codes of few bits need more re-scoring than they save


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an address asks for. kind: of `index.vectors.faiss_kinds`, or `auto`.

    recall: the share of the true neighbours that a search is to find. memory: bytes, beside the
    vectors themselves, which are mapped from a file; None for a quarter of the machine's.
    """

    kind: str = "auto"
    recall: float = 0.95
    memory: int | None = None

    def choose(self, rows: int, dim: int) -> str | None:
        """The kind for so many rows; None to score all of them, exactly."""
        if rows < LEAST * (_UNASKED if self.kind == "auto" else 1):
            return None
        if self.kind != "auto":
            return self.kind
        budget = self.memory or int(_BUDGET_SHARE * machine_memory())
        if rows * (dim + _LINK_BYTES) <= budget:
            return "hnsw"
        if rows * (dim + 8) <= budget or self.recall > _COARSE:
            return "ivf-sq8"
        return "rabitq"


def machine_memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
