"""The files of a library beside its catalog: what each should be, and what is wrong with it.

Bytes of uploads are judged by their digest, which is their name; what engines keep, by the
digests that it was sealed with.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from embed.calibration import Calibration
from embed.errors import BadInput
from index.care.findings import Finding, Severity
from index.database import Database
from index.disk import sha256_of
from index.home import Home, blob_path
from index.types import CollectionInfo
from index.vectors.generation import MANIFEST, Damaged, check

ASIDE = ".damaged"  # after the name of a file that is not what it should be
_UNDER_WAY = 3600.0  # seconds in which a file that nobody owns may still come to belong to an item


def files_of(
    home: Home, database: Database, only: CollectionInfo | None
) -> Iterator[Finding | None]:
    """None for each upload that is well; what is wrong with the others, and besides."""
    yield from _uploads(home, database, only)
    if only is None:
        yield from _unowned(home, database)
        yield from _calibrations(home)
        yield from _caches(home, database)


def _uploads(
    home: Home, database: Database, only: CollectionInfo | None
) -> Iterator[Finding | None]:
    with database.reading() as connection:
        found = connection.execute(
            "SELECT i.digest, min(i.key), c.name, c.id FROM items i"
            " JOIN collections c ON c.id = i.collection"
            " WHERE i.uri IS NULL AND i.digest != '' GROUP BY i.digest, c.id ORDER BY i.digest"
        ).fetchall()
    for digest, key, name, number in found:
        if only is not None and number != only.id:
            continue
        path = blob_path(home.blobs, digest)
        wrong = _wrong(path, digest)
        if wrong is None:
            yield None
            continue
        yield Finding(
            code="blob",
            id=key,
            collection=name,
            message=f"the bytes of upload {key!r} {wrong}",
            remedy="put what is there aside; the item and its vectors stay: send it again"
            if path.exists()
            else "nothing: the item and its vectors stay; send it again",
            tidy=partial(_put_aside, path) if path.exists() else None,
        )


def _wrong(path: Path, digest: str) -> str | None:
    try:
        return None if sha256_of(path) == digest else f"in {path} are not what was sent"
    except FileNotFoundError:
        return f"are gone from {path}"
    except OSError as error:
        return f"in {path} cannot be read: {error.strerror}"


def _unowned(home: Home, database: Database) -> Iterator[Finding]:
    with database.reading() as connection:
        owned = {
            digest
            for (digest,) in connection.execute(
                "SELECT DISTINCT digest FROM items WHERE uri IS NULL"
            )
        }
    for path in sorted(home.blobs.glob("??/*")) + sorted(home.blobs.glob("??/.upload-*")):
        if path.name in owned or path.name.endswith(ASIDE):
            continue
        if _is_old(path):
            drop = partial(_drop_if_old, path)
            yield _leftover("unowned_blob", path, "belongs to no item", drop)


def _calibrations(home: Home) -> Iterator[Finding]:
    for path in sorted(home.calibrations.glob("*.json")):
        try:
            Calibration.read(path)
        except BadInput as error:
            yield Finding(
                code="calibration",
                id=path.name,
                message=error.message,
                remedy="put it aside",
                tidy=partial(_put_aside, path),
            )


def _caches(home: Home, database: Database) -> Iterator[Finding]:
    with database.reading() as connection:
        known = {
            f"{owner}-{number}"
            for owner, number in connection.execute("SELECT collection, id FROM partitions")
        }
    for folder in sorted(home.indexes.glob("*-*")):
        if folder.name not in known:
            drop = partial(shutil.rmtree, folder, ignore_errors=True)
            yield _leftover("unowned_cache", folder, "belongs to no partition", drop)
            continue
        for manifest in sorted(folder.rglob(MANIFEST)):
            wrong = _broken_seal(manifest)
            if wrong:
                yield Finding(
                    code="cache",
                    id=folder.name,
                    message=f"what an engine keeps in {folder} is damaged: {wrong}",
                    remedy="drop it: the engine builds it again from the catalog",
                    tidy=partial(shutil.rmtree, folder, ignore_errors=True),
                )
                break


def _broken_seal(manifest: Path) -> str | None:
    """What differs from the digests that a generation was sealed with."""
    try:
        check(manifest.parent)
    except (Damaged, OSError) as error:
        return str(error) if manifest.exists() else None  # it was just replaced by a newer one
    return None


def _leftover(code: str, path: Path, what: str, drop: Callable[[], None]) -> Finding:
    return Finding(
        code=code,
        id=path.name,
        severity=Severity.LEFTOVER,
        message=f"{path} {what}",
        remedy="delete it",
        tidy=drop,
    )


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > _UNDER_WAY
    except FileNotFoundError:
        return False


def _drop_if_old(path: Path) -> None:
    """An upload of the same bytes may have come meanwhile: it touches them first."""
    if _is_old(path):
        path.unlink(missing_ok=True)


def _put_aside(path: Path) -> None:
    path.replace(path.with_name(path.name + ASIDE))
