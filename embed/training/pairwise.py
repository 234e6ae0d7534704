"""Losses over all pairs of two sets of vectors, a chunk of rows at a time.

A contrastive loss is a sum over logits x_ij = s·⟨q_i, g_j⟩ + b. Its derivative by x is known in
closed form, so a chunk of rows gives its share of the loss and of all gradients at once, and
nothing of size N·M is ever kept: memory is O(chunk·M), forward and backward.

It knows no loss (a `Rule` says what one is), no modality and no process group.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

Keys = tuple[Tensor, ...]
"""Columns `(N,)` int64: rows of two sets belong together where any column of theirs agrees."""

Targets = Callable[[slice], Tensor]
"""For a slice of n query rows what is wanted of their logits, `(n, M)`."""

Rule = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Logits and targets `(n, M)` to the sum of the loss over them, and its derivative `(n, M)`."""

CHUNK = 1024
"""Rows at a time: wide enough for a matrix product to run at full speed."""


def numbered(rows: Tensor) -> Keys:
    """The keys of rows that belong to their own number alone."""
    return (torch.arange(len(rows), device=rows.device),)


def matches(queries: Keys, gallery: Keys) -> Targets:
    """Whether query i and gallery j belong together, `(n, M)` bool."""

    def of(rows: slice) -> Tensor:
        columns = zip(queries, gallery, strict=True)
        agree = [query[rows, None] == other for query, other in columns]
        return torch.stack(agree).any(0) if len(agree) > 1 else agree[0]

    return of


def pair_sum(
    queries: Tensor,
    gallery: Tensor,
    scale: Tensor,
    bias: Tensor,
    targets: Targets,
    rule: Rule,
    chunk: int = CHUNK,
) -> Tensor:
    """The sum of `rule` over all N·M logits, a scalar with a gradient by the first four.

    queries `(N, D)` and gallery `(M, D)`: at least fp32 inside, and out of autocast's reach.
    scale, bias: scalars s and b.
    """
    with torch.autocast(queries.device.type, enabled=False):
        total: Tensor = _PairSum.apply(
            precise(queries), precise(gallery), scale, bias, targets, rule, chunk
        )
    return total


def precise(vectors: Tensor) -> Tensor:
    """In fp32, or fp64 where they are: half precision cannot tell cosines near 1 apart."""
    return vectors if vectors.dtype == torch.float64 else vectors.float()


class _PairSum(Function):
    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        gallery: Tensor,
        scale: Tensor,
        bias: Tensor,
        targets: Targets,
        rule: Rule,
        chunk: int,
    ) -> Tensor:
        total = queries.new_zeros(())
        by_query, by_gallery = torch.zeros_like(queries), torch.zeros_like(gallery)
        by_scale, by_bias = torch.zeros_like(total), torch.zeros_like(total)
        for start in range(0, len(queries), chunk):
            rows = slice(start, start + chunk)
            cosines = queries[rows] @ gallery.T
            value, slope = rule(torch.addcmul(bias, scale, cosines), targets(rows))
            total += value
            by_scale += (slope * cosines).sum()
            by_bias += slope.sum()
            if ctx.needs_input_grad[0]:
                by_query[rows] = scale * (slope @ gallery)
            if ctx.needs_input_grad[1]:
                by_gallery.addmm_(slope.T, queries[rows])
        ctx.save_for_backward(by_query, by_gallery.mul_(scale), by_scale, by_bias)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_total: Tensor) -> tuple[Tensor | None, ...]:
        saved: tuple[Tensor, ...] = ctx.saved_tensors
        return (*(by_total * gradient for gradient in saved), None, None, None)
