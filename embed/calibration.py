"""From a cosine to the probability that an answer is the one that was looked for.

Raw cosines differ by pair of modalities: .3 between a text and a picture may be a match where .6
between two texts is none. For each pair (what was asked with, what was found) a logistic of the
cosine says p = P(relevant | returned among the first 10):

    p = 1 / (1 + exp(-(slope · cosine + intercept))),    slope > 0

fitted by Newton's method on smoothed targets (Platt, 1999; Lin, Lin and Weng, 2007), so that a few
perfect answers do not become certainty. A pair that could not be fitted well is kept with the
reason, and gives no probability.

It knows no model and no index; what it is fitted on is `embed.training.evaluate`'s business.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embed.errors import BadInput, SpaceMismatch
from embed.types import Modality, Space
from embed.weights.store import write_whole

log = logging.getLogger(__name__)

FORMAT = 1
AMONG = 10  # the first so many answers are what a probability is about
SHIPPED = Path(__file__).parent / "weights" / "heads" / "builtin-calibration.json"

_FIGURES = ("auroc", "ece", "brier", "aurc")
_NEWTON_STEPS = 100
_ENOUGH = 1e-10


class Pair(NamedTuple):
    """What was asked with, what was found. native: compared in the tower's own vectors."""

    query: Modality
    item: Modality
    native: bool = False

    def __str__(self) -> str:
        return f"{self.query}-{self.item}" + (" (native)" if self.native else "")


class Curve(NamedTuple):
    """A logistic of the cosine."""

    slope: float
    intercept: float

    def __call__(self, cosine: float) -> float:
        """Raises BadInput for a cosine that is no number."""
        height = self.slope * cosine + self.intercept
        if math.isnan(height):
            raise BadInput(f"the cosine is {cosine!r}; a number is wanted")
        if height >= 0:
            return 1.0 / (1.0 + math.exp(-height))
        grown = math.exp(max(height, -700.0))
        return grown / (1.0 + grown)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A pair's curve and how it did on answers it was not fitted on.

    count: answers seen, `positives` of them relevant. auroc, ece, brier, aurc: in [0, 1], NaN where
    they cannot be told; an ECE says something from an AUROC of .85. refused: why the curve is not
    to be used, None where it is.
    """

    curve: Curve
    count: int
    positives: int
    auroc: float = math.nan
    ece: float = math.nan
    brier: float = math.nan
    aurc: float = math.nan
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Calibration:
    """The curves of one space. made: of what and how, for people."""

    space_id: str
    fits: Mapping[Pair, Fit]
    made: Mapping[str, Any] = field(default_factory=dict)

    def curve(self, pair: Pair) -> Curve | None:
        """None for a pair that was not fitted, or not well."""
        fit = self.fits.get(pair)
        return fit.curve if fit is not None and fit.refused is None else None

    def probability(
        self, query: Modality, item: Modality, cosine: float, *, native: bool = False
    ) -> float | None:
        """In [0, 1], rising with the cosine; None without a curve. Raises BadInput for NaN."""
        curve = self.curve(Pair(query, item, native))
        return None if curve is None else curve(cosine)

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "space_id": self.space_id,
            "among": AMONG,
            "made": dict(self.made),
            "pairs": [_fit_to_json(pair, fit) for pair, fit in sorted(self.fits.items())],
        }

    def write(self, path: Path) -> None:
        """All of it or nothing. Raises StorageFull, Forbidden."""
        write_whole(path, json.dumps(self.to_json(), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path, space_id: str | None = None) -> Calibration:
        """Raises BadInput for a file that is none of ours, SpaceMismatch for another space's."""
        try:
            found = cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadInput(
                f"{path} is no calibration ({error}): delete it, and run crossbind calibrate again"
            ) from error
        if space_id not in (None, found.space_id):
            raise SpaceMismatch(
                f"{path} was fitted for {found.space_id}, and this is {space_id}, whose cosines "
                "mean something else: run crossbind calibrate again"
            )
        return found

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Calibration:
        """The inverse of `to_json`. Raises ValueError, KeyError, TypeError."""
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}, and {FORMAT} is known here")
        fits = dict(_fit_from_json(entry) for entry in document["pairs"])
        return cls(str(document["space_id"]), fits, dict(document["made"]))


def fit_curve(cosines: NDArray[Any], relevant: NDArray[np.bool_]) -> Curve:
    """The logistic of `(N,)` cosines that maximises the likelihood of Platt's targets.

    The slope is as the data have it, below 0 too: judging it is the caller's business.
    Raises BadInput for NaN, for one kind of answer only, or for cosines that are all the same.
    """
    x = np.asarray(cosines, np.float64)
    positives = int(relevant.sum())
    negatives = len(x) - positives
    if not np.isfinite(x).all():
        raise BadInput("a cosine is not a finite number")
    if not positives or not negatives:
        raise BadInput(f"{positives} answers are relevant and {negatives} are not; both are needed")
    mean, spread = float(x.mean()), float(x.std())
    if spread < 1e-9:
        raise BadInput(f"all cosines are {mean:.4g}, so they tell nothing")
    high, low = (positives + 1) / (positives + 2), 1 / (negatives + 2)
    weight, bias = _newton((x - mean) / spread, np.where(relevant, high, low))
    return Curve(weight / spread, bias - weight * mean / spread)


def _newton(x: NDArray[np.float64], targets: NDArray[np.float64]) -> tuple[float, float]:
    """Weight and bias of the logistic of x that is nearest to `targets` in cross-entropy."""
    rows = np.stack([x, np.ones_like(x)], axis=1)
    at = np.array([0.0, math.log(targets.mean() / (1 - targets.mean()))])
    loss = _cross_entropy(rows @ at, targets)
    for _ in range(_NEWTON_STEPS):
        p = 1 / (1 + np.exp(-np.clip(rows @ at, -500, 500)))
        gradient = rows.T @ (p - targets)
        curvature = (rows * (p * (1 - p))[:, None]).T @ rows + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while (new := _cross_entropy(rows @ (at - size * step), targets)) > loss and size > 1e-8:
            size /= 2
        at, gain, loss = at - size * step, loss - new, min(new, loss)
        if gain < _ENOUGH:
            break
    return float(at[0]), float(at[1])


def _cross_entropy(heights: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    return float((np.logaddexp(0, heights) - targets * heights).sum())


class Calibrations:
    """Those of one home, by space: a file each, read again when it has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[tuple[Path, str], tuple[tuple[int, int], Calibration | None]] = {}

    def of(self, space: Space) -> Calibration | None:
        """The home's own, and of the built-in space the pairs of the one that ships besides.

        None without either. A damaged file is told in the log and gives none: a search must not
        fail for it.
        """
        own = self._read(self.path(space), space)
        shipped = self._read(SHIPPED, space) if space.name == "builtin" else None
        if own is None or shipped is None:
            return own or shipped
        judged = {pair: fit for pair, fit in own.fits.items() if not math.isnan(fit.auroc)}
        return replace(own, fits={**shipped.fits, **judged})

    def keep(self, calibration: Calibration, space: Space) -> Path:
        """Writes it where `of` looks first. Raises SpaceMismatch."""
        if calibration.space_id != space.id:
            raise SpaceMismatch(f"this calibration is of {calibration.space_id}, not {space.id}")
        path = self.path(space)
        calibration.write(path)
        return path

    def path(self, space: Space) -> Path:
        """Where a space's own calibration lies. Its name may hold slashes; its digest does not."""
        name, _, digest = space.id.rpartition("@")
        return self._folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name)[-100:]}@{digest}.json"

    def _read(self, path: Path, space: Space) -> Calibration | None:
        try:
            status = path.stat()
        except OSError:
            return None
        stamp = (status.st_mtime_ns, status.st_size)
        known = self._known.get((path, space.id))
        if known is None or known[0] != stamp:
            known = self._known[path, space.id] = (stamp, _of_space(path, space))
        return known[1]


def _of_space(path: Path, space: Space) -> Calibration | None:
    try:
        return Calibration.read(path, space.id)
    except SpaceMismatch:
        return None  # the one that ships, beside weights that have changed since
    except BadInput as error:
        log.warning("%s", error.message)
        return None


def _fit_to_json(pair: Pair, fit: Fit) -> dict[str, Any]:
    return {
        "query": pair.query.value,
        "item": pair.item.value,
        "native": pair.native,
        "slope": fit.curve.slope,
        "intercept": fit.curve.intercept,
        "count": fit.count,
        "positives": fit.positives,
        **{name: _number(getattr(fit, name)) for name in _FIGURES},
        "refused": fit.refused,
    }


def _fit_from_json(entry: Mapping[str, Any]) -> tuple[Pair, Fit]:
    pair = Pair(Modality(entry["query"]), Modality(entry["item"]), bool(entry["native"]))
    curve = Curve(float(entry["slope"]), float(entry["intercept"]))
    if not all(map(math.isfinite, curve)) or (entry["refused"] is None and curve.slope <= 0):
        raise ValueError(f"the curve of {pair} has slope {curve.slope}")
    told = {name: math.nan if entry[name] is None else float(entry[name]) for name in _FIGURES}
    return pair, Fit(
        curve=curve,
        count=int(entry["count"]),
        positives=int(entry["positives"]),
        refused=entry["refused"],
        **told,
    )


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
