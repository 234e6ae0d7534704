"""What a space is judged on: items as arrays, by modality, and which of them belong together.

A query is an item; what is relevant to it are the other items of its record, and all that is equal
to one of them: two photos with one caption are both right answers to it, and a photo's five
captions are all right answers to the photo. It knows no index and no file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embed.calibration import Pair
from embed.training.metrics import Flags
from embed.types import Floats, Modality, normalise

AT_ONCE = 128  # queries whose cosines to all items are held at a time

Ids = NDArray[np.int64]
Progress = Callable[[str, int, int], None]
"""Told of a phase, how much of it is done, and of how much."""

NOTHING_BELONGS = (
    "no two items here belong together: give media their captions or sounds in one record "
    "(photo.jpg beside photo.txt, or one record for several uploads)"
)


def no_progress(phase: str, done: int, total: int) -> None:
    """Tells nobody."""


class Stored(NamedTuple):
    """An item with the vectors of its fragments: joint `(F, D)`, native `(F, M)` or None.

    record: what belongs together shares it. content: equal media share it.
    """

    modality: Modality
    record: str
    content: str
    joint: Floats
    native: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Shelf:
    """N items of one modality in one kind of vector.

    vectors: `(F, D)` unit rows, item after item; starts: `(N,)` the first row of each.
    records, contents: `(N,)`, whose they are, and which are equal.
    """

    vectors: Floats
    starts: Ids
    records: Ids
    contents: Ids

    def __len__(self) -> int:
        return len(self.starts)

    def centres(self, rows: Ids) -> Floats:
        """`(Q, D)` unit: what these items ask with, the mean of their fragments."""
        ends = np.append(self.starts[1:], len(self.vectors))
        means = [self.vectors[self.starts[r] : ends[r]].mean(axis=0) for r in rows]
        return normalise(np.stack(means))

    def cosines(self, queries: Floats) -> Floats:
        """`(Q, N)`: of each item's best fragment."""
        best: Floats = np.maximum.reduceat(queries @ self.vectors.T, self.starts, axis=1)
        return best


class Table(NamedTuple):
    """Q queries against one shelf: cosines `(Q, N)`, -inf for what is no candidate, and flags."""

    cosines: Floats
    relevant: Flags


class Question:
    """The items of one modality that ask for those of another, or of their own."""

    def __init__(self, pair: Pair, asked: Shelf, found: Shelf) -> None:
        self.pair = pair
        self.asked = asked
        self.found = found
        self._records: defaultdict[int, set[int]] = defaultdict(set)
        self._contents: defaultdict[int, set[int]] = defaultdict(set)
        for record, content in zip(asked.records.tolist(), asked.contents.tolist(), strict=True):
            self._records[content].add(record)
        for record, content in zip(found.records.tolist(), found.contents.tolist(), strict=True):
            self._contents[record].add(content)

    def rows(self, at_most: int | None = None, *, seed: int = 0) -> Ids:
        """Of the items that have an answer; a seeded choice of them where there are many."""
        rows = [row for row in range(len(self.asked)) if self._answers(row)]
        if at_most is not None and len(rows) > at_most:
            chosen = np.random.default_rng(seed).choice(len(rows), at_most, replace=False)
            rows = [rows[n] for n in sorted(chosen)]
        return np.array(rows, np.int64)

    def table(self, rows: Ids) -> Table:
        """Within one modality an item, and what equals it, are no answer to it."""
        cosines = self.found.cosines(self.asked.centres(rows))
        answers = [list(self._answers(row)) for row in rows]
        relevant = np.stack([np.isin(self.found.contents, found) for found in answers])
        if self.pair.query == self.pair.item:
            cosines[self.asked.contents[rows][:, None] == self.found.contents] = -np.inf
        return Table(cosines, relevant)

    def _answers(self, row: int) -> set[int]:
        """Contents that answer it, by the records that its own content is in."""
        own = int(self.asked.contents[row])
        found = set().union(*(self._contents[record] for record in self._records[own]))
        return found - {own} if self.pair.query == self.pair.item else found


@dataclass(frozen=True, slots=True)
class Library:
    """Shelves by modality. native: only where every item of that modality has such vectors."""

    joint: Mapping[Modality, Shelf]
    native: Mapping[Modality, Shelf]

    def question(self, query: Modality, item: Modality) -> Question:
        """Within one modality, the tower's own vectors are compared where there are any."""
        native = query == item and query in self.native
        kind = self.native if native else self.joint
        return Question(Pair(query, item, native), kind[query], kind[item])

    def questions(self) -> list[Question]:
        """All in which something is relevant to somebody."""
        found = [self.question(query, item) for query in self.joint for item in self.joint]
        return [question for question in found if len(question.rows())]


def in_parts(rows: Ids) -> Iterator[Ids]:
    """`rows`, so many at a time as may be looked at together."""
    for first in range(0, len(rows), AT_ONCE):
        yield rows[first : first + AT_ONCE]


def library(items: Iterable[Stored]) -> Library:
    """Items on shelves, in their order. One without a fragment is left out."""
    records: dict[str, int] = {}
    contents: dict[str, int] = {}
    by_modality: defaultdict[Modality, list[tuple[Stored, int, int]]] = defaultdict(list)
    for item in items:
        if len(item.joint):
            record = records.setdefault(item.record, len(records))
            content = contents.setdefault(item.content, len(contents))
            by_modality[item.modality].append((item, record, content))
    joint, native = {}, {}
    for modality, found in sorted(by_modality.items()):
        own = [item.native for item, _, _ in found if item.native is not None]
        joint[modality] = _shelf([item.joint for item, _, _ in found], found)
        if len(own) == len(found):
            native[modality] = _shelf(own, found)
    return Library(joint, native)


def _shelf(vectors: list[Floats], found: list[tuple[Stored, int, int]]) -> Shelf:
    counts = [len(rows) for rows in vectors]
    return Shelf(
        vectors=np.concatenate(vectors),
        starts=np.cumsum([0, *counts[:-1]]).astype(np.int64),
        records=np.array([record for _, record, _ in found], np.int64),
        contents=np.array([content for _, _, content in found], np.int64),
    )
