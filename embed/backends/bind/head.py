"""Heads on locked towers: a linear map, or a small network with ReLU between its layers.

A file is the safetensors state dict of a `torch.nn.Sequential(Linear, ReLU, Linear, …)`: `0.weight`
`(H, D)` and `0.bias` `(H,)`, `2.weight` and so on, biases optional; a single `Linear` may also be
called `weight` and `bias`. It is computed in NumPy: no torch is needed to serve.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from embed.errors import BadInput, MissingWeights
from embed.types import Floats


@dataclass(frozen=True, slots=True)
class HeadFile:
    """Where a head lies and what its SHA-256 (hex) must be."""

    path: Path
    sha256: str

    def locate(self) -> None:
        """Raises MissingWeights when it is not there."""
        if not self.path.is_file():
            raise MissingWeights(f"the head {self.path} is not there: put it where the manifest is")

    def read(self) -> bytes:
        """Raises MissingWeights when it is not there, or another than the manifest means."""
        self.locate()
        data = self.path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if digest != self.sha256:
            raise MissingWeights(
                f"{self.path} has SHA-256 {digest} where the manifest has {self.sha256}: it is "
                "not the head that this space is made of; restore it, or correct the manifest"
            )
        return data


class Head:
    """`(N, D)` to `(N, E)`: x ↦ W x + b, with ReLU between layers. Rows are not normalised."""

    def __init__(self, layers: list[tuple[Floats, Floats]], file: HeadFile) -> None:
        """layers: weight `(out, in)` and bias `(out,)` of each. file: where they were read from."""
        self.file = file
        self._layers = layers

    @property
    def dims(self) -> tuple[int, int]:
        """D and E."""
        return self._layers[0][0].shape[1], len(self._layers[-1][1])

    def __call__(self, rows: Floats) -> Floats:
        for number, (weight, bias) in enumerate(self._layers):
            rows = np.maximum(rows, 0) if number else rows
            rows = rows @ weight.T + bias
        return rows


def load_head(file: HeadFile, dim_in: int, dim_out: int) -> Head:
    """Raises MissingWeights as `HeadFile.read`, BadInput unless it is a finite head that fits."""
    try:
        tensors = load_tensors(file.read())
    except SafetensorError as error:
        raise BadInput(f"{file.path} is no safetensors file: {error}") from error
    layers = _layers(tensors, file.path)
    wanted = dim_in
    for weight, bias in layers:
        if weight.ndim != 2 or weight.shape[1] != wanted or bias.shape != weight.shape[:1]:
            raise BadInput(
                f"{file.path}: a layer of shape {weight.shape} with bias {bias.shape} where one "
                f"from {wanted} dimensions is wanted"
            )
        wanted = len(weight)
    if wanted != dim_out:
        raise BadInput(f"{file.path} leads to {wanted} dimensions; the space has {dim_out}")
    if not all(np.isfinite(array).all() for layer in layers for array in layer):
        raise BadInput(f"{file.path} holds numbers that are not finite: train the head anew")
    return Head(layers, file)


def _layers(tensors: Mapping[str, Floats], path: Path) -> list[tuple[Floats, Floats]]:
    """In order of their numbers, 0, 2, 4…, as between them stands a ReLU."""
    tensors = {name if "." in name else f"0.{name}": value for name, value in tensors.items()}
    count = sum(name.endswith(".weight") for name in tensors)
    numbers = [str(2 * layer) for layer in range(count)]
    known = {f"{number}.{kind}" for number in numbers for kind in ("weight", "bias")}
    strange = sorted(tensors.keys() - known)
    if strange or not count or any(f"{number}.weight" not in tensors for number in numbers):
        raise BadInput(
            f"{path} holds {', '.join(sorted(tensors)) or 'nothing'}; a head is a Sequential of "
            "Linear, ReLU, Linear…: 0.weight, 0.bias, 2.weight, 2.bias…"
        )
    layers = []
    for number in numbers:
        weight = np.asarray(tensors[f"{number}.weight"], np.float32)
        bias = tensors.get(f"{number}.bias", np.zeros(weight.shape[:1], np.float32))
        layers.append((weight, np.asarray(bias, np.float32)))
    return layers
