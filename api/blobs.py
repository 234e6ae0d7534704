"""The bytes of uploads, kept by digest: written once, atomically, and never changed."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from api.fetched import Fetched
from embed.errors import Forbidden, NotFound, StorageFull
from index.disk import make_folder, sync
from index.failpoints import reach
from index.home import blob_path


class Blobs:
    """Files under `folder`, named by the sha256 of their bytes.

    owned: whether any item has the bytes of a digest. ownership: to be held from `put` until the
    item that owns the bytes is committed; else one upload could lose its bytes to the deletion of
    its twin. read_only: `put` raises Forbidden. fetched: bytes of items that are no uploads and
    have no file of their own.
    """

    def __init__(
        self,
        folder: Path,
        owned: Callable[[str], bool],
        *,
        fetched: Fetched,
        read_only: bool = False,
    ) -> None:
        self.fetched = fetched
        self._folder = folder
        self._owned = owned
        self._read_only = read_only
        self.ownership = threading.RLock()

    def put(self, digest: str, data: bytes) -> None:
        """Keeps `data`; on return it is on disk. Raises StorageFull."""
        if self._read_only:
            raise Forbidden(f"{self._folder} is open to be read only: nothing can be uploaded")
        path = self._path(digest)
        try:
            make_folder(path.parent)
            if path.exists():
                path.touch()  # so that nobody takes it for what an upload left behind
            else:
                self._write(path, data)
            sync(path.parent)  # whoever wrote it
        except OSError as error:
            raise StorageFull(
                f"an upload of {len(data)} bytes could not be stored in {self._folder}: "
                f"{error.strerror or error}; free some space and send it again"
            ) from error

    def _write(self, path: Path, data: bytes) -> None:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".upload-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                reach("blob.written")
                file.flush()
                os.fsync(file.fileno())
            reach("blob.synced")
            Path(temporary).replace(path)
            reach("blob.renamed")
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

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
                    reach("blob.dropped")

    def _path(self, digest: str) -> Path:
        return blob_path(self._folder, digest)
