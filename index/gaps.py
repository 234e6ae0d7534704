"""Which records of a collection lack a modality, and which have it beside another, in SQL."""

from __future__ import annotations

from embed.types import Modality, Origin
from index.contents import Contents

_LACKS = (
    "r.collection = ? AND NOT EXISTS (SELECT 1 FROM items WHERE record = r.id AND modality = ?)"
)


class Gaps:
    """Those of one collection. Safe to use from several threads."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents

    def lacking(self, modality: Modality, *, after: int = 0, limit: int = 1000) -> dict[int, str]:
        """Records without an item of this modality, in order of their coming: public ids by the
        catalog's own. after: the last of the page before."""
        with self._contents.reading() as connection:
            found = connection.execute(
                f"SELECT r.id, r.key FROM records r WHERE {_LACKS} AND r.id > ?"  # noqa: S608 - our own condition
                " ORDER BY r.id LIMIT ?",
                (self._contents.info.id, modality.value, after, limit),
            ).fetchall()
        return dict(found)

    def count(self, modality: Modality) -> int:
        """How many records have no item of this modality."""
        with self._contents.reading() as connection:
            row = connection.execute(
                f"SELECT count(*) FROM records r WHERE {_LACKS}",  # noqa: S608 - our own condition
                (self._contents.info.id, modality.value),
            ).fetchone()
        return int(row[0])

    def paired(self, modality: Modality) -> list[str]:
        """Records with an observed item of this modality and one of another, in order of coming."""
        with self._contents.reading() as connection:
            found = connection.execute(
                "SELECT r.key FROM records r JOIN items i ON i.record = r.id WHERE r.collection = ?"
                " AND i.origin = ? GROUP BY r.id"
                " HAVING count(DISTINCT i.modality) > 1 AND max(i.modality = ?) ORDER BY r.id",
                (self._contents.info.id, Origin.OBSERVED.value, modality.value),
            ).fetchall()
        return [key for (key,) in found]
