"""What lies below an address of a store elsewhere as a source: a folder at a time, as it is listed.

And files of this machine, for pipelines that take sources only. As in folders, what is hidden is
passed over, and a caption in a file of its own joins the record of the picture beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embed.errors import NotAvailable, NotFound
from embed.media.sidecars import owners
from index.batch import remote
from index.batch.locations import Whole
from index.batch.members import Member, failure, record_of
from index.batch.remote import Stamp
from index.batch.walk import Walk
from index.types import Failure

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


class Objects:
    """All objects below `uri`, or the one it names. Raises NotFound, and what a store raises."""

    share = None

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def __iter__(self) -> Iterator[Member | Failure]:
        url = remote.url_from(self.uri)
        store, root = remote.filesystem(url)
        blind: list[OSError] = []
        with remote.translated(url):
            if not store.exists(root):
                raise NotFound(f"{url} is not there", param="paths")
            folders: Iterable[tuple[str, dict[str, Any], dict[str, Any]]]
            if store.isfile(root):
                folders = [("", {}, {root: store.info(root)})]
            else:
                folders = store.walk(root, detail=True, on_error=blind.append)
            for _, below, files in folders:
                for name in [name for name in below if name.startswith(".")]:
                    del below[name]  # and so it is not walked
                yield from self._members(store, files.values())
        for error in blind:
            yield failure(self.uri, NotAvailable(f"a folder below {url} was not listed: {error}"))

    def _members(
        self, store: AbstractFileSystem, infos: Iterable[Mapping[str, Any]]
    ) -> Iterator[Member]:
        listed = {remote.url_of(store, str(info["name"])): info for info in infos}
        return _of_one_folder(
            {remote.uri_of(url): (url, remote.stamp_of(info)) for url, info in listed.items()}
        )


class Files:
    """Files and folders of this machine. Raises NotFound for a path that does not exist."""

    share = None

    def __init__(self, paths: Iterable[Path]) -> None:
        self.uri = "file:///"
        self.walk = Walk(paths)

    def __iter__(self) -> Iterator[Member | Failure]:
        folders: dict[Path, dict[str, tuple[str, Stamp | None]]] = {}
        for file in self.walk:
            folder = folders.setdefault(file.path.parent, {})
            folder[file.uri] = (file.name, (file.size, file.mtime_ns))
        for files in folders.values():
            yield from _of_one_folder(files)
        yield from self.walk.failures


def _of_one_folder(files: dict[str, tuple[str, Stamp | None]]) -> Iterator[Member]:
    """files: path and stamp, by URI."""
    names = {uri: path.rpartition("/")[2] for uri, (path, _) in files.items()}
    by_name = {name: uri for uri, name in names.items()}
    about = owners(names.values())
    for uri, (path, stamp) in sorted(files.items()):
        name = names[uri]
        if name and not name.startswith("."):
            owner = by_name[about[name]] if name in about else uri
            record = record_of(owner, "")
            yield Member(uri=uri, name=path, record=record, at=Whole(uri), stamp=stamp)
