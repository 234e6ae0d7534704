"""ImageBind's first stage: from pixels, words, spectrograms and motion to tokens.

Each input cuts its medium into patches, projects them, puts a class token before them and adds a
vector for each place (Dosovitskiy et al., An Image is Worth 16x16 Words, 2021); text has an
embedding instead and no class token. It knows nothing of the transformers that follow.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from embed.backends.imagebind.config import (
    AUDIO,
    CONTEXT,
    DEPTH,
    FRAMES,
    IMU,
    IMU_CHANNELS,
    IMU_PATCH,
    IMU_STEPS,
    MELS,
    SIDE,
    TEXT,
    VISION,
    VOCABULARY,
)


class RepeatFrame(nn.Module):
    """A still picture is a film of two equal frames: `(N, 3, 1, H, W)` to `(N, 3, 2, H, W)`."""

    def forward(self, x: Tensor) -> Tensor:
        return x.expand(-1, -1, 2, -1, -1) if x.shape[2] == 1 else x


class Stem(nn.Module):
    """Patches to tokens: norm(proj(patch)), in the order of rows; vision has no norm here."""

    def __init__(self, proj: nn.Module, norm_width: int | None) -> None:
        super().__init__()
        self.proj = proj
        self._makes_grid = not isinstance(proj, nn.Linear)
        self.norm_layer = nn.Identity() if norm_width is None else nn.LayerNorm(norm_width)

    def forward(self, x: Tensor) -> Tensor:
        """A convolution's `(N, W, …)` becomes `(N, L, W)`; a linear map's is that already."""
        tokens = self.proj(x)
        if self._makes_grid:
            tokens = tokens.flatten(2).transpose(1, 2)
        normed: Tensor = self.norm_layer(tokens)
        return normed


class Positions(nn.Module):
    """A learned vector for each place, class token included: `(1, L, W)`."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.empty(1, tokens, width))


class PatchInput(nn.Module):
    """z = [class; stem(x)] + positions (Dosovitskiy et al., An Image is Worth 16x16 Words)."""

    def __init__(self, stem_name: str, stem: Stem, patches: int, width: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self._stem_name = stem_name
        self.add_module(stem_name, stem)
        self.pos_embedding_helper = Positions(1 + patches, width)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.get_submodule(self._stem_name)(x)
        return with_class(self.cls_token, tokens) + self.pos_embedding_helper.pos_embed


class ImuInput(nn.Module):
    """z = [class; stem(x)] + positions, a patch being 8 steps of all 6 channels (48 numbers)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + IMU_STEPS // IMU_PATCH, width))
        linear = nn.Linear(IMU_CHANNELS * IMU_PATCH, width, bias=False)
        self.imu_stem = Stem(linear, width)

    def forward(self, x: Tensor) -> Tensor:
        steps = x.reshape(x.shape[0], IMU_CHANNELS, -1, IMU_PATCH)
        patches = steps.transpose(1, 2).flatten(2)
        return with_class(self.cls_token, self.imu_stem(patches)) + self.pos_embed


class TextInput(nn.Module):
    """z = embedding(ids) + positions; a token sees itself and those before it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.empty(1, CONTEXT, width))
        self.token_embedding = nn.Embedding(VOCABULARY, width)
        later = torch.full((CONTEXT, CONTEXT), -math.inf).triu(1)
        self.register_buffer("mask", later)
        self.mask: Tensor

    def forward(self, ids: Tensor) -> Tensor:
        tokens: Tensor = self.token_embedding(ids) + self.pos_embed[:, : ids.shape[1]]
        return tokens

    def causal(self, length: int) -> Tensor:
        """`(L, L)`, added to attention scores: 0 up to the token itself, minus infinity after."""
        return self.mask[:length, :length]


def with_class(cls_token: Tensor, tokens: Tensor) -> Tensor:
    """The class token before the others: `(N, 1 + L, W)`."""
    return torch.cat([cls_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)


def make_input(tower: str, width: int) -> nn.Module:
    """Stems: patches of 14x14 over two frames for vision; 16x16 each 10 for audio, else apart."""
    if tower == TEXT:
        return TextInput(width)
    if tower == IMU:
        return ImuInput(width)
    if tower == VISION:
        frames = nn.Conv3d(3, width, (2, 14, 14), stride=(2, 14, 14), bias=False)
        stem = Stem(nn.Sequential(RepeatFrame(), frames), norm_width=None)
        return PatchInput("rgbt_stem", stem, (SIDE // 14) ** 2, width)
    stride, height, long = (10, MELS, FRAMES) if tower == AUDIO else (16, SIDE, SIDE)
    patches = ((height - 16) // stride + 1) * ((long - 16) // stride + 1)
    stem = Stem(nn.Conv2d(1, width, 16, stride=stride, bias=False), norm_width=width)
    return PatchInput("depth_stem" if tower == DEPTH else "rgbt_stem", stem, patches, width)
