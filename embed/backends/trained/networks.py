"""Small networks of our own, to be trained from nothing in minutes on two cores.

Each takes what its encoder prepares and returns rows `(N, dim)`, not brought to unit length.
No layer looks at its neighbours in the batch (GroupNorm: Wu & He, 2018; LayerNorm), so GradCache
and several processes compute what one large batch would, and nothing is drawn at random. Blocks
are pre-activation residuals (He et al., 2016) and pre-norm attention (Radford et al., 2019).

It knows nothing of training, nor of files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor, nn

from embed.backends.recipes import AudioRecipe, ImageRecipe, Recipe, TextRecipe
from embed.backends.trained import shapes

GRID = 4  # a picture is halved until so many places a side are left
MLP = 2  # how much wider the inner layer of a block is
MIDDLE_DB, RANGE_DB = -40.0, 30.0  # of log-mel features


def build(shape: shapes.Shape, recipe: Recipe, dim: int) -> nn.Module:
    """The network of a shape on what `recipe` prepares. Raises TypeError where they do not fit."""
    match shape, recipe:
        case shapes.Convnet(), ImageRecipe():
            return Convnet(shape, (recipe.height, recipe.width), dim)
        case shapes.Spectrum(), AudioRecipe():
            return Spectrum(shape, (1 + recipe.samples // recipe.hop, recipe.mels), dim)
        case shapes.Frames(), ImageRecipe():
            return Frames(shape, (recipe.height, recipe.width), dim)
        case shapes.Words(), TextRecipe():
            return Words(shape, recipe.max_tokens, dim)
    raise TypeError(f"a network {shape.kind} does not read what {type(recipe).__name__} prepares")


class Convnet(nn.Module):
    """Pixels `(N, H, W, 3)` uint8 to rows. The last grid is read whole: places matter."""

    def __init__(self, shape: shapes.Shape, size: tuple[int, int], dim: int) -> None:
        super().__init__()
        self.trunk = Trunk(3, shape, size)
        self.out = nn.Linear(self.trunk.channels * math.prod(self.trunk.grid), dim)

    def forward(self, pixels: Tensor) -> Tensor:
        # The last axis becomes the first without a copy: channels_last, which convolutions like.
        values = pixels.permute(0, 3, 1, 2).to(self.out.weight.dtype) / 127.5 - 1.0
        rows: Tensor = self.out(self.trunk(values).flatten(1))
        return rows


class Spectrum(nn.Module):
    """Features `(N, 1, frames, mels)` in dB to rows. Pitch matters, and when something sounds."""

    def __init__(self, shape: shapes.Shape, size: tuple[int, int], dim: int) -> None:
        super().__init__()
        self.trunk = Trunk(1, shape, size)
        length, height = self.trunk.grid
        self.step = nn.Linear(self.trunk.channels * height, 4 * shape.width)
        self.line = Timeline(length, 4 * shape.width, dim)

    def forward(self, features: Tensor) -> Tensor:
        values = (features.to(self.step.weight.dtype) - MIDDLE_DB) / RANGE_DB
        places = self.trunk(values).permute(0, 2, 1, 3)
        rows: Tensor = self.line(self.step(places.flatten(2)))
        return rows


class Frames(nn.Module):
    """Frames `(N, T, H, W, 3)` uint8 to rows: each frame alone, then all of them in their order."""

    def __init__(self, shape: shapes.Frames, size: tuple[int, int], dim: int) -> None:
        super().__init__()
        self.frame = Convnet(shape, size, 4 * shape.width)
        self.line = Timeline(shape.frames, 4 * shape.width, dim)

    def forward(self, frames: Tensor) -> Tensor:
        steps = self.frame(frames.flatten(0, 1))
        rows: Tensor = self.line(steps.unflatten(0, frames.shape[:2]))
        return rows


class Timeline(nn.Module):
    """Steps in time `(N, T, C)` to rows.

    What moves, and to where, is seen twice: by a convolution over neighbours in time, and by
    attention over all steps, whose positions are learned.
    """

    def __init__(self, length: int, width: int, dim: int) -> None:
        super().__init__()
        self.near = nn.Conv1d(width, width, 3, padding=1)
        self.positions = nn.Parameter(torch.randn(length, width) * 0.02)
        self.all = Block(width, heads=4)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, dim)

    def forward(self, steps: Tensor) -> Tensor:
        moved = self.near(steps.transpose(1, 2)).transpose(1, 2)
        steps = self.all(steps + F.gelu(moved) + self.positions)
        rows: Tensor = self.out(self.norm(steps).mean(1))
        return rows


class Words(nn.Module):
    """Ids and mask `(N, L)` int64 to rows: the mean over the tokens of a transformer."""

    def __init__(self, shape: shapes.Words, tokens: int, dim: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.positions = nn.Parameter(torch.randn(tokens, shape.width) * 0.02)
        self.blocks = nn.ModuleList(Block(shape.width, shape.heads) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.width)
        self.out = nn.Linear(shape.width, dim)
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.tokens(ids) + self.positions[: ids.shape[1]]
        seen = mask.bool()[:, None, None, :]
        for block in self.blocks:
            x = block(x, seen)
        real = mask.unsqueeze(-1).to(x.dtype)
        rows: Tensor = self.out((self.norm(x) * real).sum(1) / real.sum(1))
        return rows


class Trunk(nn.Module):
    """A picture of `channels_in` to `(N, channels, *grid)`: strided early, as most time goes there.

    Patches of the first layer overlap, as what lies across two is learnt late otherwise; then it is
    halved, and its channels doubled, until the shorter side is at most GRID.
    """

    def __init__(self, channels_in: int, shape: shapes.Shape, size: tuple[int, int]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels_in, shape.width, 7, stride=4, padding=3)
        self.grid = _halved(_halved(size))
        self.channels = shape.width
        stages: list[nn.Module] = []
        while min(self.grid) > GRID:
            stages.append(Down(self.channels))
            self.channels *= 2
            self.grid = _halved(self.grid)
            stages += [Residual(self.channels) for _ in range(shape.depth)]
        self.stages = nn.Sequential(*stages, _norm(self.channels), nn.GELU())
        self.to(memory_format=torch.channels_last)

    def forward(self, values: Tensor) -> Tensor:
        places: Tensor = self.stages(self.stem(values))
        return places


class Down(nn.Module):
    """Half as many places a side, twice as many channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.conv = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(F.gelu(self.norm(x)))
        return y


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.conv(F.gelu(self.norm(x)))
        return y


class Block(nn.Module):
    """Attention over tokens `(N, L, C)`, then a perceptron on each."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1 = nn.LayerNorm(width)
        self.inward = nn.Linear(width, 3 * width)
        self.outward = nn.Linear(width, width)
        self.norm_2 = nn.LayerNorm(width)
        self.wide = nn.Linear(width, MLP * width)
        self.narrow = nn.Linear(MLP * width, width)

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        """seen: `(N, 1, 1, L)` bool, which tokens may be looked at; all by default."""
        parts = self.inward(self.norm_1(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        x = x + self.outward(mixed.transpose(1, 2).flatten(2))
        y: Tensor = x + self.narrow(F.gelu(self.wide(self.norm_2(x))))
        return y


def _halved(size: tuple[int, int]) -> tuple[int, int]:
    return -(-size[0] // 2), -(-size[1] // 2)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(channels, 8), channels)


class Onward(nn.Module):
    """A tower's network and a head on its joint rows."""

    def __init__(self, network: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.head = head

    def forward(
        self, first: Tensor, second: Tensor | None = None, third: Tensor | None = None
    ) -> Tensor:
        # One by one, as ONNX export gives names to arguments and not to a list of them.
        found = self.network(*(given for given in (first, second, third) if given is not None))
        rows: Tensor = self.head(found[0] if isinstance(found, tuple) else found)
        return rows


def head(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers from each width to the next, ReLU between them: what `bind.head` computes."""
    layers: list[nn.Module] = []
    for inward, outward in pairwise(widths):
        layers += [nn.ReLU(), nn.Linear(inward, outward)]
    return nn.Sequential(*layers[1:])
