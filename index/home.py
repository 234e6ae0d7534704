"""Where a library keeps what: the one list of names under its folder.

catalog.db    every item and vector: the one truth
blobs/        the bytes of uploads, by SHA-256: `ab/abcdef…`
calibrations/ what a cosine means, by space
indexes/      what engines keep of the catalog, by partition: a cache
snapshots/    those that clients of the server asked for
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Home:
    """The library at `root`."""

    root: Path

    @property
    def catalog(self) -> Path:
        return self.root / "catalog.db"

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    @property
    def calibrations(self) -> Path:
        return self.root / "calibrations"

    @property
    def indexes(self) -> Path:
        return self.root / "indexes"

    @property
    def snapshots(self) -> Path:
        return self.root / "snapshots"


def blob_path(folder: Path, digest: str) -> Path:
    """Where the bytes of a digest lie under a folder of blobs."""
    return folder / digest[:2] / digest
