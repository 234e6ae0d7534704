"""Every row is looked at as bytes, and those that may be among the k best are scored precisely.

Bytes say of a row and a query: the inner product is within `wrong` of `score`. So k rows with
`score - wrong >= floor` prove that a row with `score + wrong < floor` is not among the k best. The
floor rises from block to block; what reaches it in the end is few, and is scored from the vectors
in float32. The answer is certainly the exact one. It knows no ids but as what breaks ties.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from embed.types import Floats
from index.types import Ids
from index.vectors import kernels
from index.vectors.int8 import CodedQueries, Codes, products
from index.vectors.workers import Workers

BLOCK_SCORES = 2**19  # rows times queries looked at at once: 2 MiB, which a core's caches hold
_SHARE = 2**20  # numbers, at least, that are worth a thread
_SPARSE = 1 / 4  # of the rows; so few of a block are quicker to copy than to pass all
_GROUPS = 4  # for each of the k; see `_raised`
_WORTH = 1 / 8  # of the rows; to score more candidates than that takes as long as to score all
_WORTH_OF_MANY = 1 / 32  # the same for several queries at once, which BLAS is good at
_PAIRS = 2**20  # of a row and a query, at most, that a thread keeps: 20 MiB
_LIKELY = 3  # for each of the k; scored first
_LEAST = np.float32(np.finfo(np.float32).min)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What is searched. only: ascending positions that may answer, None for all but `skip`.

    ids break ties; skip: ascending positions of removed rows.
    """

    ids: Ids
    vectors: Floats
    codes: Codes
    skip: Ids
    only: Ids | None = None


class _Candidates(NamedTuple):
    """Pairs of a row and a query, and the most that they may score."""

    positions: Ids
    queries: Ids
    ceilings: Floats

    def reaching(self, floor: Floats) -> _Candidates:
        """Those that may score the `(Q,)` floors of their queries."""
        return self._at(np.flatnonzero(self.ceilings >= floor[self.queries]))

    def by_query(self, count: int) -> list[_Candidates]:
        """Those of each of the queries."""
        order = np.argsort(self.queries.astype(np.uint16), kind="stable")  # by radix
        positions, queries, ceilings = self._at(order)
        edges = np.searchsorted(queries, np.arange(count + 1)).tolist()
        return [
            _Candidates(positions[start:stop], queries[start:stop], ceilings[start:stop])
            for start, stop in pairwise(edges)
        ]

    def _at(self, some: Ids) -> _Candidates:
        return _Candidates(self.positions[some], self.queries[some], self.ceilings[some])


class _Part(NamedTuple):
    """Of some of the rows. floors: `(Q, k)`, what k rows score at least, worst first.

    Infinite for a query whose candidates are too many to be worth keeping.
    """

    floors: Floats
    candidates: _Candidates


def worth(rows: int, queries: int) -> int:
    """The most candidates of a query that are worth having, of so many rows."""
    share = _WORTH if queries == 1 else _WORTH_OF_MANY
    return min(int(rows * share), _PAIRS // queries)


def nearest(
    rows: Rows, queries: Floats, coded: CodedQueries, k: int, workers: Workers
) -> tuple[Floats, Ids, Ids]:
    """The k best of at least k rows that may answer, equal scores by id.

    Scores `(Q, k)`, positions `(Q, k)`, and those queries of which bytes say too little: theirs are
    to be found otherwise.
    """
    shares = min(workers.count, 1 + rows.codes.numbers.size // _SHARE)
    edges = [len(rows.ids) * share // shares for share in range(shares + 1)]
    parts = workers.each(lambda span: _candidates(rows, coded, k, *span), list(pairwise(edges)))
    floors = np.concatenate([part.floors for part in parts], axis=1)
    floor = np.partition(floors, -k, axis=1)[:, -k]
    mine = _joined([part.candidates for part in parts]).reaching(floor).by_query(len(queries))
    scores = np.full((len(queries), k), -np.inf, np.float32)
    found = np.full((len(queries), k), -1, np.int64)

    def score(some: Ids) -> None:
        for query in some.tolist():
            ceilings = mine[query].ceilings * coded.scales[query] + coded.offsets[query]
            likely = mine[query]._replace(ceilings=ceilings)
            scores[query], found[query] = _best(rows, likely, queries[query], k)

    known = np.flatnonzero(floor < np.inf)
    workers.each(score, np.array_split(known, min(workers.count, max(1, len(known)))))
    return scores, found, np.flatnonzero(floor == np.inf)


def _candidates(rows: Rows, coded: CodedQueries, k: int, start: int, stop: int) -> _Part:
    """Of the rows from `start` to `stop`."""
    count = len(coded.numbers)
    floors = np.full((count, k), -np.inf, np.float32)
    seen = np.zeros(count, np.int64)
    limit = worth(len(rows.ids), count)
    candidates: list[_Candidates] = []
    step = max(1, BLOCK_SCORES // count)
    for first in range(start, stop, step):
        codes, scores, inside = _scored(rows, coded, first, min(first + step, stop))
        if not len(scores):
            continue
        wrong = coded.wrong(codes)
        floors = _raised(floors, scores, wrong)
        enough = np.maximum(floors[:, 0] - wrong, _LEAST)  # a removed row scores less than that
        at, query = np.divmod(np.flatnonzero(scores >= enough), count)
        positions = at + first if inside is None else inside[at]
        candidates.append(_Candidates(positions, query, scores[at, query] + wrong[query]))
        seen += np.bincount(query, minlength=count)
        if np.any(seen > limit):
            candidates = [_joined(candidates).reaching(floors[:, 0])]
            seen = np.bincount(candidates[0].queries, minlength=count)
            floors[seen > limit] = np.inf
            if floors.min() == np.inf:
                break
    return _Part(floors, _joined(candidates))


def _scored(
    rows: Rows, coded: CodedQueries, first: int, last: int
) -> tuple[Codes, Floats, Ids | None]:
    """Codes and scores of those of the rows `first` to `last` that may answer, and which they are.

    None for all, in order; a removed one scores -inf.
    """
    listed = rows.skip if rows.only is None else rows.only
    start, stop = np.searchsorted(listed, [first, last])
    inside = listed[start:stop]
    if rows.only is not None and len(inside) < _SPARSE * (last - first):
        codes = rows.codes.take(inside)
        return codes, products(codes, coded), inside
    codes = rows.codes.part(first, last)
    scores = products(codes, coded)
    if rows.only is not None:
        return codes, scores.take(inside - first, axis=0), inside
    scores[inside - first] = -np.inf
    return codes, scores, None


def _raised(floors: Floats, scores: Floats, wrong: Floats) -> Floats:
    """The k best of `floors` and of what these scores prove, the least of them first.

    Of each of some groups of rows only the best is looked at: k groups prove k rows.
    """
    k = floors.shape[1]
    groups = max(_GROUPS * k, 1024 // len(floors), 64)
    whole = len(scores) // groups
    if whole > 1:
        scores = scores[: whole * groups].reshape(whole, -1).max(axis=0).reshape(groups, -1)
    pool = np.concatenate([floors, (scores - wrong).T], axis=1)
    return np.partition(pool, -k, axis=1)[:, -k:]


def _joined(parts: Sequence[_Candidates]) -> _Candidates:
    if not parts:
        nothing = np.empty(0, np.int64)
        return _Candidates(nothing, nothing, np.empty(0, np.float32))
    return _Candidates(
        positions=np.concatenate([part.positions for part in parts]),
        queries=np.concatenate([part.queries for part in parts]),
        ceilings=np.concatenate([part.ceilings for part in parts]),
    )


def _best(rows: Rows, candidates: _Candidates, query: Floats, k: int) -> tuple[Floats, Ids]:
    """Scores and positions of the k best. Most are ruled out by the scores of the likeliest."""
    positions, likely = candidates.positions, _LIKELY * k
    if len(positions) > likely:
        order = np.argpartition(-candidates.ceilings, likely)
        positions, ceilings = positions[order], candidates.ceilings[order]
        exact = kernels.of_floats(rows.vectors[positions[:likely]], query)
        possible = ceilings[likely:] >= np.partition(exact, -k)[-k]
        positions = positions[np.append(np.full(likely, True), possible)]
        rest = kernels.of_floats(rows.vectors[positions[likely:]], query)
        exact = np.concatenate([exact, rest])
    else:
        exact = kernels.of_floats(rows.vectors[positions], query)
    best = np.lexsort((rows.ids[positions], -exact))[:k]
    return exact[best], positions[best]
