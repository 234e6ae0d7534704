"""Transformer layers for CPUs: weights packed once, what follows a product done within it.

PyTorch packs a weight anew on every call, or not at all. In oneDNN's own layout, made once, with
bias, activation and residual in the same pass, a ViT-B/32 on an AVX-512 processor runs 1.25 to 1.8
times as fast in fp32 and 1.15 to 1.45 times in bf16, most at a batch of one
(`benchmarks/embed_throughput.py`). The numbers are those of the layers replaced, to rounding.
The operators are the ones that `torch.compile` emits; here nothing has to be compiled.

It knows no model, only shapes of layers: `nn.Linear`, and the pre-norm block of Radford et al.,
CLIP (2021), as open_clip writes it.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor, nn

QUICK = 1.702  # QuickGELU is x · sigmoid(1.702 x), and so silu(1.702 x) / 1.702
_MEASURED = ("x86_64", "AMD64")  # elsewhere nobody has looked whether it pays
_BLOCK = "open_clip.transformer.ResidualAttentionBlock"
_QUICK_GELU = "open_clip.transformer.QuickGELU"


@cache
def usable(dtype: torch.dtype) -> bool:
    """Whether this processor and this PyTorch run packed layers of `dtype`, tried once."""
    if dtype not in (torch.float32, torch.bfloat16) or platform.machine() not in _MEASURED:
        return False
    try:
        if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return False
        layer, x = nn.Linear(8, 8, dtype=dtype), torch.ones(2, 8, dtype=dtype)
        with torch.inference_mode():
            return torch.allclose(Linear(layer.weight, layer.bias)(x), layer(x), atol=0.02)
    except (RuntimeError, AttributeError):  # operators without a promise, absent in some builds
        return False


@contextmanager
def called(module: nn.Module) -> Iterator[set[nn.Module]]:
    """Collects the layers of `module` that run while the context lasts.

    Some models read a layer's weight and never call it; such a layer must stay as it is.
    """
    seen: set[nn.Module] = set()
    handles = [
        layer.register_forward_pre_hook(lambda layer, _: seen.add(layer))
        for layer in module.modules()
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def pack(module: nn.Module, seen: set[nn.Module]) -> None:
    """Replaces what can be packed among the layers `seen`, within `module`, for good."""
    for name, layer in module.named_children():
        if layer in seen and type(layer) is nn.Linear:
            setattr(module, name, Linear(layer.weight, layer.bias))
        elif layer in seen and _is_plain_block(layer):
            setattr(module, name, Block(layer))
        elif not isinstance(layer, nn.MultiheadAttention):  # it reads its weights itself
            pack(layer, seen)


class Linear(nn.Module):
    """`activation(x · weightᵀ + bias)`, or with `plus` `x · weightᵀ + bias + plus`."""

    def __init__(
        self, weight: Tensor, bias: Tensor | None, activation: str = "none", form: str = ""
    ) -> None:
        """activation: "none", "gelu" (whose `form` is "none" or "tanh") or "swish"."""
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous())
        self.bias = None if bias is None else bias.detach().contiguous()
        self.activation = activation
        self.form = form

    def forward(self, x: Tensor, plus: Tensor | None = None) -> Tensor:
        pointwise = torch.ops.mkldnn._linear_pointwise
        if plus is not None:
            total: Tensor = pointwise.binary(x, plus, self.weight, self.bias, "add")
            return total
        rows: Tensor = pointwise(x, self.weight, self.bias, self.activation, [], self.form)
        return rows


class Block(nn.Module):
    """LayerNorm, attention, LayerNorm, two-layer perceptron, each pair with a residual."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        attention, first, second = block.attn, block.mlp.c_fc, block.mlp.c_proj
        self.heads: int = attention.num_heads
        self.norm_1: nn.LayerNorm = block.ln_1
        self.norm_2: nn.LayerNorm = block.ln_2
        self.inward = Linear(attention.in_proj_weight, attention.in_proj_bias)
        self.outward = Linear(attention.out_proj.weight, attention.out_proj.bias)
        act = block.mlp.gelu
        if isinstance(act, nn.GELU):
            self.wide = Linear(first.weight, first.bias, "gelu", act.approximate)
            self.narrow = Linear(second.weight, second.bias)
        else:
            self.wide = Linear(first.weight * QUICK, first.bias * QUICK, "swish")
            self.narrow = Linear(second.weight / QUICK, second.bias)

    def get_weight_dtype(self) -> torch.dtype:
        """As open_clip's own block has it."""
        return self.norm_1.weight.dtype

    def forward(
        self, x: Tensor, *, attn_mask: Tensor | None = None, at: Tensor | None = None
    ) -> Tensor:
        """`(N, L, C)` to the same; with `at`, `(N,)`, to `(N, 1, C)`, that token of each row.

        attn_mask: added to the scores, `(L, L)`, or without `at` `(N · heads, L, L)`.
        """
        count, length, width = x.shape
        packed = self.inward(self.norm_1(x)).view(count, length, 3, self.heads, -1)
        query, key, value = packed.permute(2, 0, 3, 1, 4).unbind(0)
        if at is not None:
            rows = torch.arange(count, device=x.device)
            x, query = x[rows, at].unsqueeze(1), query[rows, :, at].unsqueeze(2)
            attn_mask = None if attn_mask is None else attn_mask[at][:, None, None]
        elif attn_mask is not None and attn_mask.ndim == 3:
            attn_mask = attn_mask.view(count, self.heads, length, length)
        mask = None if attn_mask is None else attn_mask.to(x.dtype)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = self.outward(mixed.transpose(1, 2).reshape(count, -1, width), plus=x)
        y: Tensor = self.narrow(self.wide(self.norm_2(x)), plus=x)
        return y


def _is_plain_block(layer: Any) -> bool:
    """An open_clip block without cross attention, scales of its own, or a rare activation."""
    if _name(layer) != _BLOCK or hasattr(layer, "ln_1_kv"):
        return False
    plain = isinstance(layer.ls_1, nn.Identity) and isinstance(layer.ls_2, nn.Identity)
    known = isinstance(layer.mlp.gelu, nn.GELU) or _name(layer.mlp.gelu) == _QUICK_GELU
    return plain and known


def _name(layer: nn.Module) -> str:
    return f"{type(layer).__module__}.{type(layer).__qualname__}"
