"""Mends what `verify.py` finds, as far as it can be mended; nothing readable is thrown away.

A damaged file is kept beside the new one, damaged bytes of uploads and calibrations are put aside,
and an item whose vectors are gone is noted among the failures of its collection, to be embedded
again. Broken off, it is run again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from embed.errors import CatalogError
from index.batch.ingest import Progress
from index.care.checks import SENSIBLE
from index.care.findings import Finding, Verification
from index.care.recover import Recovery, recover
from index.care.verify import is_damage, verify
from index.database import Database
from index.failpoints import reach
from index.home import Home
from index.types import CollectionInfo

_PASSES = 8  # mending one thing may bring another to light

# Nothing found through a broken index of SQLite's can be believed, and vectors look as if they were
# another item's when that has lost its modality.
_FIRST = ({"file_index"}, {"seq", "kind", "partition_kind", "lost_collection", "storage"})

_SEQS = " UNION ALL ".join(
    f"SELECT max(seq) AS seq FROM {table} WHERE {SENSIBLE}"  # noqa: S608 - our own names
    for table in ("clock", "collections", "partitions", "items", "vectors", "deletions", "removals")
)
_NEWEST = f"SELECT max(seq) FROM ({_SEQS})"  # noqa: S608


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What was found, what was mended, and what is left. recovered: of a damaged file."""

    before: Verification
    after: Verification
    mended: Sequence[Finding]
    recovered: Recovery | None

    def to_json(self) -> dict[str, Any]:
        return {
            **self.after.to_json(),
            "found": len(self.before.findings),
            "mended": [finding.to_json() for finding in self.mended],
            "recovered": self.recovered and self.recovered.to_json(),
        }


def repair(
    home: Home,
    *,
    collection: CollectionInfo | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Repair:
    """Raises Conflict when the file is damaged and another process has it open, CatalogError when
    nothing of it can be read, and what `verify` raises."""
    before = now = verify(home, collection=collection, progress=progress)
    recovered = None
    if any(finding.code == "file" for finding in now.findings):
        recovered = _recovered(home, progress)
        now = verify(home, collection=collection, progress=progress)
    mended: list[Finding] = []
    for _ in range(_PASSES):
        todo = _next(now.findings, mended)
        if not todo:
            break
        try:
            _mend(home, todo)
            mended += todo
        except CatalogError as error:
            if recovered or not is_damage(error):
                raise
            recovered = _recovered(home, progress)
        now = verify(home, collection=collection, progress=progress)
    return Repair(before=before, after=now, mended=mended, recovered=recovered)


def _next(findings: Sequence[Finding], mended: Sequence[Finding]) -> list[Finding]:
    """Those to be mended before the others, which may come of them; what did not help, last."""
    can = [finding for finding in findings if finding.mend or finding.tidy]
    tried = {(finding.code, finding.id) for finding in mended}
    for codes in _FIRST:
        if first := [f for f in can if f.code in codes and (f.code, f.id) not in tried]:
            return first
    return can


def _recovered(home: Home, progress: Callable[[Progress], None] | None) -> Recovery:
    return recover(home.catalog, lambda table, rows: _tell(progress, table, rows))


def _mend(home: Home, findings: Sequence[Finding]) -> None:
    """The catalog in one transaction, then the files beside it."""
    with closing(Database(home.catalog)) as database, database.writing() as connection:
        seq = _next_seq(connection)
        for finding in findings:
            if finding.mend:
                finding.mend(connection, seq)
        connection.execute("UPDATE clock SET seq = ?", (seq,))
        connection.execute(
            "UPDATE collections SET seq = :seq WHERE EXISTS"
            " (SELECT 1 FROM items WHERE collection = collections.id AND seq = :seq)",
            {"seq": seq},
        )
    reach("repair.mended")
    for finding in findings:
        if finding.tidy:
            finding.tidy()


def _next_seq(connection: sqlite3.Connection) -> int:
    return int(connection.execute(_NEWEST).fetchone()[0] or 0) + 1


def _tell(progress: Callable[[Progress], None] | None, table: str, rows: int) -> None:
    if progress:
        progress(
            Progress(phase="indexing", done=rows, total=rows, failed=0, current=table, noun="row")
        )
