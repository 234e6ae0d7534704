"""Locks on files that die with whoever holds them: flock, which every POSIX system has.

The lock belongs to the open file: processes that inherit it hold it together, and the system lets
go of it when the last of them is gone, however that came about.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from index import disk


def take(path: Path) -> int:
    """An open file that is locked until it is closed everywhere. Waits for its turn."""
    descriptor = _open(path)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def is_taken(path: Path) -> bool:
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def alone(path: Path, otherwise: str) -> Iterator[None]:
    """Raises Conflict, saying `otherwise`, where somebody holds the lock."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with disk.alone(path, otherwise):
        yield


def _open(path: Path) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
