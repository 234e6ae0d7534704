"""What a run tells while it goes on, and what it notices early.

    OUT/metrics.jsonl
        {"step": 10, "loss": …, "parts": {…}, "scales": {…}, "grad_norm": …, "lr": …,
         "samples_per_s": …}                                               every `log_every` steps
        {"step": 100, "recall": {pair: R@1}, "r1": …, "unmatched": …}      every `eval_every`
        {"step": 100, "warning": "…", "kind": "…"}                         once a kind

One line an event, flushed; a resumed run cuts what lies beyond its checkpoint, so that the curve is
that of a run never interrupted. It knows no network, no data and no optimiser.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from embed.errors import BackendFailed, MissingDependency
from embed.training.files import writing
from embed.training.probe import Standing

log = logging.getLogger(__name__)

METRICS = "metrics.jsonl"

COLD = 1 / 99  # objectives keep a temperature at 1/100 or above (CLIP, section 2.5)
ALIKE = 0.95  # mean cosine of unmatched pairs
FALLEN = 0.8  # of the first loss: what counts as learning
PATIENCE = 3  # evaluations before R@1 at chance means anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Where a run stands, for people to watch. r1, in [0, 1], as last measured; note: a warning."""

    step: int
    steps: int
    loss: float
    scales: Mapping[str, float]
    grad_norm: float
    samples_per_s: float
    seconds_left: float
    r1: float | None = None
    note: str | None = None


@dataclass(slots=True)
class _Window:
    """The steps since the last line: what came out of each, still on its device."""

    steps: list[int] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    norms: list[Tensor] = field(default_factory=list)
    records: int = 0
    seconds: float = 0.0


class Journal:
    """Writes metrics.jsonl, and TensorBoard's files where asked; tells `tell`; warns and stops."""

    def __init__(
        self,
        folder: Path,
        *,
        start: int,
        steps: int,
        tell: Callable[[Told], None],
        tensorboard: bool = False,
        writes: bool = True,
    ) -> None:
        """start: the step of the checkpoint that is gone on from, 0 for none.

        writes: False in all processes but the first, which only watch. Raises MissingDependency.
        """
        self.path = folder / METRICS
        self.warnings: dict[str, str] = {}
        self.r1: float | None = None
        self.loss = math.nan
        self._steps = steps
        self._tell = tell
        self._window = _Window()
        self._writes = writes
        self._first_loss: float | None = None
        self._evaluations = 0
        self._news: str | None = None
        if writes:
            self._take_up(start)
        self._board = _board(folder, start) if tensorboard and writes else None

    def note(self, step: int, loss: Tensor, norm: Tensor, *, records: int, seconds: float) -> None:
        """After each step; waits for no device."""
        window = self._window
        window.steps.append(step)
        window.losses.append(loss.detach())
        window.norms.append(norm.detach())
        window.records += records
        window.seconds += seconds

    def check(self) -> None:
        """Raises BackendFailed, naming the step, where a loss or a gradient is not finite: so no
        checkpoint ever holds what comes of it. Waits for the device."""
        window = self._window
        if not window.steps:
            return
        losses, norms = torch.stack(window.losses).tolist(), torch.stack(window.norms).tolist()
        for step, loss, norm in zip(window.steps, losses, norms, strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise BackendFailed(
                    f"step {step}: the loss is {loss:.4g} and the gradient norm {norm:.4g}, so "
                    "the run stops; what was saved before is whole. Try a lower [optimiser] lr, a "
                    'longer warmup, a smaller clip, or precision = "fp32", and look for numbers '
                    "that are not finite in the data"
                )

    def log(
        self, step: int, parts: Mapping[str, Tensor], scales: Mapping[str, float], rate: float
    ) -> None:
        """Writes and tells one line about `step`. Raises as `check`."""
        self.check()
        window, self._window = self._window, _Window()
        self.loss, norm = float(window.losses[-1]), float(window.norms[-1])
        self._first_loss = self.loss if self._first_loss is None else self._first_loss
        speed = window.records / window.seconds
        self._write(
            step=step,
            loss=self.loss,
            parts={name: float(part) for name, part in parts.items()},
            scales=dict(scales),
            grad_norm=norm,
            lr=rate,
            samples_per_s=round(speed, 1),
        )
        self._warn_of_scales(step, scales)
        if not any(map(float, window.norms)):
            self._warn(
                step,
                "nothing",
                "nothing is learnt: the gradient is 0. No two records of a batch have both media "
                "of a pair; look at what [data] gives, and whether captions are found",
            )
        self._tell(
            Told(
                step=step,
                steps=self._steps,
                loss=self.loss,
                scales=scales,
                grad_norm=norm,
                samples_per_s=speed,
                seconds_left=window.seconds / len(window.steps) * (self._steps - step),
                r1=self.r1,
                note=self._news,
            )
        )
        self._news = None

    def evaluated(self, step: int, standing: Standing) -> None:
        """Writes how the held-out records are found, and warns of collapse."""
        self.r1 = standing.r1
        self._evaluations += 1
        self._write(
            step=step, recall=dict(standing.recall), r1=standing.r1, unmatched=standing.unmatched
        )
        if standing.unmatched > ALIKE:
            self._warn(
                step,
                "alike",
                f"vectors of different things have cosine {standing.unmatched:.3f} in the mean: "
                "the space has collapsed to a point. Try a lower lr, a longer warmup, a larger "
                "batch",
            )
        first = self._first_loss
        falling = first is not None and self.loss < FALLEN * first
        if falling and self._evaluations >= PATIENCE and standing.r1 <= 2 * standing.chance:
            self._warn(
                step,
                "chance",
                f"the loss fell from {first:.3g} to {self.loss:.3g} and R@1 is {standing.r1:.3f}, "
                "which is chance: the loss is won without telling things apart. Check that the "
                "media of a record belong together; with the sigmoid loss, check its bias",
            )

    def close(self) -> None:
        """Hands what TensorBoard still holds to the disk."""
        if self._board:
            self._board.close()

    def _warn_of_scales(self, step: int, scales: Mapping[str, float]) -> None:
        for name, value in scales.items():
            if name.startswith("temperature") and value <= COLD:
                self._warn(
                    step,
                    name,
                    f"the {name} is at its end, 1/100: the loss asks for sharper vectors than "
                    "there are. Try a lower lr or a larger batch; look for repeated records",
                )

    def _warn(self, step: int, kind: str, text: str) -> None:
        if kind not in self.warnings:
            self.warnings[kind] = self._news = text
            self._write(step=step, warning=text, kind=kind)

    def _write(self, **line: Any) -> None:
        if not self._writes:
            return
        with writing(self.path.parent), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._board:
            for name, value in _scalars(line):
                self._board.add_scalar(name, value, line["step"])

    def _take_up(self, start: int) -> None:
        """Cuts what lies beyond step `start`, and remembers what was known by then."""
        with writing(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = [line for line in read(self.path) if line["step"] <= start]
        fresh = self.path.with_suffix(".tmp")
        with writing(self.path.parent):
            fresh.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
            fresh.replace(self.path)
        for line in kept:
            if "warning" in line:
                self.warnings[line["kind"]] = line["warning"]
            self._evaluations += "recall" in line
            self.r1 = line.get("r1", self.r1)
            if self._first_loss is None:
                self._first_loss = line.get("loss")


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; a last one that was cut short by a kill is left out."""
    if not path.is_file():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            log.warning("%s: a line that was cut short is left out", path)
    return lines


def _board(folder: Path, start: int) -> Any:
    """TensorBoard's writer. Raises MissingDependency."""
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 (loads tensorboard)
    except ImportError as error:
        raise MissingDependency(
            "[run] tensorboard = true needs TensorBoard: pip install 'crossbind[train]'"
        ) from error
    return SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1 if start else None)


def _scalars(line: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in line.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and key != "step":
            yield f"{prefix}{key}", value
