"""The bytes of uploads, kept by digest: written once, atomically, and never changed."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from embed.errors import NotFound, StorageFull


class Blobs:
    """Files under `folder`, named by the sha256 of their bytes.

    owned: whether any item has the bytes of a digest. ownership: to be held from `put` until the
    item that owns the bytes is committed; else one upload could lose its bytes to the deletion of
    its twin.
    """

    def __init__(self, folder: Path, owned: Callable[[str], bool]) -> None:
        self._folder = folder
        self._owned = owned
        self.ownership = threading.RLock()

    def put(self, digest: str, data: bytes) -> None:
        """Keeps `data`; on return it is on disk. Raises StorageFull."""
        path = self._path(digest)
        if path.exists():
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".upload-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
            _sync_folder(path.parent)
        except OSError as error:
            raise StorageFull(
                f"an upload of {len(data)} bytes could not be stored in {self._folder}: "
                f"{error.strerror or error}; free some space and send it again"
            ) from error

    def get(self, digest: str) -> Path:
        """Where the bytes lie. Raises NotFound."""
        path = self._path(digest)
        if not path.is_file():
            raise NotFound(f"the bytes of {digest} are gone from {self._folder}; upload them again")
        return path

    def drop_unowned(self, digests: Iterable[str]) -> None:
        """Forgets bytes that no item has any more."""
        for digest in digests:
            with self.ownership:
                if not self._owned(digest):
                    self._path(digest).unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest


def _sync_folder(folder: Path) -> None:
    """A rename is durable only once its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
