"""The bytes of uploads, kept by digest: written once, atomically, and never changed."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

from embed.errors import NotFound, StorageFull


class Blobs:
    """Files under `folder`, named by the sha256 of their bytes.

    ownership: to be held from `put` until the item that owns the bytes is committed, and from
    asking whether any item does until `drop`; else one upload could lose its bytes to the deletion
    of its twin.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ownership = threading.Lock()

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

    def drop(self, digest: str) -> None:
        """Forgets the bytes; not there is fine."""
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
