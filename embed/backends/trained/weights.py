"""Tensors of a trained folder put into networks, every one checked first.

What a file holds must be what the network has, by name and shape, and finite. A network of our own
is laid out without memory until then, so that a manifest cannot claim more than its file has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from embed.backends.recipes import Network, Recipe
from embed.backends.trained import networks
from embed.backends.trained.shapes import Shape
from embed.errors import MissingWeights

_LAYER = re.compile(r"head\.(\d{1,4})\.weight")


def own(shape: Shape, recipe: Recipe, dim: int, path: Path) -> nn.Module:
    """One of our networks with the weights at `path`, in eval mode. Raises MissingWeights."""
    with torch.device("meta"):
        module = networks.build(shape, recipe, dim)
    tensors = _read(path)
    _check(tensors, module, path, whole=True)
    module.load_state_dict(tensors, assign=True)
    return module.to(memory_format=torch.channels_last).eval()


def tuned(network: Network, dim: int, path: Path) -> Network:
    """`network` with the tensors at `path` in place of its own, and the head among them after it.

    dim: of the head's rows. Raises MissingWeights.
    """
    tensors = _read(path)
    module = networks.Onward(network.module.float(), _head(tensors, dim, path))
    _check(tensors, module, path, whole=False)
    module.load_state_dict(tensors, strict=False)
    return replace(network, module=module.eval(), outputs=("joint",))


def _head(tensors: Mapping[str, Tensor], dim: int, path: Path) -> nn.Module:
    """What the tensors of a head fit into; the identity where there are none."""
    found = {match[1]: tensors[name] for name in tensors if (match := _LAYER.fullmatch(name))}
    if not found:
        return nn.Identity()
    weights = [found[number] for number in sorted(found, key=int)]
    if any(weight.ndim != 2 for weight in weights) or len(weights[-1]) != dim:
        raise MissingWeights(f"{path} has a head that does not lead to {dim} dimensions")
    return networks.head([weights[0].shape[1], *map(len, weights)])


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise MissingWeights(f"{path} is no safetensors file that can be read: {error}") from error


def _check(tensors: Mapping[str, Tensor], module: nn.Module, path: Path, *, whole: bool) -> None:
    """whole: whether every tensor of the module must be there."""
    there = module.state_dict()
    strange = sorted(tensors.keys() - there.keys())
    lacking = sorted(there.keys() - tensors.keys()) if whole else []
    for what, names in (("holds", strange), ("lacks", lacking)):
        if names:
            raise MissingWeights(f"{path} {what} {names[0]!r}, unlike its network: train it again")
    for name, tensor in tensors.items():
        if tensor.shape != there[name].shape:
            raise MissingWeights(
                f"{path} holds {name!r} as {tuple(tensor.shape)} where its network has "
                f"{tuple(there[name].shape)}: train it again"
            )
        if not (tensor.is_floating_point() and torch.isfinite(tensor.float()).all()):
            raise MissingWeights(f"{path} holds no finite numbers in {name!r}: train it again")
