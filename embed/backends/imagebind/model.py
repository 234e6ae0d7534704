"""ImageBind's six towers: tokens, a transformer, a head, a scale, for each modality.

Girdhar et al., ImageBind: One Embedding Space To Bind Them All (CVPR 2023), section 3 and the
appendix. Every tower is the same four stages, and the module tree says so with the names of the
official state dict, which it loads as it is:

    modality_preprocessors   x -> (N, L, W): stem, class token, positions (`stems`)
    modality_trunks          (N, L, W) -> (N, L, W): pre-norm transformer blocks
    modality_heads           (N, L, W) -> (N, D): one token, layer norm, projection
    modality_postprocessors  unit length, times the scale of the tower

N inputs, L tokens, W the tower's width, D the joint dimension. Nothing is initialised here:
weights come from a checkpoint. It knows nothing of files, of pictures or of sounds
(`weights`, `inputs`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from embed.backends.imagebind.config import (
    EPS,
    IMU,
    MAX_SCALE,
    SCALES,
    TEXT,
    TOWERS,
    VISION,
    Config,
    Shape,
)
from embed.backends.imagebind.stems import TextInput, make_input


class ImageBind(nn.Module):
    """All towers, or those that are asked for: each stands alone."""

    def __init__(self, config: Config, towers: Iterable[str] = TOWERS) -> None:
        super().__init__()
        shapes = {tower: config.shape(tower) for tower in towers}
        self.modality_preprocessors = nn.ModuleDict(
            {tower: make_input(tower, shape.width) for tower, shape in shapes.items()}
        )
        self.modality_trunks = nn.ModuleDict(
            {tower: make_trunk(tower, shape) for tower, shape in shapes.items()}
        )
        self.modality_heads = nn.ModuleDict(
            {tower: make_head(tower, shape.width, config.joint) for tower, shape in shapes.items()}
        )
        self.modality_postprocessors = nn.ModuleDict({tower: make_scale(tower) for tower in shapes})

    def forward(self, tower: str, x: Tensor) -> Tensor:
        """`(N, D)`, of the length that the tower's scale gives.

        x: vision `(N, 3, 1 or 2, 224, 224)`; text ids `(N, L)` with L at most 77; audio
        `(N, 1, 128, 204)`; depth and thermal `(N, 1, 224, 224)`; imu `(N, 6, 2000)`.
        """
        inputs, trunk = self.modality_preprocessors[tower], self.modality_trunks[tower]
        head, post = self.modality_heads[tower], self.modality_postprocessors[tower]
        if isinstance(inputs, TextInput):
            scaled: Tensor = post(head(trunk(inputs(x), inputs.causal(x.shape[1])), x))
        else:
            scaled = post(head(trunk(inputs(x))))
        return scaled


# Stage 2: the transformer.


class Attention(nn.Module):
    """Multi-head self-attention: out(softmax(q kᵀ / √d + mask) v) (Vaswani et al., 2017).

    With `bias_kv` one learned key and value, alike in all inputs, stand after those of the tokens,
    so that a head may attend to nothing.
    """

    def __init__(self, width: int, heads: int, *, bias_kv: bool) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.bias_k = nn.Parameter(torch.empty(1, 1, width)) if bias_kv else None
        self.bias_v = nn.Parameter(torch.empty(1, 1, width)) if bias_kv else None
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = functional.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        if self.bias_k is not None and self.bias_v is not None:
            k = torch.cat([k, self.bias_k.expand(x.shape[0], -1, -1)], dim=1)
            v = torch.cat([v, self.bias_v.expand(x.shape[0], -1, -1)], dim=1)
        q, k, v = (self._by_head(part) for part in (q, k, v))
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out

    def _by_head(self, x: Tensor) -> Tensor:
        """`(N, L, W)` to `(N, heads, L, W / heads)`."""
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)


class Mlp(nn.Module):
    """fc2(GELU(fc1(x))), four times as wide inside; the exact GELU, x Φ(x)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """x ← x + attention(norm_1(x)); x ← x + mlp(norm_2(x))."""

    def __init__(self, width: int, heads: int, *, bias_kv: bool) -> None:
        super().__init__()
        self.attn = Attention(width, heads, bias_kv=bias_kv)
        self.norm_1 = nn.LayerNorm(width, eps=EPS)
        self.mlp = Mlp(width)
        self.norm_2 = nn.LayerNorm(width, eps=EPS)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.attn(self.norm_1(x), mask)
        out: Tensor = x + self.mlp(self.norm_2(x))
        return out


class Trunk(nn.Module):
    """Blocks one after another; vision alone has a layer norm before them."""

    def __init__(self, shape: Shape, *, bias_kv: bool, norm_before: bool) -> None:
        super().__init__()
        before = [nn.LayerNorm(shape.width, eps=EPS)] if norm_before else []
        self.pre_transformer_layer = nn.Sequential(*before)
        self.blocks = nn.ModuleList(
            Block(shape.width, shape.heads, bias_kv=bias_kv) for _ in range(shape.blocks)
        )

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        x: Tensor = self.pre_transformer_layer(tokens)
        for block in self.blocks:
            x = block(x, mask)
        return x


def make_trunk(tower: str, shape: Shape) -> Trunk:
    bias_kv = tower not in (VISION, TEXT)
    return Trunk(shape, bias_kv=bias_kv, norm_before=tower == VISION)


# Stages 3 and 4: from tokens to one vector.


class First(nn.Module):
    """The class token: `(N, L, W)` to `(N, W)`."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0]


class EndOfText(nn.Module):
    """proj(norm(token)) of the first end-of-text token, whose id is the highest of all."""

    def __init__(self, proj: nn.Sequential) -> None:
        super().__init__()
        self.proj = proj

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        ends = x[torch.arange(x.shape[0], device=x.device), ids.argmax(dim=-1)]
        out: Tensor = self.proj(ends)
        return out


class Unit(nn.Module):
    """x / ‖x‖."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.normalize(x, dim=-1)


class Scale(nn.Module):
    """x · min(e^θ, 100). θ is learned for text; for the others it stays as it began."""

    def __init__(self, start: float, *, learned: bool) -> None:
        super().__init__()
        theta = torch.tensor(math.log(start))
        self.log_logit_scale: Tensor
        if learned:
            self.log_logit_scale = nn.Parameter(theta)
        else:
            self.register_buffer("log_logit_scale", theta)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.log_logit_scale.exp().clamp(max=MAX_SCALE)


def make_head(tower: str, width: int, joint: int) -> nn.Module:
    """norm, the token that stands for all, projection without bias; where dropout was, it is."""
    norm, proj = nn.LayerNorm(width, eps=EPS), nn.Linear(width, joint, bias=False)
    if tower == TEXT:
        return EndOfText(nn.Sequential(norm, proj))
    if tower == IMU:
        return nn.Sequential(norm, First(), nn.Dropout(0.5), proj)
    return nn.Sequential(norm, First(), proj)


def make_scale(tower: str) -> nn.Sequential:
    if tower == VISION:
        return nn.Sequential(Unit())
    return nn.Sequential(Unit(), Scale(SCALES[tower], learned=tower == TEXT))
