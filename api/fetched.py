"""Bytes of items that lie inside archives and tables, or elsewhere: fetched when somebody asks.

They are read again from where they were indexed, never copied beforehand. What is fetched is kept
under the digest it was indexed with, bounded: what was asked for longest ago goes first.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import threading
from pathlib import Path, PurePath

from embed.errors import CrossbindError, NotFound, StorageFull
from embed.types import Item
from index.batch.locations import locate, name_of

MAX_BYTES = 1 << 30


class Fetched:
    """Files under `folder`, at most `max_bytes` of them and the latest. Safe from several threads
    and processes."""

    def __init__(self, folder: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = threading.Lock()

    def get(self, item: Item) -> Path:
        """Where the bytes lie now. Raises NotFound when they are gone or others, saying where they
        were; StorageFull."""
        assert item.uri is not None
        ending = PurePath(name_of(item.uri)).suffix[:16]
        path = self._folder / item.digest[:2] / f"{item.digest}{ending}"
        with contextlib.suppress(OSError):
            os.utime(path)
            return path
        self._keep(path, _read(item))
        return path

    def _keep(self, path: Path, data: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as out:
                    out.write(data)
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StorageFull(
                f"{len(data):,} bytes could not be kept in {self._folder}: "
                f"{error.strerror or error}; free some space"
            ) from error
        with self._lock:
            self._make_room(path)

    def _make_room(self, latest: Path) -> None:
        kept = []
        for path in self._folder.glob("*/*"):
            with contextlib.suppress(OSError):  # another process makes room as well
                status = path.stat()
                kept.append((path != latest, status.st_mtime_ns, status.st_size, path))
        excess = sum(size for _, _, size, _ in kept) - self._max_bytes
        for older, _, size, path in sorted(kept, key=lambda one: one[:2]):
            if excess > 0 and older:
                path.unlink(missing_ok=True)
                excess -= size


def _read(item: Item) -> bytes:
    uri = str(item.uri).partition("#")[0]
    again = "ingest its source again"
    try:
        data = locate(uri).fetch()
    except (CrossbindError, ValueError) as error:
        raise NotFound(
            f"the bytes of {uri} could not be read again: {error}; bring it back, or {again}"
        ) from error
    assert isinstance(data, bytes)  # paths are served as they are
    if hashlib.sha256(data).hexdigest() != item.digest:
        raise NotFound(f"{uri} holds something else than when it was indexed: {again}")
    return data
