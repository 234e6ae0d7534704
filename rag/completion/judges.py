"""How sources are weighed and verdicts judged in one library: by a fit where there can be one.

A fit is kept with the collection, and made anew when the collection has left the space or has
grown much. Where too few records hold several modalities, weights are by calibrated probabilities,
or a guess by cosines, and p is the share of weight that agrees, times how likely the best source of
it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass

from embed.calibration import Curve
from embed.types import Modality
from index.completions import Method
from index.types import Partition
from rag.completion.candidates import Candidate, Route
from rag.completion.consensus import Verdict
from rag.completion.fit import Fit, fit, odds
from rag.library import Library, guessed

_SMALL = 50_000  # items that are fitted on while somebody waits
_FEW = 150  # records that are masked then


@dataclass(frozen=True, slots=True)
class Judge:
    """Of one modality and method. weigh: what a candidate counts. fit: what it judges by."""

    weigh: Callable[[Candidate], float]
    fit: Fit | None

    def probability(self, verdict: Verdict) -> float:
        """That it is right."""
        if self.fit is not None:
            return self.fit.curve(verdict.share)
        best = max(voice.weight for voice in verdict.sources)
        return verdict.share * best / (1 + best)

    @property
    def routes(self) -> frozenset[Route] | None:
        """The ways that are worth asking; None where all are."""
        return None if self.fit is None else frozenset(self.fit.routes)

    @property
    def name(self) -> str | None:
        return None if self.fit is None else self.fit.name


class Judges:
    """Those of one library. Safe to use from several threads."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._store = library.collection.completions
        self._lock = threading.Lock()  # of who fits
        self._tried: dict[Modality, int] = {}  # items, before another attempt is worth it
        self._known: dict[Modality, dict[Method, Fit]] = {}
        self._hasty: set[Modality] = set()

    def of(
        self, missing: Modality, method: Method, has: Collection[Modality] | None = None
    ) -> Judge:
        """As it was fitted last. A synthesis is judged as the best of sources would be.

        has: what is asked with; a guess where none of it was ever tried.
        """
        found = self._known.get(missing, {}).get("best" if method == "synthesis" else method)
        if found is None or (has is not None and found.asks.isdisjoint(has)):
            return Judge(_guess(self._library), None)
        return Judge(found.weigh, found)

    def prepare(self, missing: Modality) -> None:
        """Sees to it that there is a fit, if there can be one, that is of this collection as it
        stands."""
        pairs = len(self._library.collection.gaps.paired(missing))
        with self._lock:
            if missing in self._hasty or not self._holds(missing, pairs):
                self._recall(missing)
            if not self._holds(missing, pairs):
                self._fit(missing, seed=0)

    def recall(self, missing: Modality) -> bool:
        """As `prepare`, cheap enough to come before every answer: what was fitted once holds.
        Without that a small collection is fitted in haste, on few records, and that is not kept;
        for a large one the answer is no, for only guesses would be left."""
        if self._known.get(missing):
            return True
        with self._lock:
            self._recall(missing)
            items = sum(self._library.collection.counts().values())
            if not self._known[missing] and self._tried.get(missing, 0) < items <= _SMALL:
                self._tried[missing] = 2 * items
                self._known[missing] = fit(self._library, missing, most=_FEW)
                self._hasty.add(missing)
            return bool(self._known[missing]) or items <= _SMALL

    def fit(self, missing: Modality, *, seed: int) -> bool:
        """Fits anew. Whether there was enough to fit on."""
        with self._lock:
            return self._fit(missing, seed=seed)

    def _holds(self, missing: Modality, pairs: int) -> bool:
        space = self._library.collection.info.space.id
        fits = self._known.get(missing)
        return bool(fits) and all(one.holds(space, pairs) for one in (fits or {}).values())

    def _recall(self, missing: Modality) -> None:
        space = self._library.collection.info.space.id
        kept = self._store.fits(missing)
        self._known[missing] = {
            method: Fit.of(one) for method, one in kept.items() if one.space_id == space
        }
        self._hasty.discard(missing)

    def _fit(self, missing: Modality, *, seed: int) -> bool:
        fits = fit(self._library, missing, seed=seed)
        self._known[missing] = fits
        if not self._store.read_only:
            for method, one in fits.items():
                self._store.keep_fit(missing, method, one.kept)
        return bool(fits)


def _guess(library: Library) -> Callable[[Candidate], float]:
    """Odds by calibrated probability, or where there is no curve by a power of the cosine."""
    curves: dict[Modality, dict[Partition, Curve]] = {}

    def weigh(candidate: Candidate) -> float:
        asked, among, kind = candidate.route
        if asked not in curves:
            curves[asked] = library.curves(asked)
        curve = curves[asked].get(Partition(among, kind))
        if curve is not None:
            return odds(curve(candidate.cosine))
        return odds(guessed(candidate.cosine))

    return weigh
