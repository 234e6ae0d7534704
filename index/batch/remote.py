"""Files by their URI, here or elsewhere. Elsewhere is fsspec's, and here its errors become ours.

`s3://`, `gs://` and the like need a package each, which fsspec names. The web is no store: nothing
is downloaded by `http://`. It knows no format and no medium.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote, unquote

from embed.errors import (
    BadInput,
    CrossbindError,
    Forbidden,
    MissingDependency,
    NotAvailable,
    NotFound,
)
from embed.media.source import check_size, open_regular, shown
from index.batch.walk import LATEST_NS, path_of

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

SCHEMES = ("abfs", "az", "gcs", "gs", "hdfs", "memory", "oss", "s3")

Stamp = tuple[int, int]
"""Size and time in nanoseconds: what tells a changed file from an unchanged one."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_TIMES = ("LastModified", "last_modified", "mtime", "updated", "created")


def scheme_of(address: str) -> str | None:
    """`s3` for `s3://…`; None for a path."""
    found = _SCHEME.match(address)
    return found.group(1).lower() if found else None


def filesystem(url: str) -> tuple[AbstractFileSystem, str]:
    """The store of a URL, and the path in it. Raises BadInput for a scheme that is none of ours,
    MissingDependency."""
    if scheme_of(url) not in SCHEMES:
        raise BadInput(
            f"{shown(url)} cannot be read; a path is wanted, or a URL of one of these: "
            f"{', '.join(SCHEMES)}",
            param="paths",
        )
    try:
        import fsspec  # noqa: PLC0415 (optional)
    except ImportError as error:
        raise MissingDependency(
            f"{shown(url)} needs fsspec: pip install 'crossbind[distributed]'"
        ) from error
    with translated(url):
        store, path = fsspec.core.url_to_fs(url)
    return store, str(path)


def url_of(store: AbstractFileSystem, path: str) -> str:
    """As it was written, for a path that `store` listed."""
    return str(store.unstrip_protocol(path))


def uri_of(url: str) -> str:
    """Percent-encoded ASCII, so that it can name an item."""
    return quote(url, safe="/:", errors="surrogateescape")


def url_from(uri: str) -> str:
    """The inverse of `uri_of`."""
    return unquote(uri, errors="surrogateescape")


@contextmanager
def opened(uri: str) -> Iterator[tuple[BinaryIO, int]]:
    """A file, open for reading, and its size. Raises what `open_regular` and `translated` raise."""
    path = path_of(uri)
    if path is not None:
        with open_regular(path, shown(path)) as local:
            yield local, os.fstat(local.fileno()).st_size
        return
    url = url_from(uri)
    store, inside = filesystem(url)
    with translated(url), store.open(inside, "rb") as file:
        yield file, int(file.size)


def read(uri: str, limit: int) -> bytes:
    """All of a file that is elsewhere. Raises TooLarge, and what `translated` raises."""
    url = url_from(uri)
    store, inside = filesystem(url)
    with translated(url):
        check_size(int(store.info(inside)["size"]), limit, shown(url))
        return bytes(store.cat_file(inside))


def read_slice(uri: str, offset: int, size: int) -> bytes:
    """`size` bytes from `offset` on, or fewer at the end. As `opened`."""
    if path_of(uri) is not None:
        with opened(uri) as (file, _):
            file.seek(offset)
            return file.read(size)
    url = url_from(uri)
    store, inside = filesystem(url)
    with translated(url):
        return bytes(store.cat_file(inside, start=offset, end=offset + size))


def stamp_at(uri: str) -> Stamp | None:
    """Of a file, here or elsewhere. Raises what `opened` raises."""
    path = path_of(uri)
    if path is not None:
        with open_regular(path, shown(path)) as local:
            status = os.fstat(local.fileno())
            return status.st_size, min(status.st_mtime_ns, LATEST_NS)
    store, inside = filesystem(url_from(uri))
    with translated(uri):
        return stamp_of(store.info(inside))


def stamp_of(info: Mapping[str, Any]) -> Stamp | None:
    """Size and time, nanoseconds, as a store tells them; for want of a time, any number that
    changes with the content. None when it tells nothing of the kind."""
    time = next((info[name] for name in _TIMES if info.get(name) is not None), None)
    if isinstance(time, datetime):
        time = time.timestamp()
    if isinstance(time, int | float):
        return int(info.get("size") or 0), min(int(time * 1e9), LATEST_NS)
    mark = time or info.get("ETag") or info.get("etag") or info.get("md5Hash")
    if mark is None:
        return None
    digest = hashlib.sha256(str(mark).encode()).digest()
    return int(info.get("size") or 0), int.from_bytes(digest[:7], "big")


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Raises NotFound, Forbidden, MissingDependency, NotAvailable for what a store raises."""
    try:
        yield
    except CrossbindError:
        raise
    except FileNotFoundError as error:
        raise NotFound(f"{shown(url)} is not there", param="paths") from error
    except PermissionError as error:
        raise Forbidden(
            f"{shown(url)} may not be read: check who you are to that store, and its rights"
        ) from error
    except ImportError as error:
        package = error.name or "the package of that store"
        raise MissingDependency(
            f"{shown(url)} needs {package}: pip install {package} ({error})"
        ) from error
    except Exception as error:  # every store has errors of its own
        raise NotAvailable(
            f"{shown(url)} could not be read: {type(error).__name__}: {error}"
        ) from error
