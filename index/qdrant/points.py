"""What the engine needs of Qdrant, whichever library speaks to it: points, and a note about them.

It knows none of the libraries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

from embed.errors import NotAvailable
from embed.types import Floats
from index.qdrant.filters import Dialect, Payload, Said

NOTE_ID = "00000000-0000-0000-0000-000000000000"  # fragments have numbers
LEAST_EF = 64

Scored = tuple[int, float]


class LostPoints(NotAvailable):
    """The Qdrant collection was there and is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What Qdrant keeps about its own points.

    seq: they hold the catalog up to it. said: so far they know what is said about items, -1 for
    nothing at all. ordered: paths that have an index for orders. ef, recall, size: what tuning
    chose, what it measured, and how many points there were then.
    """

    seq: int = 0
    said: int = -1
    ordered: tuple[str, ...] = ()
    ef: int = LEAST_EF
    recall: float | None = None
    size: int = 0


class Points(Protocol):
    """One Qdrant collection. All it raises is ours, `LostPoints` when it is gone."""

    @property
    def approximate(self) -> bool:
        """Whether a search with an `ef` may miss some."""
        ...

    @property
    def dialect(self) -> Dialect[Any]: ...

    def open(self) -> None:
        """Makes the collection where there is none. Raises Conflict when it is of another dim."""
        ...

    def count(self) -> int:
        """With the note."""
        ...

    def read_note(self) -> Mapping[str, Any] | None: ...

    def write_note(self, note: Payload) -> None:
        """Done when it is kept as safely as the points before it."""
        ...

    def upsert(self, ids: Sequence[int], vectors: Floats) -> None:
        """Points without a payload; one that is there is replaced."""
        ...

    def remove(self, ids: Sequence[int]) -> None: ...

    def say(self, payloads: Sequence[tuple[Sequence[int], Said]]) -> None:
        """Replaces the payloads of points that are there."""
        ...

    def index(self, path: str) -> None:
        """Makes an index for orders."""
        ...

    def silent(self) -> Sequence[int]:
        """Points without a payload, but the note."""
        ...

    def settled(self) -> bool:
        """Whether nothing is being built."""
        ...

    def search(
        self, queries: Floats, k: int, where: Any, ef: int | None
    ) -> Sequence[Sequence[Scored]]:
        """where: a condition of the dialect, or None. ef: None for an exact scan."""
        ...

    def snapshot(self) -> str:
        """Its name on the server."""
        ...

    def drop(self) -> None:
        """Removes the collection; nothing happens where there is none."""
        ...

    def close(self) -> None: ...


def note_from(kept: Mapping[str, Any]) -> Note:
    """What a later version adds is passed over."""
    known = {one.name: kept[one.name] for one in fields(Note) if one.name in kept}
    return Note(**{**known, "ordered": tuple(known.get("ordered", ()))})
