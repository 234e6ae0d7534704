"""What a verification found, as nouns: it knows neither how things are found nor how mended."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Mend = Callable[[sqlite3.Connection, int], None]
"""Mends one finding inside a transaction, under the seq of the repair."""


class Severity(StrEnum):
    """DAMAGE: something is lost or may be answered wrongly. LEFTOVER: what a write that was broken
    off left behind; it costs room and nothing else."""

    DAMAGE = "damage"
    LEFTOVER = "leftover"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """code: stable, for machines. id: of what is wrong: an item, a partition, a file.

    remedy: what a repair does, or that there is nothing it can do. mend: inside the catalog;
    tidy: outside of it; both None where a repair does nothing, or acts on the file as a whole.
    """

    code: str
    id: str
    message: str
    remedy: str
    severity: Severity = Severity.DAMAGE
    collection: str | None = None
    mend: Mend | None = None
    tidy: Callable[[], None] | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "severity": self.severity.value,
            "id": self.id,
            "collection": self.collection,
            "message": self.message,
            "remedy": self.remedy,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What there is, and what is wrong with it. seconds: that it took."""

    findings: list[Finding]
    items: int
    vectors: int
    blobs: int
    seconds: float

    @property
    def clean(self) -> bool:
        """Whether nothing is damaged; what was left behind does not count."""
        return all(finding.severity is Severity.LEFTOVER for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        return {
            "clean": self.clean,
            "items": self.items,
            "vectors": self.vectors,
            "blobs": self.blobs,
            "seconds": round(self.seconds, 3),
            "counts": dict(Counter(finding.code for finding in self.findings)),
            "findings": [finding.to_json() for finding in self.findings],
        }
