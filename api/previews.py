"""Small JPEGs of media, each made once and kept on disk; how one is drawn is the ground floor's.

A preview lies in a file of its own: the SHA-256 of the JPEG, then the JPEG. One that does not
match its digest is made again, and what cannot be drawn is not tried again. What is kept is
bounded: those asked for longest ago go first.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

from api.requests import MediaFile
from embed.errors import (
    CorruptMedia,
    CrossbindError,
    TooLarge,
    UnsupportedMedia,
    UnsupportedModality,
)
from embed.types import Modality

VERSION = "1"  # raise it when previews are drawn in another way
MAX_BYTES = 1 << 30
_DIGEST = 32  # bytes of a SHA-256
_HOPELESS = (CorruptMedia, TooLarge, UnsupportedMedia, UnsupportedModality)
"""What is wrong with the bytes themselves: of the same bytes nothing better can be drawn."""
_MOST_REFUSED = 4096


class _Kept(NamedTuple):
    """A file of the cache. used: when it was last asked for, nanoseconds."""

    used: int
    size: int
    path: str


class Previews:
    """Previews under `folder`, at most `max_bytes` of them. Safe from several threads.

    at_once: how many are drawn at a time, for each may decode a film.
    """

    def __init__(self, folder: Path, *, at_once: int, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._refused: dict[Path, CrossbindError] = {}  # those of this process
        self._drawing = threading.BoundedSemaphore(at_once)
        self._sweeping = threading.Lock()
        self._grown = max_bytes  # written since the last look: the first write looks

    def get(
        self,
        file: MediaFile,
        modality: Modality,
        *,
        side: int,
        at: float | None = None,
        page: int | None = None,
    ) -> bytes:
        """A JPEG of at most `side` pixels on its longer side.

        at: seconds into a film; the frame shown then, else one that tells what the film is.
        page: of a document; the first where it is not said. Raises UnsupportedModality for what
        cannot be seen, CorruptMedia, TooLarge, NotFound.
        """
        which = f"{at}" if page is None else f"{at} {page}"
        path = self._path(f"{VERSION} {file.version} {modality} {side} {which}")
        kept = self._known(path)
        if kept is not None:
            return kept
        with self._drawing:
            kept = self._known(path)  # somebody else may have drawn it while we waited
            if kept is not None:
                return kept
            from api import drawing  # noqa: PLC0415  PyAV, only where something is drawn

            try:
                jpeg = drawing.draw(file, modality, side=side, at=at, page=page)
            except _HOPELESS as error:
                self._refused[path] = error
                if len(self._refused) > _MOST_REFUSED:
                    self._refused.pop(next(iter(self._refused)), None)
                raise
        self._keep(path, jpeg)
        return jpeg

    def _known(self, path: Path) -> bytes | None:
        """What was drawn, or raises why it cannot be."""
        if path in self._refused:
            error = self._refused[path]
            raise type(error)(error.message, param=error.param)
        return _read(path)

    def _path(self, about: str) -> Path:
        name = hashlib.sha256(about.encode()).hexdigest()
        return self._folder / name[:2] / name

    def _keep(self, path: Path, jpeg: bytes) -> None:
        """A cache that cannot be written costs time, and nothing else."""
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as out:
                    out.write(hashlib.sha256(jpeg).digest() + jpeg)
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
            self._sweep(len(jpeg))

    def _sweep(self, written: int) -> None:
        """Looks at the whole folder whenever a tenth of the bound was written, and makes room."""
        with self._sweeping:
            self._grown += written
            if self._grown < self._max_bytes // 10:
                return
            self._grown = 0
            kept = sorted(_all(self._folder))
            excess = sum(entry.size for entry in kept) - self._max_bytes * 9 // 10
            for entry in kept:
                if excess <= 0:
                    break
                Path(entry.path).unlink(missing_ok=True)
                excess -= entry.size


def _read(path: Path) -> bytes | None:
    """A whole preview, marked as just asked for; None when there is none, or a broken one."""
    try:
        data = path.read_bytes()
        digest, jpeg = data[:_DIGEST], data[_DIGEST:]
        if hashlib.sha256(jpeg).digest() != digest:
            return None
        os.utime(path)
    except OSError:
        return None
    return jpeg


def _all(folder: Path) -> list[_Kept]:
    found = []
    for path in folder.glob("*/*"):
        with contextlib.suppress(OSError):  # another process makes room as well
            status = path.stat()
            found.append(_Kept(status.st_mtime_ns, status.st_size, str(path)))
    return found
