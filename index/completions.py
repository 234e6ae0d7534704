"""What records that lack a modality are supposed to have there, in SQL: hypotheses, never items.

They lie in tables of their own, so that no search, count or training meets one. Whether one is
stale is worked out when it is read: a source is gone or has become another, the record itself has,
or the collection has left the space. It judges nothing: how likely one is, it is told.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from embed.types import Floats, Modality, Origin
from index import rows
from index.contents import Contents
from index.supposing import Supposing, batches, held_by, marks
from index.types import Completion, Source, Storage
from index.writing import now

LEAST = 0.5
"""What is less likely is kept, so that nobody works it out again, and told nobody who does not ask
for it."""

Method = Literal["best", "mean", "synthesis"]

_SUPPOSED = (
    "SELECT c.id, r.key, c.modality, c.value, c.vector, c.origin, c.p, c.method, c.created,"
    " c.own, c.space_id FROM records r CROSS JOIN completions c ON c.record = r.id"  # records first
)
_SOURCES = (
    "SELECT s.completion, s.item, s.record, s.share, i.digest IS s.digest AND i.origin = ?"
    " FROM completion_sources s JOIN completions c ON c.id = s.completion"
    " LEFT JOIN items i ON i.collection = c.collection AND i.key = s.item"
    " WHERE s.completion IN ({marks}) ORDER BY s.completion, s.place"
)


class Supposed(NamedTuple):
    """Vectors that records may have: `(N,)` records, `(N, D)` joint, unit, `(N,)` probabilities."""

    records: Sequence[str]
    vectors: Floats
    p: Floats


class KeptFit(NamedTuple):
    """A fit as it was kept: of which space, on how many records, and the document itself."""

    space_id: str
    pairs: int
    document: str


class Completions:
    """Those of one collection. Safe to use from several threads."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents

    @property
    def read_only(self) -> bool:
        """Nothing can be kept."""
        return self._contents.read_only

    def put(self, completions: Iterable[Completion], *, fit: str | None = None) -> int:
        """Keeps them, in the place of those of the same record, modality and method. Returns how
        many: those whose record is gone are passed over.

        fit: names the curve that their probabilities are by. Raises Forbidden, StorageFull.
        """
        with self._contents.noting() as connection:
            writing = Supposing(connection, self._contents.info, fit)
            return sum([writing.put(one) for one in completions])

    def of_records(
        self,
        records: Iterable[str],
        *,
        modality: Modality | None = None,
        method: Method | None = None,
        least: float = LEAST,
    ) -> dict[str, list[Completion]]:
        """What is supposed of each record, the likeliest first, stale or not.

        Records of which nothing is, are left out. least: probability.
        """
        found: dict[str, list[Completion]] = {}
        with self._contents.reading() as connection:
            for some in batches(list(dict.fromkeys(records))):
                where = f"r.collection = ? AND r.key IN ({marks(some)}) AND c.p >= ?"
                values: list[str | int | float] = [self._contents.info.id, *some, least]
                for name, value in (("modality", modality), ("method", method)):
                    if value is not None:
                        where += f" AND c.{name} = ?"
                        values.append(value)
                for one in self._read(connection, where, values, some):
                    found.setdefault(str(one.record), []).append(one)
        return found

    def count(self, modality: Modality | None = None, *, least: float = LEAST) -> int:
        """How many there are, stale or not. least: probability."""
        with self._contents.reading() as connection:
            row = connection.execute(
                "SELECT count(*) FROM completions WHERE collection = ?1 AND p >= ?2"
                " AND (?3 IS NULL OR modality = ?3)",
                (self._contents.info.id, least, modality),
            ).fetchone()
        return int(row[0])

    def delete(
        self, records: Iterable[str] | None = None, *, modality: Modality | None = None
    ) -> int:
        """Forgets those of these records, or of all. Returns how many there were."""
        where = "collection = ? AND (? IS NULL OR modality = ?)"
        of = (self._contents.info.id, modality, modality)
        with self._contents.noting() as connection:
            if records is None:
                return connection.execute(f"DELETE FROM completions WHERE {where}", of).rowcount  # noqa: S608 - our own condition
            gone = 0
            for some in batches(list(records)):
                gone += connection.execute(
                    f"DELETE FROM completions WHERE {where} AND record IN"  # noqa: S608 - our own condition
                    f" (SELECT id FROM records WHERE collection = ? AND key IN ({marks(some)}))",
                    (*of, self._contents.info.id, *some),
                ).rowcount
        return gone

    def vectors(self, modality: Modality, *, least: float = LEAST) -> Supposed:
        """What records may have, as vectors of the joint space; a record may be there twice, by
        two methods. Some may be stale; those of another space are left out."""
        info = self._contents.info
        with self._contents.reading() as connection:
            found = connection.execute(
                "SELECT r.key, c.p, c.vector FROM completions c JOIN records r ON r.id = c.record"
                " WHERE c.collection = ? AND c.modality = ? AND c.p >= ? AND c.space_id = ?"
                " AND c.vector IS NOT NULL ORDER BY c.id",
                (info.id, modality.value, least, info.space.id),
            ).fetchall()
        return Supposed(
            [record for record, _, _ in found],
            rows.vectors_from_blobs(
                [blob for _, _, blob in found], info.space.dim, Storage.FLOAT32
            ),
            np.array([p for _, p, _ in found], np.float32),
        )

    def state(self) -> tuple[int, int]:
        """Another whenever something was put or deleted: for those who keep `vectors`."""
        with self._contents.reading() as connection:
            row = connection.execute(
                "SELECT count(*), coalesce(max(id), 0) FROM completions WHERE collection = ?",
                (self._contents.info.id,),
            ).fetchone()
        return int(row[0]), int(row[1])

    # Fits

    def keep_fit(self, modality: Modality, method: Method, fit: KeptFit) -> None:
        """In the place of an earlier one. Raises Forbidden, StorageFull."""
        with self._contents.noting() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO completion_fits"
                " (collection, modality, method, space_id, pairs, fit, created)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (self._contents.info.id, modality.value, method, *fit, now()),
            )

    def fits(self, modality: Modality) -> dict[Method, KeptFit]:
        """What was kept of a modality, by method."""
        with self._contents.reading() as connection:
            found = connection.execute(
                "SELECT method, space_id, pairs, fit FROM completion_fits"
                " WHERE collection = ? AND modality = ?",
                (self._contents.info.id, modality.value),
            ).fetchall()
        return {method: KeptFit(*fit) for method, *fit in found}

    # Reading

    def _read(
        self,
        connection: sqlite3.Connection,
        where: str,
        values: Sequence[str | int | float],
        records: Sequence[str],
    ) -> list[Completion]:
        found = connection.execute(
            f"{_SUPPOSED} WHERE {where} ORDER BY c.p DESC, c.id", values
        ).fetchall()
        if not found:
            return []
        sources, altered = _sources(connection, [row[0] for row in found])
        held = held_by(connection, self._contents.info.id, records)
        space = self._contents.info.space.id
        return [
            _completion(
                row,
                tuple(sources.get(row[0], ())),
                stale=row[0] in altered or row[9] != held.get(row[1]) or row[10] != space,
            )
            for row in found
        ]


def _sources(
    connection: sqlite3.Connection, numbers: Sequence[int]
) -> tuple[dict[int, list[Source]], set[int]]:
    """What each completion rests on, and which of them rest on what is no longer as it was."""
    sources: dict[int, list[Source]] = {}
    altered: set[int] = set()
    for some in batches(numbers):
        for number, item, record, share, same in connection.execute(
            _SOURCES.format(marks=marks(some)), (Origin.OBSERVED.value, *some)
        ):
            sources.setdefault(number, []).append(Source(item, record, share))
            if not same:
                altered.add(number)
    return sources, altered


def _completion(row: rows.Row, sources: tuple[Source, ...], *, stale: bool) -> Completion:
    _, record, modality, value, vector, origin, p, method, created, *_ = row
    return Completion(
        record=record,
        modality=Modality(modality),
        value=value,
        vector=None if vector is None else rows.vector_from_blob(vector, Storage.FLOAT32),
        origin=origin,
        sources=sources,
        p=p,
        method=method,
        stale=stale,
        created=created,
    )
