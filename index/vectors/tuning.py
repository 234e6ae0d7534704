"""How far an approximate index must look for the recall asked for: found by measuring.

Probes are answered exactly and by the index; the narrowest search that finds enough is kept, for a
few numbers of neighbours and a few shares of rows that may answer. The probes must be like the
queries to come: between modalities there is a gap (Liang et al. 2022, "Mind the Gap"), and a search
that is wide enough for pictures asked by pictures misses what texts ask for.

"Enough" is the mean recall of the probes less its standard error, so that luck in the draw of the
probes does not count. It knows no FAISS.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from math import ceil, sqrt
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from embed.types import Floats
from index.types import Ids

_KS = (10, 100)
_SHARES = (1.0, 0.8, 0.5, 0.25, 0.1, 0.05)
_DEPTHS = (1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)  # times k
_FILTERED = 0.98  # the least recall when not every row may answer
_FETCHED = 4096  # rows
_FILTERED_PROBES = 160
_RANKED = 128  # probes that all rows are ranked for
_TIMED = 32  # probes, one by one
_LOST_BY_CODES = 0.3  # of the misses allowed, those the codes may cause

Bits = NDArray[np.uint8]
Truth = Callable[[Floats, int, Ids], Ids]


class Ranked(Protocol):
    """An approximate index, whatever library it is from; see `faiss_kinds.Approximate`."""

    @property
    def widest(self) -> int: ...

    @property
    def at_once(self) -> int | None:
        """Queries, at most, that are searched for in the thread that asks; None: any number."""
        ...

    def rank(self, queries: Floats, depth: int, width: int, allowed: Bits | None = None) -> Ids: ...

    def rank_all(self, queries: Floats, depth: int) -> Ids: ...

    def rank_rows(self, query: Floats, depth: int, rows: Ids) -> Ids | None: ...

    def save(self, path: Path) -> None: ...


class Setting(NamedTuple):
    """How to search for k neighbours when a share of the rows may answer, and what that gives.

    width, depth: see `Ranked.rank`. recall: measured on the probes. seconds: for one query.
    """

    k: int
    share: float
    width: int
    depth: int
    recall: float
    seconds: float


class Codes(NamedTuple):
    """What ranking chosen rows by their codes takes for each of them, and the recall it gives."""

    row_seconds: float
    recall: float


class Tuning:
    """settings: by share, largest first, then by k.

    row_seconds: to score one row exactly, when it is fetched by its position. codes: None where
    rows cannot be chosen.
    """

    def __init__(
        self, settings: Sequence[Setting], row_seconds: float, codes: Codes | None = None
    ) -> None:
        self.settings = settings
        self.row_seconds = row_seconds
        self.codes = codes
        self._between = lru_cache(maxsize=1024)(self._interpolated)

    def setting(self, k: int, share: float) -> Setting | None:
        """The setting for a search, by the nearest harder case measured; None when none is."""
        measured = next((s.share for s in self.settings if s.share <= share), None)
        return None if measured is None else self._between(k, measured)

    def _interpolated(self, k: int, share: float) -> Setting:
        """Between the numbers of neighbours measured, and beyond, all grow evenly with k."""
        fit = [s for s in self.settings if s.share == share]
        ks = [s.k for s in fit]
        times = max(1.0, k / ks[-1])

        def at(numbers: list[float]) -> float:
            return float(np.interp(k, ks, numbers)) * times

        return Setting(
            k,
            share,
            ceil(at([s.width for s in fit])),
            ceil(at([s.depth for s in fit])),
            min(s.recall for s in (fit if k > ks[0] else fit[:1])),
            at([s.seconds for s in fit]),
        )


def tune(
    index: Ranked,
    vectors: Floats,
    probes: Floats,
    recall: float,
    truth: Truth,
    go_on: Callable[[], None] = lambda: None,
) -> Tuning:
    """vectors: `(N, dim)`, N >= 1, that `index` ranks; probes: `(P, dim)`, P >= 1.

    truth(queries, k, rows): the k best of ascending rows, exactly. go_on: called now and then;
    raises to break off.
    """
    count = len(vectors)
    settings: list[Setting] = []
    # A row may answer when its number, drawn once, is below the share: smaller shares are nested.
    drawn = np.random.default_rng(count).random(count)
    for share in _SHARES:
        rows = np.flatnonzero(drawn < share)
        allowed = None if share == 1 else np.packbits(drawn < share, bitorder="little")
        some = probes if share == 1 else probes[:_FILTERED_PROBES]
        every = truth(some, min(_KS[-1], len(rows)), rows)
        for k in _KS:
            go_on()
            if len(rows) < 2 * k:
                continue
            best = every[:, :k]
            target = recall if share == 1 else max(recall, _FILTERED)
            before = next((setting for setting in reversed(settings) if setting.k == k), None)
            # Among fewer rows fewer come between, so that the depth for all of them will do.
            depth = before.depth if before else _depth(index, some, best, target)
            trial = _Trial(index, some, best, depth, allowed)
            width = _width(trial, target, before.width if before else 1)
            settings.append(
                Setting(k, share, width, depth, trial.recall(width)[0], trial.seconds(width))
            )
    go_on()
    depth = settings[0].depth if settings else 0
    return Tuning(settings, *_by_row(index, count, probes[:_FILTERED_PROBES], depth, truth))


class _Trial:
    """Searches of one kind, by their width. best: `(P, k)`, the truth."""

    def __init__(
        self, index: Ranked, probes: Floats, best: Ids, depth: int, allowed: Bits | None
    ) -> None:
        self._rank: Callable[[Floats, int], Ids] = lambda queries, width: index.rank(
            queries, depth, width, allowed
        )
        self._probes, self._best = probes, best
        self._known: dict[int, tuple[float, float]] = {}
        self.widest = index.widest

    def recall(self, width: int) -> tuple[float, float]:
        """The mean of the probes, and its standard error."""
        if width not in self._known:
            self._known[width] = _share_found(self._best, self._rank(self._probes, width))
        return self._known[width]

    def seconds(self, width: int) -> float:
        """For one query."""
        some = [self._probes[at : at + 1] for at in range(min(_TIMED, len(self._probes)))]
        return _least_seconds(lambda: [self._rank(one, width) for one in some]) / len(some)


def _depth(index: Ranked, probes: Floats, best: Ids, recall: float) -> int:
    """How many of the best by their codes hold the best by their vectors, nearly always."""
    enough = 1 - _LOST_BY_CODES * (1 - recall)
    ladder: list[int] = [round(best.shape[1] * times) for times in _DEPTHS]
    # Most codes are good enough for the short half, and long lists take long.
    for some in (ladder[: len(ladder) // 2], ladder):
        ranked = index.rank_all(probes[:_RANKED], some[-1])
        for depth in some:
            if _share_found(best[:_RANKED], ranked[:, :depth])[0] >= enough:
                return depth
    return ladder[-1]


def _width(trial: _Trial, recall: float, least: int) -> int:
    """The narrowest from `least` on that finds enough, or the widest: fewer rows that may answer
    are no easier to find."""
    ladder = [width for width in _ladder(trial.widest) if width >= least]

    def enough(step: int) -> bool:
        mean, error = trial.recall(ladder[step])
        return mean - error >= recall

    # In growing strides first: a search that is too wide by far takes longest.
    low, high, stride = 0, 0, 1
    while high < len(ladder) - 1 and not enough(high):
        low, high, stride = high + 1, min(high + stride, len(ladder) - 1), 2 * stride
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return ladder[low]


def _ladder(widest: int) -> Iterator[int]:
    width = 1
    while width < widest:
        yield width
        width = max(width + 1, int(1.2 * width))
    yield widest


def _share_found(best: Ids, ranked: Ids) -> tuple[float, float]:
    """The mean recall of the probes, and its standard error."""
    # One set for all: every probe's positions in a range of their own.
    apart = (np.arange(len(best)) * (max(best.max(), ranked.max()) + 2))[:, None]
    met = np.where(ranked < 0, -1, ranked + apart)
    found = np.isin(best + apart, met).mean(axis=1)
    return round(float(found.mean()), 4), float(found.std() / sqrt(len(found)))


def _by_row(
    index: Ranked, count: int, probes: Floats, depth: int, truth: Truth
) -> tuple[float, Codes | None]:
    """What a row costs that is fetched by its position: exactly, and by its code."""
    rows = np.unique(np.random.default_rng(0).integers(0, count, _FETCHED))
    row_seconds = _least_seconds(lambda: truth(probes[:1], 1, rows)) / len(rows)
    if not depth or index.rank_rows(probes[0], depth, rows) is None:
        return row_seconds, None
    ranked = np.array([index.rank_rows(probe, depth, rows) for probe in probes])
    found, _ = _share_found(truth(probes, min(_KS[0], len(rows)), rows), ranked)
    seconds = _least_seconds(lambda: index.rank_rows(probes[0], depth, rows))
    return row_seconds, Codes(seconds / len(rows), found)


def _least_seconds(work: Callable[[], object]) -> float:
    """The least of a few: whatever else the machine does only adds to it."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
