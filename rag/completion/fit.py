"""How likely completions are, fitted end to end on what the collection has observed.

A modality that records have is masked, each completed as if it lacked it (nothing of its own record
is a candidate), and what comes out is compared with what is there. From that

    how much a candidate of each way counts:  the odds that it is right, by its cosine
    which ways a modality asks at all:        taken in one by one while more come out right
    p of a completion:                        a logistic of the share of weight that agrees with it

all by `embed.calibration.fit_curve`. What is right, `masking.py` says.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from embed.calibration import Curve, fit_curve
from embed.errors import BadInput
from embed.types import Floats, Modality
from index.completions import KeptFit, Method
from index.types import VectorKind
from rag.completion.candidates import Candidate, Route
from rag.completion.consensus import Verdict, Voice, best, mean
from rag.completion.likeness import Alike
from rag.completion.masking import Masked, Outcome
from rag.library import Library

FEWEST = 20  # records that are masked at least; fewer tell nothing
MASKED = 500  # at most
_GROWN = 1.5  # times as many pairs as were there: what was fitted then is old
_WORTH_IT = 0.005  # of those masked must be set right by one more way
_ANCHORS = 10
_NEVER_SURE = 1e-3  # what odds are bounded by

METHODS: Mapping[Method, Callable[[Sequence[Voice], Floats, Alike], Verdict]] = {
    "best": best,
    "mean": mean,
}


@dataclass(frozen=True, slots=True)
class Fit:
    """Of one modality and method. asks: what was tried to ask with. routes: the ways that are worth
    asking, and what a cosine means there.

    curve: from the share of a verdict to the probability that it is right. pairs: records that
    there were then. masked: of these, so many were `right`.
    """

    space_id: str
    pairs: int
    asks: frozenset[Modality]
    routes: Mapping[Route, Curve]
    curve: Curve
    masked: int
    right: int

    def holds(self, space_id: str, pairs: int) -> bool:
        """Whether it is still worth something there."""
        return self.space_id == space_id and pairs < _GROWN * self.pairs + FEWEST

    @property
    def weigh(self) -> Callable[[Candidate], float]:
        """The odds that a candidate is right."""
        return by(self.routes)

    @property
    def name(self) -> str:
        return sha256(self.to_text().encode()).hexdigest()[:12]

    def to_text(self) -> str:
        document = {
            "asks": sorted(self.asks),
            "routes": [[*route, *curve] for route, curve in sorted(self.routes.items())],
            "curve": list(self.curve),
            "masked": self.masked,
            "right": self.right,
        }
        return json.dumps(document)

    @classmethod
    def of(cls, kept: KeptFit) -> Fit:
        """The inverse of what `kept` holds."""
        said = json.loads(kept.document)
        routes = {
            Route(Modality(asked), Modality(among), VectorKind(kind)): Curve(*curve)
            for asked, among, kind, *curve in said["routes"]
        }
        return cls(
            space_id=kept.space_id,
            pairs=kept.pairs,
            asks=frozenset(Modality(one) for one in said["asks"]),
            routes=routes,
            curve=Curve(*said["curve"]),
            masked=said["masked"],
            right=said["right"],
        )

    @property
    def kept(self) -> KeptFit:
        return KeptFit(self.space_id, self.pairs, self.to_text())


def fit(
    library: Library, missing: Modality, *, k: int = 20, seed: int = 0, most: int = MASKED
) -> dict[Method, Fit]:
    """For each method, from at most `most` records that are masked; none from too few."""
    pairs = library.collection.gaps.paired(missing)
    drawn = np.random.default_rng(seed).permutation(len(pairs))[:most]
    masked = Masked(library, [pairs[n] for n in sorted(drawn.tolist())], missing, k, seed)
    if len(masked) < FEWEST:
        return {}
    seen = masked.seen()
    routes = _chosen(masked, {route: _curve(*some) for route, some in seen.items()})
    outcomes = {
        method: masked.outcome(judge, by(routes), as_lacking=True)
        for method, judge in METHODS.items()
    }
    return {
        method: Fit(
            space_id=library.collection.info.space.id,
            pairs=len(pairs),
            asks=frozenset(route.asked for route in seen),
            routes=routes,
            curve=_curve(*outcome),
            masked=len(masked),
            right=int(outcome.right.sum()),
        )
        for method, outcome in outcomes.items()
    }


def by(routes: Mapping[Route, Curve]) -> Callable[[Candidate], float]:
    """The odds that a candidate is right; 0 on a way that is not asked."""

    def weigh(candidate: Candidate) -> float:
        curve = routes.get(candidate.route)
        return 0.0 if curve is None else odds(curve(candidate.cosine))

    return weigh


def odds(p: float) -> float:
    return p / (1 - p + _NEVER_SURE)


def _chosen(masked: Masked, curves: Mapping[Route, Curve]) -> dict[Route, Curve]:
    """For each modality that may ask, by itself, the ways that set most right."""
    taken: dict[Route, Curve] = {}
    for modality in sorted({route.asked for route in curves}):
        own = {route: curve for route, curve in curves.items() if route.asked is modality}
        taken |= _worth_it(masked, own)
    return taken


def _worth_it(masked: Masked, left: dict[Route, Curve]) -> dict[Route, Curve]:
    """Ways are taken in one by one, the one that sets most right first, while more come out
    right."""
    taken: dict[Route, Curve] = {}
    most = 0.0
    while left:
        outcomes = {
            route: masked.outcome(best, by({**taken, route: curve}))
            for route, curve in left.items()
        }
        route = max(outcomes, key=lambda one: (_merit(outcomes[one]), one))
        count = int(outcomes[route].right.sum())
        if count < most + max(1.0, _WORTH_IT * len(outcomes[route].right)):
            break
        most = count
        taken[route] = left.pop(route)
    return taken


def _merit(outcome: Outcome) -> tuple[int, float]:
    """How many are right, and then how much surer the right are than the wrong."""
    sure = np.where(outcome.right, outcome.scores, -outcome.scores)
    return int(outcome.right.sum()), round(float(sure.sum()), 6)


def _curve(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> Curve:
    """A rising logistic; where scores tell nothing, how often they were right at all.

    Some that are nothing and wrong are added: without them a collection in which all came out right
    would be sure of whatever it is shown.
    """
    try:
        fitted = fit_curve(
            np.concatenate([scores, np.zeros(_ANCHORS)]),
            np.concatenate([right, np.zeros(_ANCHORS, bool)]),
        )
    except BadInput:  # none of them was right
        fitted = Curve(0.0, 0.0)
    if fitted.slope > 0:
        return fitted
    share = (float(right.sum()) + 1) / (len(right) + 2)
    return Curve(0.0, math.log(share / (1 - share)))
