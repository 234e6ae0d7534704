"""What `crossbind ingest` is pointed at, by its address: files and folders, globs, archives,
tables, and stores elsewhere.

    photos/  a.jpg  photos/**/*.jpg        files, as `ingest.py` takes them
    data.tar  data-{0000..0009}.tar        webdataset shards
    table.parquet                          img2dataset's tables, and others
    s3://bucket/prefix  gs://…/*.parquet   the same, through fsspec

What exists under the very name is meant, whatever characters it holds. It opens nothing.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from embed.errors import NotFound
from embed.media.archive import ranges
from embed.media.source import shown
from index.batch import remote
from index.batch.members import Source
from index.batch.objects import Objects
from index.batch.shards import Shard
from index.batch.table_source import TableSource
from index.batch.tables import Columns
from index.batch.walk import path_of

_MAGIC = ("*", "?", "[")


class Sources(NamedTuple):
    """files: paths of this machine, for a walk. streams: read as they come."""

    files: list[Path]
    streams: list[Source]


def open_sources(addresses: Iterable[str | Path], columns: Columns | None = None) -> Sources:
    """columns: of tables. Raises NotFound for a pattern that nothing matches, BadInput for an
    address that cannot be read, MissingDependency, and what a store raises."""
    files: list[Path] = []
    uris: dict[str, None] = {}
    for address in map(str, addresses):
        scheme = remote.scheme_of(address)
        if scheme is not None and scheme != "file":
            uris.update(dict.fromkeys(_elsewhere(address)))
            continue
        path = path_of(address) if scheme else Path(address)
        for found in _here(str(path)):
            if _is_stream(found) and os.path.isfile(found):  # noqa: PTH113
                uris[Path(os.path.abspath(found)).as_uri()] = None  # noqa: PTH100  links stay
            else:
                files.append(Path(found))
    return Sources(files, [_source(uri, columns or Columns()) for uri in uris])


def _here(path: str) -> Sequence[str]:
    """The paths that one names, in order."""
    if os.path.lexists(path):
        return [path]
    return [found for name in _ranged(path) for found in _matching(name)]


def _matching(name: str) -> Sequence[str]:
    if os.path.lexists(name) or not any(sign in name for sign in _MAGIC):
        return [name]  # one that is missing is the walk's to refuse
    found = glob.glob(os.path.expanduser(name), recursive=True)  # noqa: PTH207, PTH111
    return _some(name, sorted(found))


def _ranged(pattern: str) -> Sequence[str]:
    return _some(pattern, ranges(pattern))


def _some(pattern: str, found: Sequence[str]) -> Sequence[str]:
    if not found:
        raise NotFound(f"nothing matches {shown(pattern)}", param="paths")
    return found


def _elsewhere(url: str) -> list[str]:
    """The URIs that a URL names, in order."""
    uris: list[str] = []
    for name in _ranged(url):
        store, inside = remote.filesystem(name)
        if not any(sign in name for sign in _MAGIC):
            uris.append(remote.uri_of(remote.url_of(store, inside)))
            continue
        with remote.translated(name):
            found = sorted(str(path) for path in store.glob(inside))
        uris += [remote.uri_of(remote.url_of(store, path)) for path in _some(name, found)]
    return uris


def _is_stream(name: str) -> bool:
    return name.lower().endswith((".tar", ".parquet"))


def _source(uri: str, columns: Columns) -> Source:
    if uri.lower().endswith(".tar"):
        return Shard(uri)
    if uri.lower().endswith(".parquet"):
        return TableSource(uri, columns)
    return Objects(uri)
