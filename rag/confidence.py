"""What the confidence of answers has meant so far: how often answers of such confidence were right.

A collection keeps one curve for each generator, fitted on questions whose answers are known
(`rag.evaluate.sureness`): a logistic of the log-odds of `Decision.confidence`, so that a confidence
that already means what it says is left as it is (Platt 1999; Guo et al. 2017). A curve of another
space says nothing. This file only reads, writes and applies curves.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from embed.calibration import Curve, Fit
from embed.weights.store import write_whole

log = logging.getLogger(__name__)

FORMAT = 1
FARTHEST = 7.0  # log-odds of .9991: beyond it certainty tells nothing more


def log_odds(confidence: float) -> float:
    """Of a probability in [0, 1], within what can be told apart."""
    nearest = min(max(confidence, 1e-9), 1 - 1e-9)
    return min(max(math.log(nearest / (1 - nearest)), -FARTHEST), FARTHEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence:
    """A curve for the answers of one generator about one collection. made: of what, for people."""

    space_id: str
    generator: str
    fit: Fit
    made: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, confidence: float) -> float:
        """The share of right ones among answers of this confidence. Rises with it."""
        return self.fit.curve(log_odds(confidence))

    def to_json(self) -> dict[str, Any]:
        fit = asdict(self.fit)
        fit["curve"] = list(self.fit.curve)
        told = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in fit.items()}
        return {
            "format": FORMAT,
            "space_id": self.space_id,
            "generator": self.generator,
            **told,
            "made": dict(self.made),
        }


class Confidences:
    """Those of one home, a file each for a collection and a generator."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, collection: str, space_id: str, generator: str) -> Confidence | None:
        """None where nothing was learnt, or not well, or of another space. A damaged file is told
        in the log and gives none: an answer must not fail for it."""
        path = self.path(collection, generator)
        try:
            found = _from_json(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s is no curve of answers (%s): delete it", path, error)
            return None
        usable = found.fit.refused is None and found.fit.curve.slope > 0
        return found if usable and found.space_id == space_id else None

    def keep(self, collection: str, found: Confidence) -> Path:
        """All of it or nothing. Raises StorageFull, Forbidden."""
        path = self.path(collection, found.generator)
        write_whole(path, json.dumps(found.to_json(), indent=1) + "\n")
        return path

    def path(self, collection: str, generator: str) -> Path:
        called = re.sub(r"[^A-Za-z0-9._-]+", "-", generator)[-100:]
        return self._folder / collection / f"{called}.json"


def _from_json(kept: Mapping[str, Any]) -> Confidence:
    if kept["format"] != FORMAT:
        raise ValueError(f"its format is {kept['format']!r}, and {FORMAT} is known here")
    slope, intercept = map(float, kept["curve"])
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise ValueError("its curve is no curve")
    figures = {
        name: math.nan if kept[name] is None else float(kept[name])
        for name in ("auroc", "ece", "brier", "aurc")
    }
    return Confidence(
        space_id=str(kept["space_id"]),
        generator=str(kept["generator"]),
        fit=Fit(
            curve=Curve(slope, intercept),
            count=int(kept["count"]),
            positives=int(kept["positives"]),
            refused=kept["refused"],
            **figures,
        ),
        made=dict(kept["made"]),
    )
