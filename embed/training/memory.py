"""Memory of a run: what one step frees, the next one takes again, without the kernel in between.

A step on a CPU allocates and frees the same hundreds of MiB as the one before. glibc hands freed
memory back to the kernel, which gives it out again a zeroed page at a time: some thousand page
faults a step. Here it is told to hold it while a run lasts (mallopt(3): M_TRIM_THRESHOLD,
M_MMAP_THRESHOLD). GPU memory is torch's own business.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of malloc.h
HELD = 1 << 30  # bytes: larger blocks, and more than this unused at the heap's end, are given back
USUAL = 1 << 25  # to where glibc's own, moving threshold grows; it trims from twice that on


@contextmanager
def held() -> Iterator[None]:
    """Freed memory stays with this process while the context lasts, and is given back at its end.

    Without glibc nothing happens.
    """
    libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(libc, "mallopt") or not libc.mallopt(MMAP_THRESHOLD, HELD):
        yield
        return
    libc.mallopt(TRIM_THRESHOLD, HELD)
    try:
        yield
    finally:
        libc.mallopt(MMAP_THRESHOLD, USUAL)
        libc.mallopt(TRIM_THRESHOLD, 2 * USUAL)
        libc.malloc_trim(0)
