"""InfoNCE: each vector finds its partner among all others (van den Oord et al. 2018; CLIP, Radford
et al. 2021, figure 3).

With unit rows u, v and s = e^θ,  L = ½ [CE(s·u vᵀ) + CE(s·v uᵀ)],  CE the mean over rows of
-Σ_j T_ij log softmax_j(x_i). T is the identity; where captions repeat in a batch a row has several
positives and T shares 1 among them, in each direction by itself (as in UniCL, Yang et al. 2022,
equations 2 and 3).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from embed.training.pairwise import CHUNK, Keys, Targets, matches, numbered, pair_sum

TEMPERATURE = 0.07
"""Where training begins: θ₀ = ln(1 / 0.07)."""
MAX_SCALE = 100.0
"""The largest s: θ is kept in [0, ln 100] (Radford et al. 2021, section 2.5)."""


def infonce(
    u: Tensor, v: Tensor, scale: Tensor, keys: Keys | None = None, *, chunk: int = CHUNK
) -> Tensor:
    """The loss of N pairs, a scalar, in fp32 or fp64.

    u, v: `(N, D)`, unit rows. scale: s, a scalar. keys: rows where one agrees are each other's
    positives; without any, row i of u belongs to row i of v alone.
    """
    keys = numbered(u) if keys is None else keys
    there = row_sum(u, v, scale, keys, keys, chunk=chunk)
    back = row_sum(v, u, scale, keys, keys, chunk=chunk)
    return (there + back) / (2 * len(u))


def row_sum(
    queries: Tensor,
    gallery: Tensor,
    scale: Tensor,
    query_keys: Keys,
    gallery_keys: Keys,
    *,
    chunk: int = CHUNK,
) -> Tensor:
    """One direction: Σ_i CE_i over queries `(n, D)` that each choose among a gallery `(M, D)`.

    Every query has at least one positive in the gallery.
    """
    shares = shared(matches(query_keys, gallery_keys), queries.dtype)
    return cross_entropy_sum(queries, gallery, scale, shares, chunk=chunk)


def cross_entropy_sum(
    queries: Tensor, gallery: Tensor, scale: Tensor, targets: Targets, *, chunk: int = CHUNK
) -> Tensor:
    """Σ_i -Σ_j T_ij log softmax_j(s·⟨q_i, g_j⟩). targets: rows of T, each of sum 1."""
    bias = scale.new_zeros(())  # a constant moves no softmax
    return pair_sum(queries, gallery, scale, bias, targets, _cross_entropy, chunk)


def shared(positives: Targets, dtype: torch.dtype) -> Targets:
    """1 shared evenly among the positives of each row."""

    def of(rows: slice) -> Tensor:
        positive = positives(rows).to(dtype)
        return positive / positive.sum(1, keepdim=True)

    return of


def clamp_scale(theta: Tensor) -> None:
    """Brings θ back into [0, ln 100], after a step."""
    with torch.no_grad():
        theta.clamp_(0.0, math.log(MAX_SCALE))


def _cross_entropy(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    logs = torch.log_softmax(logits, 1)
    return -(targets * logs).sum(), logs.exp_().sub_(targets)
