"""A snapshot as it lies on a disk: a folder, or the same as one .tar file.

    catalog.db          a catalog of its own
    blobs/ab/abcdef…    the bytes of uploads that it names
    calibrations/…
    manifest.json       written last, so its presence means complete

The manifest names every other file with its size and SHA-256, and nothing else is ever read. A
package is put together under another name, and gets its own when all of it is on the disk.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

from embed.errors import BadInput, CatalogError, NotFound
from index.disk import sync

FORMAT = 1
MANIFEST = "manifest.json"
CATALOG = "catalog.db"
_NAMES = re.compile(r"catalog\.db|blobs/[0-9a-f]{2}/[0-9a-f]{64}|calibrations/[^/\0]+\.json")


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one file. sha256: in hex."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """scope: of one collection, or of all there is. version: of the catalog's tables.

    epoch: of the catalog that it was taken of. missing: digests of uploads whose bytes were gone
    or damaged already. files: by their path in the package.
    """

    scope: Literal["home", "collection"]
    version: int
    epoch: str
    created: str
    collections: Sequence[str]
    items: int
    missing: Sequence[str]
    files: Mapping[str, Facts]

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, text: str | bytes, source: Path, newest: int) -> Manifest:
        """Raises BadInput for what is no manifest, CatalogError for one of a newer version."""
        try:
            document = json.loads(text)
            version, number = int(document["version"]), int(document.pop("format"))
            files = {name: Facts(**facts) for name, facts in document.pop("files").items()}
            made = cls(**document, files=files)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadInput(
                f"{source} is no snapshot of Crossbind: its manifest says {error!r}"
            ) from error
        if number > FORMAT or version > newest:
            raise CatalogError(
                f"{source} was made by a newer Crossbind (format {number}, catalog version "
                f"{version}; this one knows {FORMAT} and {newest}): upgrade Crossbind"
            )
        strange = [name for name in files if not _NAMES.fullmatch(name) or ".." in name]
        if strange or CATALOG not in files:
            what = f"names {strange[0]!r}" if strange else f"lacks {CATALOG}"
            raise BadInput(f"{source} is no snapshot of Crossbind: its manifest {what}")
        return made


def seal(folder: Path, manifest: Manifest) -> None:
    """The manifest, once everything that it names is on the disk."""
    for inner in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        sync(inner)
    path = folder / MANIFEST
    path.write_text(json.dumps(manifest.to_json(), indent=1) + "\n", encoding="utf-8")
    sync(path)
    sync(folder)


def pack(folder: Path, manifest: Manifest, tar: Path) -> None:
    """A sealed folder as one file, the manifest last; on return it is on the disk."""
    with tarfile.open(tar, "w", format=tarfile.PAX_FORMAT) as package:
        for name in [*sorted(manifest.files), MANIFEST]:
            package.add(folder / name, arcname=name, recursive=False)
    sync(tar)


class Package:
    """A snapshot open to be read. Raises NotFound, BadInput, CatalogError."""

    def __init__(self, source: Path, newest: int) -> None:
        self.source = source
        self._tar: tarfile.TarFile | None = None
        if not source.exists():
            raise NotFound(f"there is no snapshot at {source}")
        if not source.is_dir():
            try:
                self._tar = tarfile.open(source, "r:")  # noqa: SIM115 - closed by close()
            except tarfile.TarError as error:
                raise BadInput(f"{source} is no snapshot of Crossbind: {error}") from error
        try:
            with self.open(MANIFEST) as file:
                self.manifest = Manifest.from_json(file.read(), source, newest)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Raises BadInput where the package has no such file."""
        try:
            file = self._tar.extractfile(name) if self._tar else (self.source / name).open("rb")
            if file is None:
                raise KeyError(name)
        except (KeyError, FileNotFoundError, NotADirectoryError, tarfile.TarError) as error:
            raise BadInput(
                f"{self.source} is no whole snapshot: it has no {name}; what made it was broken "
                "off, or something was taken out"
            ) from error
        with file:
            yield file

    def path(self, name: str) -> Path | None:
        """Where a file lies by itself; None inside a .tar."""
        return None if self._tar else self.source / name

    def close(self) -> None:
        if self._tar:
            self._tar.close()
