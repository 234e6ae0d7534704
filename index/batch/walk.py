"""Paths to files: every file below some folders, once, in a fixed order, whatever is in the way.

It opens nothing and knows nothing of media. Hidden files and folders are passed over unless named.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from embed.errors import NotFound
from embed.media.source import shown
from index.types import Failure

LATEST_NS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file and what the file system says of it; small, for a library has many."""

    name: str
    size: int
    mtime_ns: int

    @property
    def path(self) -> Path:
        return Path(self.name)

    @property
    def uri(self) -> str:
        """`file://`, percent-encoded ASCII."""
        return self.path.as_uri()


@dataclass(slots=True)
class Walk:
    """A walk under way. Iterate it once; then `failures` and `misses` know what it saw."""

    paths: Iterable[Path]
    failures: list[Failure] = field(default_factory=list)
    _roots: list[str] = field(default_factory=list)
    _blind: list[str] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)
    _folders: set[tuple[int, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        # Not resolve(): a link is indexed under the name that people know it by.
        roots = {os.path.abspath(path) for path in self.paths}  # noqa: PTH100
        self._roots = sorted(os.sep + root.lstrip(os.sep) for root in roots)
        for root in self._roots:
            if not os.path.lexists(root):
                raise NotFound(
                    f"{shown(root)} does not exist; name files or folders that do", param="paths"
                )

    def __iter__(self) -> Iterator[FoundFile]:
        for root in self._roots:
            if os.path.isdir(root):  # noqa: PTH112  it answers where Path.is_dir() raises
                yield from self._below(root)
            else:
                yield from self._file(root)

    def misses(self, uri: str) -> bool:
        """Whether a file is gone: it was looked for where it would be, and is not there.

        One that this walk passed over (hidden, or met under the name of a link) is not gone.
        """
        path = path_of(uri)
        if path is None or str(path) in self._seen:
            return False
        if os.path.lexists(path) and not os.path.isdir(path):  # noqa: PTH112
            return False
        inside = any(_within(str(path), root) for root in self._roots)
        return inside and not any(_within(str(path), blind) for blind in self._blind)

    def _below(self, root: str) -> Iterator[FoundFile]:
        """Depth first, on a stack of our own: folders nest deeper than Python does."""
        stack = [self._entries(root)]
        while stack:
            entry = next(stack[-1], None)
            if entry is None:
                stack.pop()
            elif _is_folder(entry):
                stack.append(self._entries(entry.path))
            else:
                yield from self._file(entry.path)

    def _entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        """What is in a folder: links last, so that a file is met under its own name first."""
        try:
            status = Path(folder).stat()
            key = (status.st_dev, status.st_ino)
            if key in self._folders:  # a link that leads back, or a folder named twice
                return iter(())
            self._folders.add(key)
            with os.scandir(folder) as scan:
                entries = [entry for entry in scan if not entry.name.startswith(".")]
        except OSError as error:
            self._blind.append(folder)
            self._fail(folder, error)
            return iter(())
        return iter(sorted(entries, key=lambda entry: (entry.is_symlink(), _bytes(entry))))

    def _file(self, path: str) -> Iterator[FoundFile]:
        if path in self._seen:
            return
        self._seen.add(path)
        try:
            status = Path(path).stat()
        except OSError as error:
            self._fail(path, error)
            return
        # Some file systems give times that SQLite's integers cannot hold.
        yield FoundFile(path, status.st_size, min(status.st_mtime_ns, LATEST_NS))

    def _fail(self, path: str, error: OSError) -> None:
        code = "forbidden" if isinstance(error, PermissionError) else "not_found"
        message = f"{shown(path)}: {error.strerror or error}"
        self.failures.append(Failure(uri=Path(path).as_uri(), code=code, message=message))


def path_of(uri: str) -> Path | None:
    """The path of a `file://` URI, odd bytes included; None for any other URI."""
    parts = urlsplit(uri)
    if parts.scheme != "file":
        return None
    return Path(os.fsdecode(unquote_to_bytes(parts.path)))


def _bytes(entry: os.DirEntry[str]) -> bytes:
    return os.fsencode(entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links
        return False


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
