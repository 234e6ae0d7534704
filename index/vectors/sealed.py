"""One unchanging state of an approximate engine, and how it is searched.

A base that is searched approximately, or exactly where that is as quick, and a tail that is always
searched exactly. What comes out is scored by the vectors themselves, from whichever it is. It knows
neither how a state comes about nor what index the base has.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embed.types import Floats
from index.types import Found, Ids, Where
from index.vectors.arrays import checked_queries
from index.vectors.generation import Generation
from index.vectors.tail import Tail, best_first, rescored
from index.vectors.tuning import Bits, Setting
from index.vectors.workers import Workers

_LARGE_SHARE = 1 / 8  # of the rows; to find more than that, all are scored
_FEW = 2048  # rows, whose vectors are fetched and scored in half a millisecond
_LEAST_SHARE = 4  # queries that are worth a thread
_ONE_MORE = 0.1  # of the time to fetch a row and score it: to score it for one more query


class State(NamedTuple):
    """live: a bit for each row of the base, least significant first; dead: how many are 0."""

    base: Generation | None
    live: Bits
    dead: int
    tail: Tail

    @property
    def size(self) -> int:
        """Rows that are there."""
        return (len(self.base) if self.base else 0) - self.dead + len(self.tail)

    def alive(self) -> Ids:
        """Ascending positions in the base."""
        if self.base is None:
            return np.empty(0, np.int64)
        return np.flatnonzero(np.unpackbits(self.live, count=len(self.base), bitorder="little"))

    def marked(self, ids: Ids) -> tuple[Bits, int]:
        """`live` and `dead` once these ids are gone from the base."""
        if self.base is None:
            return self.live, self.dead
        gone = self.base.positions(np.unique(ids))
        gone = gone[gone >= 0]
        gone = gone[_bits_at(self.live, gone)]
        if not len(gone):
            return self.live, self.dead
        live = self.live.copy()
        np.bitwise_and.at(live, gone >> 3, ~(1 << (gone & 7)).astype(np.uint8))
        return live, self.dead + len(gone)


def search(state: State, queries: Floats, k: int, where: Where | None) -> Found:
    """See `VectorIndex.search`. Raises InvalidVector, InvalidQuery."""
    queries = checked_queries(queries, k, state.tail.dim)
    scores, ids, setting = _of_base(state, queries, k, where)
    if len(state.tail):
        late = state.tail.search(queries, k, where)
        scores = np.concatenate([late.scores, scores], axis=1)
        ids = np.concatenate([late.ids, ids], axis=1)
        scores, ids = best_first(scores, ids, k)
    if scores.shape[1] < k:
        rest = ((0, 0), (0, k - scores.shape[1]))
        scores = np.pad(scores, rest, constant_values=-np.inf)
        ids = np.pad(ids, rest, constant_values=-1)
    if setting is None:
        return Found(ids, scores)
    return Found(ids, scores, exact=False, recall_estimate=setting.recall)


def _of_base(
    state: State, queries: Floats, k: int, where: Where | None
) -> tuple[Floats, Ids, Setting | None]:
    """Scores and ids of the best k, or of as many as there are; None: these are all exact."""
    base = state.base
    rows = None if base is None or where is None else _answering(state, base, where)
    count = 0 if base is None else len(base) - state.dead if rows is None else len(rows)
    if base is None or not count or not len(queries):
        none = (len(queries), 0)
        return np.empty(none, np.float32), np.empty(none, np.int64), None
    k = min(k, count)
    setting = _setting(base, count, k)
    if rows is not None:
        shares = min(state.tail.workers.count, max(1, len(rows) // _FEW))
        quicker = _quicker(base, len(rows), shares, queries, k, setting)
        if quicker is not None:
            ranked = state.tail.workers.each(
                lambda some: base.index.rank_rows(queries[0], quicker.depth, some),
                np.array_split(rows, shares),
            )
            near = np.concatenate([some for some in ranked if some is not None])
            scores, found = rescored(queries, base.vectors, near[None], k)
            return scores, base.ids[found], quicker
        if setting is not None and _is_quicker(base, len(rows), queries, setting):
            setting = None
    if setting is None:
        rows = state.alive() if rows is None else rows
        scores, found = state.tail.among(queries, base.vectors, k, rows)
    else:
        scores, found = _near(state, queries, k, rows, setting)
    return scores, base.ids[found], setting


def _setting(base: Generation, rows: int, k: int) -> Setting | None:
    """How to search so many rows of the base; None to score them all.

    A graph under a filter falls apart: at the width that finds .95 of the neighbours among all
    rows it finds .88 where one in ten may answer, and .18 where one in a hundred may. So it is
    searched at widths measured for such shares, and not where scoring the rows is quicker.
    """
    setting = base.tuning.setting(k, rows / len(base))
    if setting is None or setting.depth > _LARGE_SHARE * rows:
        return None
    return setting


def _is_quicker(base: Generation, rows: int, queries: Floats, setting: Setting) -> bool:
    """Whether so many rows are scored in less time than the search takes."""
    fetched = rows * base.tuning.row_seconds
    return fetched * (1 + _ONE_MORE * len(queries)) < setting.seconds * len(queries)


def _quicker(
    base: Generation, rows: int, shares: int, queries: Floats, k: int, setting: Setting | None
) -> Setting | None:
    """To rank these rows by their codes, where that is quicker than to search by `setting`.

    shares: threads that each rank some of them. Few rows are scored exactly in no time, and many
    queries share what it takes to fetch them.
    """
    codes, whole = base.tuning.codes, base.tuning.setting(k, 1.0)
    if codes is None or whole is None or len(queries) > 1 or rows < _FEW:
        return None
    seconds = rows * codes.row_seconds / shares
    if 4 * whole.depth > rows or (setting is not None and setting.seconds < seconds):
        return None
    return whole._replace(recall=codes.recall, seconds=seconds)


def _near(
    state: State, queries: Floats, k: int, rows: Ids | None, setting: Setting
) -> tuple[Floats, Ids]:
    base = state.base
    assert base is not None
    allowed = (state.live if state.dead else None) if rows is None else _packed(rows, len(base))

    def near(some: slice) -> tuple[Floats, Ids]:
        ranked = base.index.rank(queries[some], setting.depth, setting.width, allowed)
        return rescored(queries[some], base.vectors, ranked, k)

    scores, found = _shared(near, len(queries), base.index.at_once, state.tail.workers)
    # Where fewer than k were met, the search never came to where those are that may answer.
    short = np.flatnonzero(found[:, -1] < 0)
    if len(short):
        every = state.alive() if rows is None else rows
        scores[short], found[short] = state.tail.among(queries[short], base.vectors, k, every)
    return scores, found


def _shared(
    work: Callable[[slice], tuple[Floats, Ids]], count: int, at_once: int | None, workers: Workers
) -> tuple[Floats, Ids]:
    """Some of the queries at a time, so that all threads have their share of ranking and scoring.

    Two for each thread: while one waits for memory the other one counts.
    """
    if at_once is None or count < 2 * _LEAST_SHARE:
        return work(slice(0, count))
    step = min(at_once, max(_LEAST_SHARE, ceil(count / (2 * workers.count))))
    parts = workers.each(work, [slice(at, at + step) for at in range(0, count, step)])
    scores, found = zip(*parts, strict=True)
    return np.concatenate(scores), np.concatenate(found)


def _answering(state: State, base: Generation, where: Where | None) -> Ids | None:
    """Ascending positions in the base of rows that may answer; None for all that are live."""
    if where is None:
        return None
    rows = base.positions(where.ids)
    if len(rows) and rows.min() < 0:
        rows = rows[rows >= 0]
    return rows[_bits_at(state.live, rows)] if state.dead else rows


def _bits_at(bits: Bits, positions: Ids) -> NDArray[np.bool_]:
    set_bits: NDArray[np.bool_] = (bits[positions >> 3] >> (positions & 7) & 1) == 1
    return set_bits


def _packed(rows: Ids, count: int) -> Bits:
    flags = np.zeros(count, bool)
    flags[rows] = True
    return np.packbits(flags, bitorder="little")
