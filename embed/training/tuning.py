"""Towers that are trained on: all of them, their last blocks, or beside their layers (LoRA).

What takes part is found by trying: the network runs once on its own examples, and what then has a
gradient can be learnt. So a tower may hold the other half of its model, which is frozen and never
written. LoRA is peft's (Hu et al., 2022) on every linear layer that runs, and is added into the
layers when they are kept.

It knows no model, only that it gives its network away (`Encoder.network`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from embed.backends.packed import called
from embed.backends.recipes import Network
from embed.backends.tower import Encoder
from embed.backends.trained import encoders, networks
from embed.backends.trained.manifest import Base, Tuned
from embed.errors import BadInput, MissingDependency
from embed.training.files import Files
from embed.training.limb import Limb, head_of
from embed.training.parts import TunedSpec
from embed.training.ready import EncoderHalf
from embed.types import Modality

ADAPTER = "default"


class Grown(Limb):
    """A tower's network, trained as its spec says, and a head where one is needed."""

    def __init__(
        self, like: Encoder[Any], network: Network, base: Base, spec: TunedSpec, dim: int
    ) -> None:
        """like: the encoder that prepares. Raises BadInput, MissingDependency."""
        super().__init__(EncoderHalf(encoders.light(like), network.recipe), spec)
        self.base = base
        module = network.module.float().requires_grad_(True)
        examples = tuple(torch.from_numpy(array) for array in network.inputs.values())
        with called(module) as seen:
            width = _tried(module, examples)
        if spec.last:
            _tried(module, examples, _block(module, seen, spec.last))
        self.beside = _beside(module, seen, spec.lora) if spec.lora else ()
        self.whole = networks.Onward(module, head_of(spec.head, width, dim))

    def forward(self, *inputs: Tensor) -> Tensor:
        rows: Tensor = self.whole(*inputs)
        return rows

    @property
    def basis(self) -> str:
        return f"{self.base.space} {self.base.revision}"

    def train(self, mode: bool = True) -> Grown:
        """BatchNorm stays as it was learnt: a row must not depend on its neighbours."""
        super().train(mode)
        for layer in self.modules():
            if isinstance(layer, _BatchNorm):
                layer.eval()
        return self

    def kept(self, modality: Modality, files: Files) -> Tuned:
        tensors = _prefixed("head", self.whole.head.state_dict())
        tensors |= _prefixed("network", self._changed())
        return Tuned(base=self.base, weights=files.tensors(modality, tensors))

    def _changed(self) -> dict[str, Tensor]:
        network = self.whole.network
        if not self.beside:
            named = network.named_parameters()
            return {name: value for name, value in named if value.requires_grad}
        layers = {name: network.get_submodule(name) for name in self.beside}
        return {f"{name}.weight": _merged(layer) for name, layer in layers.items()}


def _tried(module: nn.Module, examples: Sequence[Tensor], start: nn.Module | None = None) -> int:
    """Freezes what gets no gradient from the examples; how wide the rows are.

    start: a layer before which nothing is trained.
    """
    with _from(start) if start else nullcontext():
        found = module(*examples)
    rows: Tensor = found[0] if isinstance(found, tuple) else found
    torch.autograd.backward(rows.square().sum())
    for parameter in module.parameters():
        parameter.requires_grad_(parameter.grad is not None)
        parameter.grad = None
    return rows.shape[1]


def _block(module: nn.Module, seen: set[nn.Module], last: int) -> nn.Module:
    """The first of the last blocks, of the longest row of layers of one kind that all learn."""
    rows = [
        blocks
        for part in module.modules()
        if isinstance(part, nn.ModuleList | nn.Sequential)
        for blocks in [list(part)]
        if len({type(block) for block in blocks}) == 1
        and all(block in seen and _learns(block) for block in blocks)
    ]
    longest = max(rows, key=len, default=[])
    if last > len(longest):
        raise BadInput(
            f"last is {last} and this tower has {len(longest)} blocks in a row", param="last"
        )
    return longest[-last]


def _learns(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


@contextmanager
def _from(block: nn.Module) -> Iterator[None]:
    """Nothing that runs before `block` gets a gradient."""

    def begin(*_: Any) -> None:
        torch.set_grad_enabled(True)

    handle = block.register_forward_pre_hook(begin)
    try:
        with torch.no_grad():
            yield
    finally:
        handle.remove()


def _beside(module: nn.Module, seen: set[nn.Module], rank: int) -> tuple[str, ...]:
    """Puts LoRA beside every linear layer that ran, and freezes all else; the layers' names."""
    try:
        from peft import LoraConfig, inject_adapter_in_model  # noqa: PLC0415 (loads peft)
    except ImportError as error:
        raise MissingDependency("lora needs peft: pip install peft") from error

    names = tuple(
        name for name, layer in module.named_modules() if type(layer) is nn.Linear and layer in seen
    )
    if not names:
        raise BadInput("lora goes beside linear layers, and this tower has none: leave it out")
    exactly = "|".join(map(re.escape, names))
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=exactly)
    inject_adapter_in_model(config, module, ADAPTER)
    return names


def _merged(layer: Any) -> Tensor:
    """A layer's weight with what was learnt beside it: W + B A · alpha / rank."""
    merged: Tensor = layer.base_layer.weight + layer.get_delta_weight(ADAPTER)
    return merged


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in tensors.items()}
