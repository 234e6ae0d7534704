"""What an evaluation found: the figures of one configuration, or of two side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embed.training.evaluate import chart
from embed.training.metrics import Numbers
from rag.evaluate import summary
from rag.evaluate.outcomes import Outcome
from rag.evaluate.run import Setting
from rag.evaluate.summary import Figure

DRAWN = (
    *("recall", "right", "citation recall", "citation precision", "faithfulness"),
    *("completion accuracy", "abstention F1", "ECE", "AUROC"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Of one configuration. times: by stage, milliseconds: the median and the 95th percentile.

    risk: (coverage, risk) of the surest answers. failed: id of a question to why it failed.
    """

    setting: Setting
    questions: int
    figures: Mapping[str, Figure]
    times: Mapping[str, tuple[Figure, float]]
    risk: Sequence[tuple[float, float]]
    failed: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "configuration": self.setting.to_json(),
            "questions": self.questions,
            "figures": {name: figure.to_json() for name, figure in self.figures.items()},
            "timings_ms": {
                stage: {"median": median.to_json(), "p95": p95}
                for stage, (median, p95) in self.times.items()
            },
            "risk_coverage": [list(point) for point in self.risk],
            "failed": dict(self.failed),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One configuration, and beside it perhaps another. differences: the first minus the second,
    on the same questions."""

    data: str
    judge: str
    seed: int
    reports: tuple[Report, ...]
    differences: Mapping[str, Figure] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """What to call each: by where they differ."""
        settings = [report.setting.to_json() for report in self.reports]
        first, *others = settings
        differ = [key for key in first if any(other[key] != first[key] for other in others)]
        keys = differ or ["collection"]
        return [", ".join(_called(key, one[key]) for key in keys) for one in settings]

    def to_json(self) -> dict[str, Any]:
        return {
            "data": self.data,
            "judge": self.judge,
            "seed": self.seed,
            "configurations": [report.to_json() for report in self.reports],
            "differences": {name: gain.to_json() for name, gain in self.differences.items()},
        }

    def plot(self, path: Path) -> None:
        """The figures in [0, 1] as bars. Raises what `chart.bars` does."""
        drawn = [name for name in DRAWN if any(name in one.figures for one in self.reports)]
        unknown = Figure(value=float("nan"), low=float("nan"), high=float("nan"), of=0)
        bars = {
            name: [(f.value, f.low, f.high) for f in (one.figures.get(n, unknown) for n in drawn)]
            for name, one in zip(self.names, self.reports, strict=True)
        }
        chart.bars(
            path,
            bars,
            groups=drawn,
            title=f"{self.reports[0].questions} questions, judged by {self.judge}",
        )


def report(
    setting: Setting, outcomes: Sequence[Outcome], columns: Mapping[str, Numbers], *, seed: int = 0
) -> Report:
    """The figures of one configuration."""
    return Report(
        setting=setting,
        questions=len(outcomes),
        figures=summary.figures(columns, seed=seed),
        times=summary.times(columns, seed=seed),
        risk=summary.risk(columns),
        failed={one.question: one.failed for one in outcomes if one.failed is not None},
    )


def _called(key: str, value: object) -> str:
    if isinstance(value, bool):
        return key if value else f"no {key}"
    return f"{key} {'default' if value is None else value}"
