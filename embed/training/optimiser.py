"""Who moves the weights, how far, and where their average goes.

AdamW (Loshchilov and Hutter, 2019) without decay on vectors: biases, gains of norms, temperatures
(CLIP; SPECS §3). Rates as pure functions of the step, so that a resumed run needs no memory of
them. Layer decay as in BEiT (Bao et al., 2022, appendix H). It knows no network and no data.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from embed.errors import BadInput
from embed.training import distributed, sharding
from embed.training.options import at_least

_BLOCK = re.compile(r"\.(\d+)(?:\.|$)")
_PART = 3  # student.limbs.image: what comes after is within one network


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimiserOptions:
    """The table [optimiser].

    lr: at its highest, after `warmup` steps. floor: the share of it that cosine ends at. decay: of
    weights. layer_decay: each block below the top of its network learns this much slower than the
    next; 1 for alike. rates: factors of lr for parameters by the beginning of their names. clip:
    the longest gradient, over all parameters; 0 for any. ema: decay of the average of the weights
    that is evaluated and saved; 0 for none.
    """

    lr: float = 1e-3
    schedule: Literal["cosine", "constant", "inverse-sqrt"] = "cosine"
    warmup: int = 100
    floor: float = 0.0
    decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6
    layer_decay: float = 1.0
    rates: Mapping[str, float] = field(default_factory=dict)
    clip: float = 1.0
    ema: float = 0.0

    def __post_init__(self) -> None:
        for name in ("warmup", "decay", "clip"):
            at_least(f"[optimiser] {name}", getattr(self, name), 0)
        for prefix, factor in self.rates.items():
            at_least(f"[optimiser] rates.{prefix}", factor, 0)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise BadInput(f"[optimiser] betas are {self.betas}; from 0 to below 1 is wanted")
        for name, value in (("lr", self.lr), ("eps", self.eps), ("layer_decay", self.layer_decay)):
            if not 0 < value < math.inf:
                raise BadInput(f"[optimiser] {name} is {value}; more than 0 is wanted", param=name)
        for name, value in (("floor", self.floor), ("ema", self.ema)):
            if not 0 <= value < 1:
                raise BadInput(f"[optimiser] {name} is {value}; from 0 to below 1 is wanted")


def rate_at(step: int, steps: int, options: OptimiserOptions) -> float:
    """The learning rate of step `step` in 1…`steps`: a line up to `lr`, then the schedule."""
    warmup = min(options.warmup, steps)
    if step <= warmup:
        return options.lr * step / warmup
    if options.schedule == "inverse-sqrt":
        return options.lr * math.sqrt(max(warmup, 1) / step)
    if options.schedule == "constant":
        return options.lr
    done = (step - warmup) / max(steps - warmup, 1)
    return options.lr * (options.floor + (1 - options.floor) * (1 + math.cos(math.pi * done)) / 2)


class Optimiser:
    """AdamW over what may be trained of a student and its objective, its gradients clipped."""

    def __init__(self, student: nn.Module, objective: nn.Module, options: OptimiserOptions) -> None:
        """Raises BadInput when nothing may be trained, or a name in `rates` is of no parameter."""
        self.options = options
        self.named = dict(_trainable("student", student)) | dict(_trainable("objective", objective))
        if not any(name.startswith("student.") for name in self.named):
            raise BadInput("every part of [model] is locked: there is nothing to train")
        self.adam = torch.optim.AdamW(
            _groups(self.named, options), betas=options.betas, eps=options.eps, fused=True
        )

    @property
    def parameters(self) -> list[nn.Parameter]:
        """In an order that every process shares."""
        return list(self.named.values())

    def step(self, rate: float) -> Tensor:
        """One step at `rate` along the gradients, which are then gone. Their norm, before clip."""
        norm = sharding.clip(self.parameters, self.options.clip or math.inf)
        for group in self.adam.param_groups:
            group["lr"] = rate * group["factor"]
        self.adam.step()
        self.adam.zero_grad()
        return norm

    def state(self) -> dict[str, Tensor]:
        """What it remembers, by `NAME/KEY`: moments and counts, whole."""
        return {
            f"{name}/{key}": sharding.whole(value)
            for name, parameter in self.named.items()
            for key, value in self.adam.state.get(parameter, {}).items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of `state`."""
        for key, value in state.items():
            name, _, kind = key.rpartition("/")
            parameter = self.named[name]
            # the fused step reads moments in the order of the weight's own memory
            like = parameter if value.ndim else value
            laid_out = torch.empty_like(like, device=parameter.device).detach()
            sharding.put(laid_out, value)
            self.adam.state[parameter][kind] = laid_out


class Average:
    """The exponential moving average of weights (Polyak), which is evaluated and saved.

    Its decay warms up as (1 + t) / (10 + t), so that the first, random weights are soon forgotten.
    """

    def __init__(self, student: nn.Module, decay: float) -> None:
        self.decay = decay
        self._live = dict(_trainable("student", student)) if decay else {}
        self.weights = {name: value.detach().clone() for name, value in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After step `step`, counted from 1."""
        if self.weights:
            weight = 1 - min(self.decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(list(self.weights.values()), list(self._live.values()), weight)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The student carries the average while the context lasts."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, mean in self.weights.items():
            live = self._live[name]
            kept = live.clone()
            live.copy_(mean)
            mean.copy_(kept)


def _trainable(prefix: str, module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            yield f"{prefix}.{name}", parameter


def _groups(named: Mapping[str, Tensor], options: OptimiserOptions) -> list[dict[str, Any]]:
    """Parameters that share a factor of the rate and a decay, and are whole or are not."""
    factors = _factors(list(named), options)
    groups: dict[tuple[float, float, bool], list[Tensor]] = {}
    for name, parameter in named.items():
        decayed = parameter.ndim > 1 and name.startswith("student.")
        key = (factors[name], options.decay if decayed else 0.0, distributed.is_share(parameter))
        groups.setdefault(key, []).append(parameter)
    return [
        {"params": params, "factor": factor, "weight_decay": decay}
        for (factor, decay, _), params in groups.items()
    ]


def _factors(names: Sequence[str], options: OptimiserOptions) -> dict[str, float]:
    """By name the factor of the rate. Raises BadInput for one in `rates` that nothing has."""
    short = {name: name.removeprefix("student.") for name in names}
    for prefix in options.rates:
        if not any(one.startswith(prefix) for one in short.values()):
            heads = sorted({".".join(one.split(".")[:2]) for one in short.values()})
            raise BadInput(
                f"[optimiser] rates names {prefix!r}, and no parameter begins so; they begin: "
                f"{', '.join(heads)}"
            )
    depths = _below_top(names) if options.layer_decay != 1 else dict.fromkeys(names, 0)
    return {
        name: options.layer_decay ** depths[name]
        * math.prod(value for prefix, value in options.rates.items() if one.startswith(prefix))
        for name, one in short.items()
    }


def _below_top(names: Sequence[str]) -> dict[str, int]:
    """By name how many blocks lie above, in the same part of the student.

    A block's number is the first in its name. What is unnumbered lies under the blocks when it is
    registered before them (stems), else above (heads).
    """
    levels: dict[str, dict[str, int]] = {}
    blocks: dict[str, int] = {}
    for name in names:
        part = ".".join(name.split(".")[:_PART])
        block = _BLOCK.search(name)
        if block:
            blocks[part] = max(blocks.get(part, 0), int(block[1]) + 1)
        above = blocks[part] + 1 if part in blocks else 0
        levels.setdefault(part, {})[name] = int(block[1]) + 1 if block else above
    return {
        name: max(part.values()) - level for part in levels.values() for name, level in part.items()
    }
