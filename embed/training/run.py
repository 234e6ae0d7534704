"""A run from its config to a space that can be searched in; read `loop.py` for what goes on inside.

    python -m embed.training.run CONFIG.toml [--resume]
    torchrun --nproc-per-node 2 -m embed.training.run CONFIG.toml      several processes, one run

What it leaves in [run] out: checkpoints/, metrics.jsonl, curves.png and .svg, and space/, which
`trained:OUT/space` opens. It composes the room and knows no network, no loss and no file format.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
import torch
import torch.distributed as dist

from embed.backends.bounds import SIDE
from embed.errors import BadInput, Conflict, CrossbindError
from embed.registry import LoadOptions
from embed.training import distributed, gradcache, loop, memory, plots, sharding, supply
from embed.training.checkpoint import Checkpoints, Learner, found
from embed.training.config import Config, read
from embed.training.data.source import Source
from embed.training.journal import METRICS, Journal, Told
from embed.training.journal import read as read_metrics
from embed.training.objective import ObjectiveConfig
from embed.training.optimiser import Average, Optimiser
from embed.training.options import fill
from embed.training.parts import part_specs
from embed.training.student import Limbs, save
from embed.training.ticker import ticker
from embed.training.types import Miner
from embed.types import Modality

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """The table [model], besides a table for each modality (`parts`): the space they lead to.

    name: what people call it; by default that of [run] out. licence: of the weights.
    """

    dim: int = 384
    name: str = ""
    licence: str = "not stated"

    def __post_init__(self) -> None:
        if not 1 <= self.dim <= SIDE:
            raise BadInput(f"[model] dim is {self.dim}; from 1 to {SIDE} is wanted", param="dim")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a run came to.

    space: the name that opens it. recall: by pair R@1 on held-out records. left_out: records that
    could not be read, and what the source left out. resumed_from: a step, 0 for none. seconds: of
    this call.
    """

    space: str
    steps: int
    loss: float
    recall: dict[str, float]
    left_out: int
    warnings: list[str]
    plots: list[str]
    resumed_from: int
    seconds: float


def train(
    config: Config | Path,
    tell: Callable[[Told], None],
    *,
    options: LoadOptions,
    resume: bool = False,
    source: Source | None = None,
    miner: Miner | None = None,
) -> Summary:
    """Trains what `config` asks for, and keeps it.

    In a process group, this process takes its part. tell: hears where the run stands. resume: goes
    on from the last checkpoint, if there is one; with as many threads on the same machine, to the
    bit. source: in place of the one that [data] names. miner: who knows near records, for [run]
    neighbours. Raises BadInput for a config that makes no sense, Conflict when there is a run in
    `out` already, or another one to resume, BackendFailed when numbers stop being finite.
    """
    config = read(config) if isinstance(config, Path) else config
    run, began, first = config.run, time.monotonic(), distributed.rank() == 0
    shared = sharding.wanted(run.shard)
    torch.set_num_threads(max(1, options.threads // distributed.world()))
    device = _device()

    learnt, held_out = supply.parted(config, source, options)
    folder = run.out / "checkpoints"
    if found(folder) and not resume:
        raise Conflict(f"a run is in {run.out} already: resume it, or choose another [run] out")
    student, learner = _learner(config, learnt, options, device)
    kept = Checkpoints(folder, supply.asked(config, learnt, student), keep=run.keep)
    start = _start(kept, learner)
    near = supply.neighbours(run, learnt, miner, start)
    batches = supply.batches(config, learnt, student, near, device)
    steps = run.steps or max(1, round((run.epochs or 0) * batches.per_epoch / run.accumulate))
    journal = Journal(
        run.out,
        start=start,
        steps=steps,
        tell=tell if first else _silent,
        tensorboard=run.tensorboard,
        writes=first,
    )
    fed = sharding.Alike(batches, student.modalities, run.chunk, device) if shared else batches

    def keep(step: int) -> None:
        if first:
            kept.save(learner, step)
        elif shared:
            learner.state()  # gives its shares

    try:
        with memory.held():
            loop.train(
                learner,
                fed,
                run,
                journal,
                start=start,
                steps=steps,
                evaluate=supply.evaluation(held_out, student, device)
                if (first or shared) and len(held_out)
                else None,
                save=(lambda step: kept.save(learner, step))
                if first
                else lambda _: learner.state() if shared else None,
            )
    finally:
        journal.close()
        drawn = _drawn(run.out) if first else []
    lines = read_metrics(run.out / METRICS)
    recall = _last(lines, "recall", {})
    made = {"steps": steps, "recall": recall}
    if shared:
        whole = _gathered(config, learner, learnt, options)
        if first:
            _keep(config, whole, made)
    elif first:
        with learner.average.applied():
            _keep(config, student, made)
    return Summary(
        space=f"trained:{run.out / 'space'}",
        steps=steps,
        loss=_last(lines, "loss", math.nan),
        recall=recall,
        left_out=len(batches.failures) + len(learnt.failures),
        warnings=list(journal.warnings.values()),
        plots=[str(path) for path in drawn],
        resumed_from=start,
        seconds=round(time.monotonic() - began, 1),
    )


def _learner(
    config: Config, learnt: Source, options: LoadOptions, device: torch.device
) -> tuple[Limbs, Learner]:
    student = _student(config, learnt, options).to(device)
    asked = ObjectiveConfig.of(config.objective)
    terms = asked.terms(student, learnt, options)
    objective = asked.objective(student.modalities, terms).to(device)
    if config.run.chunk:
        gradcache.refuse_batch_norm(student)
    if sharding.wanted(config.run.shard):
        sharding.share_out((limb for _, limb in student.parts()), device)
    optimiser = Optimiser(student, objective, config.optimiser)
    return student, Learner(student, objective, optimiser, Average(student, config.optimiser.ema))


def _student(config: Config, learnt: Source, options: LoadOptions) -> Limbs:
    specs, dim = part_specs(config.model), _model(config).dim
    torch.manual_seed(config.run.seed)
    return Limbs.of(specs, dim, options, captions=supply.captions(learnt))


def _start(kept: Checkpoints, learner: Learner) -> int:
    """The step that the learner stands at, once it is as the last checkpoint has it."""
    last = kept.last()
    if last is None:
        return 0
    start, state = last
    learner.restore(state)
    return start


@torch.no_grad()
def _gathered(config: Config, learner: Learner, learnt: Source, options: LoadOptions) -> Limbs:
    """A whole student, off the device, with what a shared one has learnt; the average if any."""
    state = learner.state()
    learned = state["student"] | state["average"]
    student = _student(config, learnt, options)
    for name, value in (
        *student.named_parameters(prefix="student"),
        *student.named_buffers(prefix="student"),
    ):
        if name in learned:
            value.copy_(learned[name])
    return student


def _keep(config: Config, student: Limbs, reached: Mapping[str, Any]) -> None:
    """Writes the trained space."""
    model = _model(config)
    save(
        student,
        config.run.out / "space",
        name=model.name or config.run.out.name,
        licence=model.licence,
        made={"config": config.plain(), **reached},
    )


def _model(config: Config) -> ModelOptions:
    limbs = {modality.value for modality in Modality}
    rest = {key: value for key, value in config.model.items() if key not in limbs}
    return fill(ModelOptions, rest, "model")


def _drawn(out: Path) -> list[Path]:
    """The curves; a run does not fail for want of them."""
    try:
        return plots.draw(out)
    except CrossbindError as error:
        log.warning("no curves: %s", error.message)
        return []


def _last(lines: Sequence[dict[str, Any]], key: str, default: Any) -> Any:
    return next((line[key] for line in reversed(lines) if key in line), default)


def _silent(_: object) -> None:
    """What processes but the first say and write."""


def _device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", dist.get_node_local_rank(0))


def main() -> int:
    parser = argparse.ArgumentParser(description="Train a joint space.")
    parser.add_argument("config", type=Path, help="a TOML: see docs/TRAINING.md")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(platformdirs.user_cache_path("crossbind")),
        help="folder for derived weights",
    )
    parser.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="cores in use, in all"
    )
    args = parser.parse_args()
    options = LoadOptions(cache=args.cache, threads=args.threads)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        with distributed.processes(), ticker(sys.stderr) as tell:
            summary = train(args.config, tell, options=options, resume=args.resume)
            if distributed.rank() == 0:
                print(json.dumps(dataclasses.asdict(summary), indent=2))
    except CrossbindError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    status = main()
    if dist.is_torchelastic_launched():
        distributed.leave(status)
    sys.exit(status)
