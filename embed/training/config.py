"""The TOML of a run, read and checked before anything heavy starts.

Five tables: [run] and [optimiser] are read here; [data], [model] and [objective] are the business
of the rooms that build them and pass through as they stand. Relative paths begin at the working
folder, as on a command line. It builds nothing.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from embed.errors import BadInput, NotFound
from embed.training.optimiser import OptimiserOptions
from embed.training.options import Table, at_least, fill

TABLES = ("run", "data", "model", "objective", "optimiser")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The table [run].

    out: folder of checkpoints, logs, plots and the trained space. steps, epochs: how long; one of
    the two. batch: records that meet in one loss, over all processes. accumulate: batches a step,
    their losses averaged; negatives do not cross them. chunk: records that a network reads at once
    where a batch is larger than memory (GradCache); 0 for all. precision: of the networks; losses
    are always fp32. workers: processes that prepare media; 0 for none. augment: random crops and
    the like. cache: MiB of prepared media kept from the first epoch, where nothing is augmented.
    held_out: records that R@1 is measured on, never trained on. neighbours: near records put into
    a batch beside each, where the run has a miner. shard: weights, gradients and moments lie shared
    out over the processes (FSDP2), for towers too large for one. keep: checkpoints.
    """

    out: Path
    seed: int = 0
    steps: int | None = None
    epochs: float | None = None
    batch: int = 256
    accumulate: int = 1
    chunk: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    workers: int = 0
    augment: bool = True
    cache: int = 0
    held_out: int = 256
    neighbours: int = 0
    shard: bool = False
    log_every: int = 10
    eval_every: int = 100
    save_every: int = 500
    keep: int = 3
    tensorboard: bool = False

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise BadInput("[run] says how long: steps = 1000 or epochs = 10, one of the two")
        if self.epochs is not None and not 0 < self.epochs < math.inf:
            raise BadInput(f"[run] epochs is {self.epochs}; more than 0 is wanted")
        for name in ("steps", "accumulate", "log_every", "eval_every", "save_every", "keep"):
            at_least(f"[run] {name}", getattr(self, name), 1)
        for name in ("seed", "chunk", "workers", "cache", "held_out", "neighbours"):
            at_least(f"[run] {name}", getattr(self, name), 0)
        if self.seed >= 2**63:  # what torch takes
            raise BadInput(f"[run] seed is {self.seed}; less than 2^63 is wanted", param="seed")
        at_least("[run] batch", self.batch, 2)  # a contrastive loss needs another to tell from
        if self.cache and (self.augment or self.workers):
            raise BadInput(
                "[run] cache keeps media as they were first prepared: it goes with augment = false "
                "and workers = 0"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole run. The three tables that others read are kept as they were written."""

    run: RunOptions
    data: Table = field(default_factory=dict)
    model: Table = field(default_factory=dict)
    objective: Table = field(default_factory=dict)
    optimiser: OptimiserOptions = field(default_factory=OptimiserOptions)

    def plain(self) -> dict[str, Any]:
        """As JSON has it, every default spelt out: what a checkpoint remembers."""
        tables = {name: getattr(self, name) for name in ("data", "model", "objective")}
        tables["run"] = dataclasses.asdict(self.run)
        tables["optimiser"] = dataclasses.asdict(self.optimiser)
        plain: dict[str, Any] = _plain(tables)
        return plain


def read(path: Path) -> Config:
    """The config at `path`. Raises NotFound, BadInput."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NotFound(f"the config {path} cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is no TOML: {error}") from error
    return config_of(document)


def config_of(document: Table) -> Config:
    """A config from its tables. Raises BadInput."""
    for name, table in document.items():
        if name not in TABLES:
            raise BadInput(
                f"a config has no table [{name}]; the tables are: {', '.join(TABLES)}", param=name
            )
        if not isinstance(table, Mapping):
            raise BadInput(f"{name} is {table!r}; a table [{name}] is wanted", param=name)
    return Config(
        run=fill(RunOptions, document.get("run", {}), "run"),
        data=document.get("data", {}),
        model=document.get("model", {}),
        objective=document.get("objective", {}),
        optimiser=fill(OptimiserOptions, document.get("optimiser", {}), "optimiser"),
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
