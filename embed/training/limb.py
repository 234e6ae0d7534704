"""A limb of a student: a torch module, and the half beside it that makes media ready.

It knows none of its kinds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from embed.backends.trained import networks
from embed.backends.trained.manifest import Part
from embed.training.files import Files
from embed.training.parts import Crops
from embed.training.ready import Half
from embed.types import Modality


class Limb(nn.Module, ABC):
    """One modality of a student: `(N, dim)` of what `ready` prepares and stacks."""

    def __init__(self, ready: Half, crops: Crops) -> None:
        super().__init__()
        self.ready = ready
        self.crops = crops

    @abstractmethod
    def forward(self, *inputs: Tensor) -> Tensor: ...

    @property
    @abstractmethod
    def basis(self) -> str:
        """What it was given and does not learn, in short: weights learnt on another do not fit."""

    @abstractmethod
    def kept(self, modality: Modality, files: Files) -> Part:
        """Writes what was learnt, and says what a manifest is to hold of it."""


def head_of(hidden: tuple[int, ...] | None, inward: int, dim: int) -> nn.Module:
    """Layers of these widths in between; none at all where none are asked for or needed."""
    if hidden is None and inward == dim:
        return nn.Identity()
    return networks.head([inward, *(hidden or ()), dim])
