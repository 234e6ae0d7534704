"""Files that survive the loss of power: what each write, rename and new folder is followed by.

POSIX promises a file's bytes after `fsync` of the file, and its name only after `fsync` of the
folder that holds the name; so a new folder is a name in its parent.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from embed.errors import CatalogError, Conflict, CrossbindError, Forbidden, StorageFull
from embed.weights.store import sha256_of, sync

__all__ = [
    "alone",
    "copy_file",
    "explained",
    "make_folder",
    "publish",
    "sha256_of",
    "sync",
]

_CHUNK = 1 << 20


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """With its parents, made with the default mode; on return all the names are on disk."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(mode=mode, parents=True, exist_ok=True)
    for path in missing:
        sync(path.parent)


def publish(aside: Path, path: Path) -> None:
    """A file, already on disk, gets the name it is known by; what had that name before is gone."""
    aside.replace(path)
    sync(path.parent)


def copy_file(source: IO[bytes], path: Path) -> str:
    """The SHA-256 of what was copied, in hex. The bytes are on disk, the name not yet."""
    digest = hashlib.sha256()
    with path.open("wb") as new:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            new.write(chunk)
        new.flush()
        os.fsync(new.fileno())
    return digest.hexdigest()


def explained(error: OSError, what: str) -> CrossbindError:
    """The error of ours that a failed file operation is. what: for example "the snapshot X"."""
    why = error.strerror or str(error)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageFull(f"no room left on the disk for {what}: free some space and try again")
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return Forbidden(f"{what} may not be written or read by this user: {why}")
    return CatalogError(f"{what} cannot be used: {why}")


@contextmanager
def alone(path: Path, otherwise: str) -> Iterator[None]:
    """Holds a lock that dies with whoever holds it: flock on a file at `path`.

    Raises Conflict, saying `otherwise`, where somebody has it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(otherwise) from None
        yield
    finally:
        os.close(descriptor)
